//! The client against a real cluster, Apache's or ours: `NAMESRV=host:port cargo test -p client -- --ignored`.
//! The cluster must create topics by request and have one master at least.

use crate::{
    Admin, Client, KeyQuery, Message, Producer, PullConsumer, PullOptions, PullStatus, ResetTarget, SendStatus,
};
use protocol::body::group::SubscriptionGroupConfig;
use protocol::body::heartbeat::ConsumerData;
use protocol::body::subscription::SubscriptionData;
use protocol::body::topic::TopicConfig;
use runtime::probe::{IoPath, Refusal};
use std::future::Future;
use std::time::Duration;

struct Cluster {
    client: Client,
    admin: Admin,
    name: String,
    master: String,
    topic: String,
    group: String,
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _attempt in 0..200 {
        if done().await {
            return;
        }
        runtime::sleep(Duration::from_millis(50)).await;
    }
    panic!("did not happen: {what}");
}

fn run<F: Future>(test: impl FnOnce(Cluster) -> F) {
    let namesrv = std::env::var("NAMESRV").expect("set NAMESRV=host:port to the name server of a test cluster");
    let work = async {
        let client = Client::new(&namesrv).unwrap();
        let admin = Admin::new(&client);
        let info = admin.cluster_info().await.unwrap();
        let name = info.cluster_addr_table.keys().next().unwrap().clone();
        let master = admin.masters(&name).await.unwrap().remove(0);
        let id = runtime::rng::random_u64();
        let (topic, group) = (format!("ClientTest{id}"), format!("ClientTestGroup{id}"));
        let config = TopicConfig {
            topic_name: topic.clone(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            ..TopicConfig::default()
        };
        admin.create_topic(&master, &config).await.unwrap();
        until("the topic has a route", async || {
            client.fresh_route(&topic).await.is_ok()
        })
        .await;
        test(Cluster {
            client,
            admin,
            name,
            master,
            topic,
            group,
        })
        .await;
    };
    let limited = async {
        runtime::timeout(Duration::from_secs(60), work)
            .await
            .expect("the test hangs")
    };
    runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), limited).unwrap();
}

#[test]
#[ignore = "needs a cluster: NAMESRV=host:port"]
fn messages_are_sent_and_read() {
    run(|cluster| async move {
        let producer = Producer::new(&cluster.client, "ClientTestProducers");
        let consumer = PullConsumer::new(&cluster.client, &cluster.group);
        let queue = consumer.queues(&cluster.topic).await.unwrap().remove(1);
        for number in 0..10 {
            let message =
                Message::new(&cluster.topic, format!("body {number}")).tag(if number % 2 == 0 { "A" } else { "B" });
            let sent = producer.send_to(&queue, &message).await.unwrap();
            assert_eq!((sent.status, sent.queue_offset), (SendStatus::Ok, number));
        }
        let batch: Vec<_> = (0..5)
            .map(|number| Message::new(&cluster.topic, format!("batch {number}")))
            .collect();
        let sent = producer.send_batch(&batch).await.unwrap();
        assert_eq!(sent.offset_message_id.split(',').count(), 5);
        producer
            .send_oneway(&Message::new(&cluster.topic, "oneway"))
            .await
            .unwrap();
        assert_eq!(consumer.min_offset(&queue).await.unwrap(), 0);
        until("all are readable", async || {
            consumer.max_offset(&queue).await.unwrap() >= 10
        })
        .await;
        let options = PullOptions {
            max: 10,
            hold: Duration::from_secs(1),
            ..PullOptions::default()
        };
        let pulled = consumer.pull(&queue, 0, &options).await.unwrap();
        let messages = pulled.messages().unwrap();
        assert_eq!(
            (pulled.status, pulled.next_begin_offset, messages.len()),
            (PullStatus::Found, 10, 10)
        );
        assert_eq!(
            (&messages[3].body[..], messages[3].tag(), messages[3].queue_offset),
            (&b"body 3"[..], Some("B"), 3)
        );
        let tagged = PullOptions {
            max: 10,
            tags: "A".into(),
            ..PullOptions::default()
        };
        let tagged = consumer.pull(&queue, 0, &tagged).await.unwrap().messages().unwrap();
        assert_eq!(tagged.iter().filter(|message| message.tag() == Some("A")).count(), 5);
        assert!(tagged.iter().all(|message| message.tag() == Some("A")));
        let beyond = consumer.pull(&queue, 1_000, &PullOptions::default()).await.unwrap();
        assert_eq!(beyond.status, PullStatus::OffsetIllegal);
    });
}

#[test]
#[ignore = "needs a cluster: NAMESRV=host:port"]
fn offsets_are_kept_and_times_are_found() {
    run(|cluster| async move {
        let producer = Producer::new(&cluster.client, "ClientTestProducers");
        let consumer = PullConsumer::new(&cluster.client, &cluster.group);
        let queue = consumer.queues(&cluster.topic).await.unwrap().remove(0);
        cluster
            .admin
            .create_group(
                &cluster.master,
                &SubscriptionGroupConfig {
                    group_name: cluster.group.clone(),
                    ..SubscriptionGroupConfig::default()
                },
            )
            .await
            .unwrap();
        producer
            .send_to(&queue, &Message::new(&cluster.topic, "first"))
            .await
            .unwrap();
        until("it is readable", async || {
            consumer.max_offset(&queue).await.unwrap() == 1
        })
        .await;
        consumer.commit_offset(&queue, 1).await.unwrap();
        until("the offset is kept", async || {
            consumer.committed_offset(&queue).await.unwrap() == Some(1)
        })
        .await;
        assert!(consumer.earliest_store_time(&queue).await.unwrap() > 1_500_000_000_000);
        assert_eq!(consumer.search_offset(&queue, 0).await.unwrap(), 0);
        let stats = cluster
            .admin
            .consume_stats(&cluster.master, &cluster.group, None)
            .await
            .unwrap();
        let ours = stats
            .offset_table
            .iter()
            .find(|(table, _offsets)| table.topic == cluster.topic && table.queue_id == 0);
        let (_queue, offsets) = ours.unwrap();
        assert_eq!((offsets.consumer_offset, offsets.broker_offset), (1, 1));
        let topics = cluster
            .admin
            .topics_of_group(&cluster.master, &cluster.group)
            .await
            .unwrap();
        assert!(topics.contains(&cluster.topic));
        let groups = cluster
            .admin
            .groups_of_topic(&cluster.master, &cluster.topic)
            .await
            .unwrap();
        assert!(groups.contains(&cluster.group));
        let reset = cluster
            .admin
            .reset_offset(&cluster.master, &cluster.group, &cluster.topic, ResetTarget::Time(0))
            .await
            .unwrap();
        assert_eq!(reset.len(), 4);
        cluster
            .admin
            .delete_group(&cluster.master, &cluster.group, true)
            .await
            .unwrap();
    });
}

#[test]
#[ignore = "needs a cluster: NAMESRV=host:port"]
fn messages_are_found_by_id_and_key() {
    run(|cluster| async move {
        let producer = Producer::new(&cluster.client, "ClientTestProducers");
        let sent = producer
            .send(&Message::new(&cluster.topic, "find me").keys("k1 k2"))
            .await
            .unwrap();
        let admin = &cluster.admin;
        let by_id = admin
            .message_by_id(&cluster.topic, &sent.offset_message_id)
            .await
            .unwrap();
        assert_eq!(
            (&by_id.body[..], by_id.unique_id()),
            (&b"find me"[..], Some(sent.unique_id.as_str()))
        );
        for (key, by_unique_id) in [("k2", false), (sent.unique_id.as_str(), true)] {
            let query = KeyQuery {
                topic: cluster.topic.clone(),
                key: key.to_owned(),
                by_unique_id,
                max: 32,
                begin: 0,
                end: i64::MAX,
            };
            until(key, async || {
                let found = admin.messages_by_key(&cluster.master, &query).await.unwrap();
                found.len() == 1 && found[0].body == by_id.body
            })
            .await;
        }
        let nothing = KeyQuery {
            topic: cluster.topic.clone(),
            key: "nobody".into(),
            by_unique_id: false,
            max: 1,
            begin: 0,
            end: i64::MAX,
        };
        assert!(
            admin
                .messages_by_key(&cluster.master, &nothing)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
#[ignore = "needs a cluster: NAMESRV=host:port"]
fn topics_groups_and_configuration_are_managed() {
    run(|cluster| async move {
        let (admin, master) = (&cluster.admin, cluster.master.as_str());
        assert!(admin.topics().await.unwrap().contains(&cluster.topic));
        assert!(
            admin
                .topics_of_cluster(&cluster.name)
                .await
                .unwrap()
                .contains(&cluster.topic)
        );
        assert_eq!(
            admin
                .topic_config(master, &cluster.topic)
                .await
                .unwrap()
                .write_queue_nums,
            4
        );
        assert!(
            admin
                .all_topic_config(master)
                .await
                .unwrap()
                .topic_config_table
                .contains_key(&cluster.topic)
        );
        assert_eq!(
            admin
                .topic_stats(master, &cluster.topic)
                .await
                .unwrap()
                .offset_table
                .len(),
            4
        );
        assert!(
            admin
                .runtime_info(master)
                .await
                .unwrap()
                .contains_key("brokerVersionDesc")
        );
        let config = admin.broker_config(master).await.unwrap();
        assert_eq!(config["brokerClusterName"], cluster.name);
        admin
            .update_broker_config(master, &[("fileReservedTime", "47")])
            .await
            .unwrap();
        assert_eq!(admin.broker_config(master).await.unwrap()["fileReservedTime"], "47");
        let group = SubscriptionGroupConfig {
            group_name: cluster.group.clone(),
            retry_max_times: 3,
            ..SubscriptionGroupConfig::default()
        };
        admin.create_group(master, &group).await.unwrap();
        assert_eq!(
            admin
                .group_config(master, &cluster.group)
                .await
                .unwrap()
                .retry_max_times,
            3
        );
        assert!(
            admin
                .all_group_config(master)
                .await
                .unwrap()
                .subscription_group_table
                .contains_key(&cluster.group)
        );
        admin.put_kv("ClientTest", "k", "v").await.unwrap();
        assert_eq!(admin.kv("ClientTest", "k").await.unwrap().as_deref(), Some("v"));
        assert_eq!(admin.kv_list("ClientTest").await.unwrap()["k"], "v");
        admin.delete_kv("ClientTest", "k").await.unwrap();
        assert_eq!(admin.kv("ClientTest", "k").await.unwrap(), None);
        let name_server = &cluster.client.name_servers()[0];
        assert!(!admin.name_server_config(name_server).await.unwrap().is_empty());
        admin.delete_topic(&cluster.name, &cluster.topic).await.unwrap();
        until("the topic is gone", async || {
            cluster.client.fresh_route(&cluster.topic).await.is_err()
        })
        .await;
    });
}

#[test]
#[ignore = "needs a cluster: NAMESRV=host:port"]
fn members_of_groups_are_listed() {
    run(|cluster| async move {
        let subscription = SubscriptionData::of_tags(&cluster.topic, "*").unwrap();
        let consumers = [ConsumerData {
            group_name: cluster.group.clone(),
            subscription_data_set: vec![subscription],
            ..ConsumerData::default()
        }];
        let producers = ["ClientTestProducers".to_owned()];
        cluster
            .client
            .heartbeat(&cluster.master, &producers, &consumers)
            .await
            .unwrap();
        let ids = cluster
            .admin
            .consumer_ids(&cluster.master, &cluster.group)
            .await
            .unwrap();
        assert_eq!(ids, [cluster.client.client_id()]);
        let connection = cluster
            .admin
            .consumer_connection(&cluster.master, &cluster.group)
            .await
            .unwrap();
        assert_eq!(connection.connection_set[0].client_id, cluster.client.client_id());
        let producers = cluster
            .admin
            .producer_connection(&cluster.master, &producers[0])
            .await
            .unwrap();
        assert!(
            producers
                .connection_set
                .iter()
                .any(|known| known.client_id == cluster.client.client_id())
        );
    });
}
