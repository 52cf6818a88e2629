//! Trial messages that say how long a broker takes: they are sent for good, into topics that the caller names.

use super::context::Context;
use super::error::Error;
use super::message::send_result_text;
use super::registry::{Entry, Run};
use clap::Args;
use client::{Message, Producer};
use runtime::Instant;
use serde_json::json;
use std::io::Write;
use std::time::Duration;

pub(super) const COMMANDS: &[Entry] = &[
    Entry::new::<ClusterRt>(
        ("clusterRT", "cluster ping"),
        "How long sends take, broker by broker, again and again",
        &["-a 20 -i 5", "-c DefaultCluster --rounds 1"],
    ),
    Entry::new::<SendMsgStatus>(
        ("sendMsgStatus", "broker ping"),
        "Send trial messages to one broker and show each answer",
        &["-b broker-a -c 5", "-b broker-a -s 1024"],
    ),
    Entry::new::<CheckMsgSendRt>(
        ("checkMsgSendRT", "topic ping"),
        "How long sends to a topic take, queue by queue",
        &["-t Orders -a 20", "-t Orders -s 1024 -o json"],
    ),
];

#[derive(Debug, Args)]
pub(super) struct ClusterRt {
    /// Messages a broker and round; the first is not counted
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..))]
    amount: u32,
    /// Bytes of a body
    #[arg(short, long, value_name = "BYTES", default_value_t = 128)]
    size: usize,
    /// Only this cluster
    #[arg(short, long, value_name = "NAME")]
    cluster: Option<String>,
    /// Seconds between rounds
    #[arg(short, long, value_name = "S", default_value_t = 10)]
    interval: u64,
    /// Rounds; without it, until stopped
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
}

impl Run for ClusterRt {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let producer = Producer::new(&context.client, "mqadmin");
        if !context.wants_document() {
            heading!(
                context,
                out,
                "{:<24}  {:<24}  {:<8}  {:<16}  {:<16}",
                "#Cluster Name",
                "#Broker Name",
                "#RT",
                "#successCount",
                "#failCount"
            )?;
        }
        let mut round = 0;
        loop {
            self.round(context, &producer, out).await?;
            out.flush()?;
            round += 1;
            if self.rounds.is_some_and(|rounds| round >= rounds) {
                return Ok(());
            }
            runtime::sleep(Duration::from_secs(self.interval)).await;
        }
    }
}

impl ClusterRt {
    async fn round(&self, context: &Context, producer: &Producer, out: &mut dyn Write) -> Result<(), Error> {
        let info = context.admin.cluster_info().await?;
        if let Some(cluster) = &self.cluster {
            Context::brokers_of(&info, cluster)?;
        }
        let wanted = info.cluster_addr_table.iter();
        for (cluster, brokers) in wanted.filter(|(name, _)| self.cluster.as_ref().is_none_or(|wanted| wanted == *name))
        {
            for broker in brokers {
                // Every broker has a topic of its own name for this.
                let message = Message::new(broker, vec![b'a'; self.size]);
                let (mut sent, mut failed, mut total) = (0_u32, 0_u32, Duration::ZERO);
                for number in 0..self.amount {
                    let begun = Instant::now();
                    match producer.send(&message).await {
                        Ok(_result) => sent += 1,
                        Err(_error) => failed += 1,
                    }
                    if number > 0 {
                        total += begun.elapsed();
                    }
                }
                let average = total.as_secs_f64() * 1_000.0 / f64::from(self.amount - 1);
                if context.wants_document() {
                    let row = json!({"clusterName": cluster, "brokerName": broker, "rtMs": average, "successCount": sent, "failCount": failed});
                    context.document(out, &row)?;
                } else {
                    writeln!(
                        out,
                        "{cluster:<24}  {broker:<24}  {average:<8.2}  {sent:<16}  {failed:<16}"
                    )?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct SendMsgStatus {
    /// The broker group with this name
    #[arg(short, long = "brokerName", alias = "broker", value_name = "NAME")]
    broker_name: String,
    /// Bytes of a body
    #[arg(short = 's', long = "messageSize", value_name = "BYTES", default_value_t = 128)]
    message_size: usize,
    /// Messages
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    count: u32,
}

impl Run for SendMsgStatus {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let producer = Producer::new(&context.client, "PID_SMSC");
        let topic = self.broker_name.trim();
        // The first send also makes the connection, and is not shown.
        producer.send(&Message::new(topic, vec![b'a'; 16])).await?;
        let message = Message::new(topic, vec![b'a'; self.message_size]);
        for _number in 0..self.count {
            let begun = Instant::now();
            let result = producer.send(&message).await?;
            let elapsed = begun.elapsed();
            if context.wants_document() {
                let row = json!({"rtUs": u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), "queueId": result.queue.queue_id, "messageId": result.unique_id, "status": result.status.name()});
                context.document(out, &row)?;
            } else {
                writeln!(
                    out,
                    "rt={}ms, SendResult={}",
                    elapsed.as_millis(),
                    send_result_text(&result)
                )?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct CheckMsgSendRt {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// Messages; the first is not counted
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..))]
    amount: u32,
    /// Bytes of a body
    #[arg(short, long, value_name = "BYTES", default_value_t = 128)]
    size: usize,
}

impl Run for CheckMsgSendRt {
    async fn run(&self, context: &Context, out: &mut dyn Write) -> Result<(), Error> {
        let producer = Producer::new(&context.client, "mqadmin");
        let topic = self.topic.trim();
        let queues = producer.queues(topic).await?;
        if queues.is_empty() {
            return Err(client::Error::NoQueue {
                topic: topic.to_owned(),
                wanted: "written",
            }
            .into());
        }
        let message = Message::new(topic, vec![b'a'; self.size]);
        if !context.wants_document() {
            heading!(
                context,
                out,
                "{:<32}  {:<4}  {:<20}    #RT",
                "#Broker Name",
                "#QID",
                "#Send Result"
            )?;
        }
        let mut rows = Vec::new();
        let mut total = Duration::ZERO;
        for (number, queue) in queues
            .iter()
            .cycle()
            .take(usize::try_from(self.amount).unwrap_or(usize::MAX))
            .enumerate()
        {
            let begun = Instant::now();
            let is_sent = producer.send_to(queue, &message).await.is_ok();
            let elapsed = begun.elapsed();
            if number > 0 {
                total += elapsed;
            }
            if context.wants_document() {
                rows.push(json!({"brokerName": &*queue.broker_name, "queueId": queue.queue_id, "sent": is_sent, "rtMs": elapsed.as_secs_f64() * 1_000.0}));
            } else {
                writeln!(
                    out,
                    "{:<32}  {:<4}  {is_sent:<20}    {}",
                    queue.broker_name,
                    queue.queue_id,
                    elapsed.as_millis()
                )?;
            }
        }
        let average = total.as_secs_f64() * 1_000.0 / f64::from(self.amount - 1);
        if context.wants_document() {
            return context.document(out, &json!({"averageRtMs": average, "sends": rows}));
        }
        Ok(writeln!(out, "Avg RT: {average:.2}")?)
    }
}
