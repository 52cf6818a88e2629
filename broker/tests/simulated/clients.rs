//! Clients: who may commit, who is forgotten, what their heartbeats make.

use crate::world::World;
use protocol::body::heartbeat::ConsumerData;
use protocol::body::subscription::SubscriptionData;
use protocol::body::topic::TopicConfig;
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;

fn consumer(group: &str, topic: &str, expression: &str) -> ConsumerData {
    ConsumerData {
        group_name: group.to_owned(),
        subscription_data_set: vec![SubscriptionData {
            sub_version: 1,
            ..SubscriptionData::of_tags(topic, expression).unwrap()
        }]
        .into_iter()
        .collect(),
        ..ConsumerData::default()
    }
}

#[test]
fn a_commit_of_a_group_or_topic_that_nobody_knows_is_refused() {
    let world = World::new("", &[]);
    world.send("T", 0, b"one");
    let refused = world.commit("nobody", "T", 0, 1);
    assert_eq!(refused.code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST);
    assert!(refused.remark().contains("nobody"));
    // A pull makes the group, as autoCreateSubscriptionGroup is on.
    world.pull("g", "T", 0, 0);
    assert_eq!(world.commit("g", "T", 0, 1).code(), ResponseCode::SUCCESS);
    assert_eq!(world.commit("g", "nowhere", 0, 1).code(), ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn a_client_without_heartbeats_is_forgotten_and_its_connection_closed() {
    let world = World::new("", &[]);
    world.heartbeat(consumer("g", "T", "*"));
    let members = |world: &World| {
        world
            .ask(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", "g")], b"")
            .code()
    };
    // It talks all the time, so that its connection is not idle.
    for _ in 0..11 {
        world.run_for(10);
        assert_eq!(members(&world), ResponseCode::SUCCESS);
    }
    assert!(world.is_connected());
    world.run_for(21);
    assert!(!world.is_connected());
    assert_eq!(members(&world), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn a_retry_topic_follows_its_order_topic() {
    let world = World::new("", &[]);
    let fields = [
        ("topic", "ordered"),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", "2"),
        ("writeQueueNums", "2"),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "true"),
    ];
    let made = world.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
    assert_eq!(made.code(), ResponseCode::SUCCESS, "{}", made.remark());
    world.heartbeat(consumer("g", "ordered", "*"));
    world.heartbeat(consumer("h", "other", "*"));
    let config = |topic: &str| -> TopicConfig {
        let answer = world.ask(RequestCode::GET_TOPIC_CONFIG, &[("topic", topic)], b"");
        protocol::body::from_slice(answer.0.body()).unwrap()
    };
    assert!(config("%RETRY%g").order && !config("%RETRY%h").order);
}

#[test]
fn blanks_in_a_tag_expression_do_not_hide_messages() {
    let world = World::new("", &[]);
    world.send_tagged("T", 0, "a");
    world.send_tagged("T", 0, "b");
    let pulled = |tags: &str| world.pull_tags("g", "T", 0, 0, tags).code();
    assert_eq!(
        (pulled(" a || c "), pulled(" * ")),
        (ResponseCode::SUCCESS, ResponseCode::SUCCESS)
    );
    assert_eq!(pulled("c"), ResponseCode::PULL_RETRY_IMMEDIATELY);
    // By heartbeat: a client that hashed the tag with its blanks, and one that says all with a blank.
    for expression in [" a ", "* "] {
        let mut data = consumer("h", "T", "a");
        for mut subscription in std::mem::take(&mut data.subscription_data_set) {
            subscription.sub_version = 2;
            subscription.sub_string = expression.to_owned();
            subscription.code_set = [12345].into();
            data.subscription_data_set.push(subscription);
        }
        world.heartbeat(data);
        assert_eq!(
            world.pull_registered("h", "T", 0, 0).code(),
            ResponseCode::SUCCESS,
            "{expression:?}"
        );
    }
}

#[test]
fn the_members_of_a_group_are_asked_where_they_are() {
    let world = World::new("", &[]);
    let status = |group: &str, client: &str| {
        let fields = [("topic", "T"), ("group", group), ("clientAddr", client)];
        let answer = world.ask(RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields, b"");
        let body = String::from_utf8_lossy(answer.0.body()).into_owned();
        (answer.code(), [body, answer.remark()].concat())
    };
    let (code, text) = status("g", "");
    assert_eq!(code, ResponseCode::SYSTEM_ERROR);
    assert!(
        text.contains("No Any Consumer online in the consumer group: [g]"),
        "{text}"
    );
    world.heartbeat(consumer("g", "T", "*"));
    for client in ["", "10.0.0.2@1"] {
        let (code, text) = status("g", client);
        assert_eq!(code, ResponseCode::SUCCESS);
        assert!(
            text.contains("10.0.0.2@1") && text.contains("\"queueId\":2") && text.contains(":7"),
            "{text}"
        );
    }
    assert!(!status("g", "somebody").1.contains(":7"));
}
