//! `config/*.json`: written for people and tools, taken into a store that is empty.

use crate::world::World;
use protocol::response_code::ResponseCode;

const TOPICS: &str = r#"{"dataVersion":{"counter":7,"timestamp":1700000000000},"topicConfigTable":{
    "orders":{"order":false,"perm":6,"readQueueNums":3,"topicFilterType":"SINGLE_TAG","topicName":"orders","topicSysFlag":0,"writeQueueNums":3}}}"#;
const GROUPS: &str = r#"{"dataVersion":{"counter":3,"timestamp":1700000000000},"forbiddenTable":{},"subscriptionGroupTable":{
    "billing":{"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"groupName":"billing",
    "notifyConsumerIdsChangedEnable":true,"retryMaxTimes":5,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}}}"#;
const OFFSETS: &str = "{\"offsetTable\":{\n\t\"orders@billing\":{0:1000,1:7\n\t}}}";
const DELAYS: &str = "{\"offsetTable\":{1:1000,2:5}}";

const APACHES: &[(&str, &str)] = &[
    ("/store/config/topics.json", TOPICS),
    ("/store/config/subscriptionGroup.json", GROUPS),
    ("/store/config/consumerOffset.json", OFFSETS),
    ("/store/config/delayOffset.json", DELAYS),
];

#[test]
fn the_files_follow_the_tables_and_a_clean_stop_leaves_none_behind() {
    let world = World::new("", &[]);
    world.send("T", 0, b"one");
    world.pull("g", "T", 0, 0);
    assert_eq!(world.commit("g", "T", 0, 1).code(), ResponseCode::SUCCESS);
    world.run_for(6);
    assert!(world.file("config/topics.json").unwrap().contains("\"T\""));
    assert!(world.file("config/subscriptionGroup.json").unwrap().contains("\"g\""));
    let offsets = world.file("config/consumerOffset.json").unwrap();
    assert!(offsets.contains("\"T@g\":{0:1}"), "{offsets}");
    assert!(
        world
            .file("config/delayOffset.json")
            .unwrap()
            .contains("\"offsetTable\":{")
    );
    world.commit("g", "T", 0, 0);
    world.stop();
    let offsets = world.file("config/consumerOffset.json").unwrap();
    assert!(offsets.contains("\"T@g\":{0:0}"), "{offsets}");
}

#[test]
fn an_empty_store_takes_apaches_files_and_no_group_misses_a_message() {
    let world = World::new(
        "autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=false\n",
        APACHES,
    );
    for queue_id in 0..3 {
        assert_eq!(world.send("orders", queue_id, b"new").code(), ResponseCode::SUCCESS);
    }
    assert_eq!(world.send("others", 0, b"new").code(), ResponseCode::TOPIC_NOT_EXIST);
    let committed = world.committed("billing", "orders", 0);
    assert_eq!(
        (committed.code(), committed.number("offset")),
        (ResponseCode::SUCCESS, 0)
    );
    assert_eq!(
        world.committed("billing", "orders", 2).code(),
        ResponseCode::QUERY_NOT_FOUND
    );
    assert_eq!(world.pull("billing", "orders", 0, 0).code(), ResponseCode::SUCCESS);
    assert!(
        world
            .simulation
            .file(world.broker, std::path::Path::new("/store/config/import-unfinished"))
            .is_none()
    );
}

#[test]
fn a_store_that_holds_something_takes_no_files() {
    let world = World::new("", APACHES);
    world.send("orders", 0, b"one");
    assert_eq!(world.commit("billing", "orders", 0, 1).code(), ResponseCode::SUCCESS);
    world.simulation.kill(world.broker);
    world.restart();
    // The files still say 1000 at most: they were not taken again.
    assert_eq!(world.committed("billing", "orders", 0).number("offset"), 1);
}

#[test]
fn a_file_that_cannot_be_read_stops_the_start_and_says_where() {
    let world = World::new(
        "",
        &[("/store/config/consumerOffset.json", "{\"offsetTable\":{\"T@g\":{0:}}}")],
    );
    let error = world.await_end().unwrap_err();
    assert!(
        error.contains("/store/config/consumerOffset.json") && error.contains("byte 25"),
        "{error}"
    );
    let world = World::new(
        "",
        &[(
            "/store/config/topics.json",
            r#"{"topicConfigTable":{"b a d":{"topicName":"b a d"}}}"#,
        )],
    );
    let error = world.await_end().unwrap_err();
    assert!(error.contains("topics.json") && error.contains("b a d"), "{error}");
}

#[test]
fn a_crash_while_files_are_taken_takes_them_again() {
    for milliseconds in [1, 3, 5, 8, 12, 20] {
        let world = World::new(
            "autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=false\n",
            APACHES,
        );
        world.simulation.run_for(std::time::Duration::from_millis(milliseconds));
        world.simulation.crash(world.broker);
        world.restart();
        assert_eq!(world.send("orders", 0, b"new").code(), ResponseCode::SUCCESS);
        assert_eq!(world.committed("billing", "orders", 1).number("offset"), 0);
    }
}

#[test]
fn a_full_disk_delays_the_files_and_harms_nothing_else() {
    let world = World::new("", &[]);
    world.send("T", 0, b"one");
    world.run_for(6);
    world.commit("g", "T", 0, 1);
    world.pull("g", "T", 0, 0);
    world.simulation.set_disk_capacity(world.broker, 0);
    world.run_for(11);
    assert_eq!(world.pull("g", "T", 0, 0).code(), ResponseCode::SUCCESS);
    world.simulation.set_disk_capacity(world.broker, 1 << 40);
    world.run_for(11);
    let groups = world.file("config/subscriptionGroup.json").unwrap();
    assert!(groups.contains("\"g\""), "{groups}");
}
