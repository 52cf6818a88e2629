//! Changing the configuration of a running broker.

use crate::world::{Answer, World};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;

fn update(world: &World, text: &str) -> Answer {
    world.ask(RequestCode::UPDATE_BROKER_CONFIG, &[], text.as_bytes())
}

fn records(answer: &Answer) -> usize {
    protocol::message::record::Records::new(answer.0.body()).count()
}

#[test]
fn what_operators_change_holds_at_once() {
    let world = World::new("", &[]);
    for _ in 0..5 {
        world.send("T", 0, b"body");
    }
    let set = |text: &str| assert_eq!(update(&world, text).code(), ResponseCode::SUCCESS, "{text}");

    assert_eq!(records(&world.pull("g", "T", 0, 0)), 5);
    set("maxTransferCountOnMessageInMemory=2");
    assert_eq!(records(&world.pull("g", "T", 0, 0)), 2);

    assert_eq!(world.send("made", 0, b"body").code(), ResponseCode::SUCCESS);
    set("autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=false");
    assert_eq!(world.send("not-made", 0, b"body").code(), ResponseCode::TOPIC_NOT_EXIST);
    assert_eq!(
        world.pull("new", "T", 0, 0).code(),
        ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST
    );

    set("maxMessageSize=3");
    assert_eq!(world.send("T", 0, b"body").code(), ResponseCode::MESSAGE_ILLEGAL);
    set("maxMessageSize=4000");
    assert_eq!(world.send("T", 0, b"body").code(), ResponseCode::SUCCESS);

    set("brokerPermission=2");
    assert_eq!(world.pull("g", "T", 0, 0).code(), ResponseCode::NO_PERMISSION);
    set("brokerPermission=6\nfileReservedTime=1\ndeleteWhen=03\nlongPollingEnable=false\nfileReservedTime=48");
    assert_eq!(world.pull("g", "T", 0, 0).code(), ResponseCode::SUCCESS);
}

#[test]
fn what_cannot_change_is_refused_by_name_and_nothing_of_it_is_done() {
    let world = World::new("", &[]);
    world.send("T", 0, b"body");
    for (text, named) in [
        ("storePathRootDir=/tmp/elsewhere", "storePathRootDir"),
        ("brokerConfigPath=/etc/passwd", "brokerConfigPath"),
        ("rocketmqHome=/tmp", "rocketmqHome"),
        ("flushDiskType=SYNC_FLUSH", "flushDiskType"),
        ("noSuchKey=1", "noSuchKey"),
        ("fileReservedTime=soon", "fileReservedTime"),
    ] {
        let refused = update(&world, &format!("maxMessageSize=1\n{text}"));
        assert_ne!(refused.code(), ResponseCode::SUCCESS, "{text}");
        assert!(refused.remark().contains(named), "{text}: {}", refused.remark());
    }
    assert_eq!(world.send("T", 0, b"body").code(), ResponseCode::SUCCESS);
}

#[test]
fn a_request_that_is_not_served_says_why() {
    let world = World::new("", &[]);
    let refused = world.ask(RequestCode::POP_MESSAGE, &[], b"");
    assert_eq!(refused.code(), ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
    assert_eq!(
        refused.remark(),
        " request type 200050 not supported: pop consumers are not served yet; consume by pull"
    );
    assert_eq!(
        world.ask(RequestCode(31_337), &[], b"").remark(),
        " request type 31337 not supported"
    );
}
