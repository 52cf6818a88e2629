//! Sends and receives with the published Rust client of RocketMQ: `rust_client --namesrv HOST:PORT`.
//!
//! Prints one line each, `PASS name (ms)` or `FAIL name: reason`, then `TOTAL passed=N failed=M ms=T`; exit status 1
//! when one failed. Topics are created on demand: the first message goes out before its consumer starts.

#![recursion_limit = "512"]

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rocketmq_client_rust::{
    ClientResult, ClientRuntime, ClientRuntimeConfig, ConsumeConcurrentlyContext, ConsumeConcurrentlyStatus,
    DefaultMQProducer, DefaultMQPushConsumer, MQPushConsumer, MessageListenerConcurrently,
};
use rocketmq_model::common::consumer::consume_from_where::ConsumeFromWhere;
use rocketmq_model::common::message::MessageTrait;
use rocketmq_model::common::message::message_ext::MessageExt;
use rocketmq_model::common::message::message_single::Message;
use rocketmq_observability::TelemetryRuntimeGuard;
use rocketmq_runtime::RuntimeOwner;

type Outcome = Result<(), Box<dyn Error>>;

struct World {
    runtime: Arc<ClientRuntime>,
    namesrv: String,
    run: String,
    scenario: &'static str,
}

impl World {
    fn name(&self, suffix: &str) -> String {
        format!("it_rust_{}_{}{suffix}", self.scenario, self.run)
    }

    async fn producer(&self) -> Result<DefaultMQProducer, Box<dyn Error>> {
        let mut producer = DefaultMQProducer::builder(self.runtime.clone())
            .producer_group(self.name("_p"))
            .name_server_addr(self.namesrv.clone())
            .build();
        producer.start().await?;
        Ok(producer)
    }

    fn message(&self, body: &str, tag: &str) -> Message {
        Message::builder()
            .topic(self.name(""))
            .tags(tag)
            .key("key")
            .body_slice(body.as_bytes())
            .build_unchecked()
    }

    async fn send(&self, producer: &DefaultMQProducer, body: &str, tag: &str) -> Outcome {
        let result = producer.send_with_timeout(self.message(body, tag), 10_000).await?;
        let result = result.ok_or("no send result")?;
        if format!("{:?}", result.send_status) != "SendOk" {
            return Err(format!("send of {body}: {result:?}").into());
        }
        Ok(())
    }

    /// Consumes until as many messages came as expected and compares them as multisets.
    async fn consume(&self, expression: &str, mut expected: Vec<String>) -> Outcome {
        let got = Arc::new(Mutex::new(Vec::new()));
        let mut consumer = DefaultMQPushConsumer::builder(self.runtime.clone())
            .consumer_group(self.name("_g"))
            .name_server_addr(self.namesrv.clone())
            .consume_from_where(ConsumeFromWhere::ConsumeFromFirstOffset)
            .build();
        consumer.subscribe(self.name("").as_str(), expression).await?;
        consumer.register_message_listener_concurrently(Listener(got.clone()));
        consumer.start().await?;
        let end = Instant::now() + Duration::from_secs(40);
        while got.lock().expect("no listener panics").len() < expected.len() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        Box::pin(consumer.shutdown()).await;
        let mut got = got.lock().expect("no listener panics").clone();
        got.sort();
        expected.sort();
        if got != expected {
            return Err(format!(
                "expected {} messages {expected:?}, got {} {got:?}",
                expected.len(),
                got.len()
            )
            .into());
        }
        Ok(())
    }
}

struct Listener(Arc<Mutex<Vec<String>>>);

impl MessageListenerConcurrently for Listener {
    fn consume_message(
        &self,
        messages: &[&MessageExt],
        _context: &ConsumeConcurrentlyContext,
    ) -> ClientResult<ConsumeConcurrentlyStatus> {
        let mut got = self.0.lock().expect("no listener panics");
        for message in messages {
            got.push(String::from_utf8_lossy(&message.get_body().cloned().unwrap_or_default()).into_owned());
        }
        Ok(ConsumeConcurrentlyStatus::ConsumeSuccess)
    }
}

fn numbered(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

async fn send_and_push(world: &World) -> Outcome {
    let mut producer = world.producer().await?;
    for body in numbered("s", 20) {
        world.send(&producer, &body, "tag").await?;
    }
    world.consume("*", numbered("s", 20)).await?;
    producer.shutdown().await;
    Ok(())
}

async fn oneway(world: &World) -> Outcome {
    let mut producer = world.producer().await?;
    world.send(&producer, "o0", "tag").await?;
    for body in &numbered("o", 21)[1..] {
        producer.send_oneway(world.message(body, "tag")).await?;
    }
    world.consume("*", numbered("o", 21)).await?;
    producer.shutdown().await;
    Ok(())
}

async fn batch(world: &World) -> Outcome {
    let mut producer = world.producer().await?;
    world.send(&producer, "b0", "tag").await?;
    let messages: Vec<Message> = numbered("b", 11)[1..].iter().map(|b| world.message(b, "tag")).collect();
    producer.send_batch(messages).await?;
    world.consume("*", numbered("b", 11)).await?;
    producer.shutdown().await;
    Ok(())
}

async fn tags(world: &World) -> Outcome {
    let mut producer = world.producer().await?;
    for i in 0..5 {
        for tag in ["AaAa", "BBBB", "other"] {
            world.send(&producer, &format!("{tag}{i}"), tag).await?;
        }
    }
    // No blanks: this client takes the hash of a tag with the blanks around it, which no message has.
    world.consume("AaAa||third", numbered("AaAa", 5)).await?;
    producer.shutdown().await;
    Ok(())
}

async fn run(runtime: Arc<ClientRuntime>, namesrv: &str) -> (u32, u32) {
    let run = format!(
        "{:x}",
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis())
    );
    let world = |scenario| World {
        runtime: runtime.clone(),
        namesrv: namesrv.to_owned(),
        run: run.clone(),
        scenario,
    };
    let (mut passed, mut failed) = (0, 0);
    let mut note = |scenario: &str, start: Instant, outcome: Outcome| match outcome {
        Ok(()) => {
            passed += 1;
            println!("PASS rust_{scenario} ({})", start.elapsed().as_millis());
        }
        Err(e) => {
            failed += 1;
            let reason = e.to_string();
            println!(
                "FAIL rust_{scenario}: {}",
                reason.split_whitespace().collect::<Vec<_>>().join(" ")
            );
        }
    };
    let start = Instant::now();
    note(
        "send_and_push",
        start,
        Box::pin(send_and_push(&world("send_and_push"))).await,
    );
    let start = Instant::now();
    note("oneway", start, Box::pin(oneway(&world("oneway"))).await);
    let start = Instant::now();
    note("batch", start, Box::pin(batch(&world("batch"))).await);
    let start = Instant::now();
    note("tags", start, Box::pin(tags(&world("tags"))).await);
    (passed, failed)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [option, namesrv] = arguments.as_slice() else {
        return Err("usage: rust_client --namesrv HOST:PORT".into());
    };
    if option != "--namesrv" {
        return Err("usage: rust_client --namesrv HOST:PORT".into());
    }
    let start = Instant::now();
    let owner = RuntimeOwner::new()?;
    let telemetry = TelemetryRuntimeGuard::noop();
    let runtime = ClientRuntime::try_new(
        owner.root_context().component("interop"),
        ClientRuntimeConfig::default(),
        telemetry.handle(),
    )?;
    let (passed, failed) = owner.block_on(async {
        let counts = run(runtime.clone(), namesrv).await;
        runtime.shutdown().await;
        counts
    });
    println!(
        "TOTAL passed={passed} failed={failed} ms={}",
        start.elapsed().as_millis()
    );
    Ok(if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
