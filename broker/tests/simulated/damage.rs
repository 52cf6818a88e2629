//! A disk that gives back other bytes than were written.

use crate::world::{STORE, World};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use std::path::{Path, PathBuf};

/// The segment that holds these bytes, and where.
pub(crate) fn find(world: &World, wanted: &[u8]) -> (PathBuf, usize) {
    let segments =
        ["shard-00", "shard-01"].map(|shard| Path::new(STORE).join(shard).join("commitlog/00000000000000000000"));
    let found = segments.into_iter().find_map(|path| {
        let bytes = world.simulation.file(world.broker, &path)?;
        let at = bytes.windows(wanted.len()).position(|window| window == wanted)?;
        Some((path, at))
    });
    found.unwrap_or_else(|| panic!("{} is in no segment", String::from_utf8_lossy(wanted)))
}

#[test]
fn a_consumer_is_led_past_a_damaged_message_and_the_operator_told() {
    let world = World::new("", &[]);
    for body in ["message-0", "message-1", "message-2"] {
        assert_eq!(world.send("T", 0, body.as_bytes()).code(), ResponseCode::SUCCESS);
    }
    world.stop();
    let (path, at) = find(&world, b"message-1");
    world.simulation.flip_bit(world.broker, &path, at as u64, 0).unwrap();
    world.restart();

    let (mut offset, mut bodies, mut pulls) = (0, Vec::new(), 0);
    while offset < 3 {
        let pulled = world.pull("g", "T", 0, offset);
        let next = pulled.number("nextBeginOffset");
        assert!(next > offset, "{:?} leads from {offset} to {next}", pulled.code());
        if pulled.code() == ResponseCode::SUCCESS {
            let records = protocol::message::record::Records::new(pulled.0.body());
            bodies.extend(records.map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap()));
        } else {
            assert_eq!(
                (pulled.code(), offset, next),
                (ResponseCode::PULL_RETRY_IMMEDIATELY, 1, 2)
            );
        }
        offset = next;
        pulls += 1;
    }
    assert_eq!((bodies.join(" ").as_str(), pulls), ("message-0 message-2", 3));
    // Each group that meets it is led past it, and it is counted once.
    assert_eq!(world.pull("h", "T", 0, 1).number("nextBeginOffset"), 2);
    let info = world.ask(RequestCode::GET_BROKER_RUNTIME_INFO, &[], b"");
    assert!(String::from_utf8_lossy(info.0.body()).contains("\"lostMessages\":\"1\""));
}

#[test]
fn a_consumer_waits_at_a_message_that_cannot_be_read_as_long_as_it_is_not_durable() {
    let world = World::new(
        "tailCacheBytes=1048576\nwritePath=buffered\nflushIntervalCommitLog=5000\n",
        &[],
    );
    for body in ["message-0", "message-1", "message-2"] {
        assert_eq!(world.send("T", 0, body.as_bytes()).code(), ResponseCode::SUCCESS);
    }
    // So many that the first ones are in no cache.
    for _later in 0..50 {
        assert_eq!(world.send("T", 0, &[b'x'; 100_000]).code(), ResponseCode::SUCCESS);
    }
    let (path, at) = find(&world, b"message-1");
    world.simulation.flip_bit(world.broker, &path, at as u64, 0).unwrap();
    let pulled = world.pull("g", "T", 0, 1);
    assert_eq!(pulled.code(), ResponseCode::SYSTEM_ERROR, "{:?}", pulled.0.remark());
    world.run_for(10);
    let pulled = world.pull("g", "T", 0, 1);
    assert_eq!(pulled.code(), ResponseCode::PULL_RETRY_IMMEDIATELY);
    assert_eq!(pulled.number("nextBeginOffset"), 2);
}
