//! A master and its slave: what an answer to a send says about the slave, and what a slave does while its master is away.

use crate::damage::find;
use crate::world::{Answer, World};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use std::collections::BTreeSet;
use std::time::Duration;

fn ha_status(world: &World) -> String {
    let answer = world.ask(RequestCode::GET_BROKER_HA_STATUS, &[], b"");
    assert_eq!(answer.code(), ResponseCode::SUCCESS);
    String::from_utf8(answer.0.body().to_vec()).unwrap()
}

/// Waits until the slave copies and has everything.
fn await_slave(world: &World) {
    world.await_that("the slave has everything", |world| {
        let status = ha_status(world);
        status.contains("\"diff\":0") && status.contains("\"inSyncSlaveNums\":1")
    });
}

fn send_until_ok(world: &World, topic: &str) {
    world.await_that("a send is answered OK", |world| {
        world.send(topic, 0, b"body").code() == ResponseCode::SUCCESS
    });
}

fn make_topic(world: &World, topic: &str, queues: &str) {
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    let made = world.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
    assert_eq!(made.code(), ResponseCode::SUCCESS);
}

fn bodies(answer: &Answer) -> usize {
    protocol::message::record::Records::new(answer.0.body()).count()
}

#[test]
fn a_synchronous_master_answers_ok_once_the_slave_has_it_and_says_so_when_that_is_late() {
    let world = World::with_slave("brokerRole=SYNC_MASTER\nslaveTimeout=2000\n", "");
    send_until_ok(&world, "T");
    await_slave(&world);
    let slave = world.slave.unwrap();
    let started = world.simulation.now();
    assert_eq!(world.send("T", 1, b"both have it").code(), ResponseCode::SUCCESS);
    assert!(world.simulation.now() - started < Duration::from_secs(1));

    world.simulation.partition(world.broker, slave);
    let started = world.simulation.now();
    let late = world.send("T", 1, b"one has it");
    let took = world.simulation.now() - started;
    assert_eq!(late.code(), ResponseCode::FLUSH_SLAVE_TIMEOUT);
    assert_eq!(late.number("queueOffset"), 1, "it is stored");
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(4),
        "{took:?}"
    );
    assert_eq!(bodies(&world.pull("g", "T", 1, 0)), 2, "and can be read");
    // A delayed message goes another way through the broker, and waits as well.
    let delayed = world.send_delayed("T", 1, 1);
    assert_eq!(delayed.code(), ResponseCode::FLUSH_SLAVE_TIMEOUT);

    world.simulation.heal_all();
    await_slave(&world);
    assert_eq!(world.send("T", 1, b"both again").code(), ResponseCode::SUCCESS);
    await_slave(&world);
    world.simulation.kill(world.broker);
    world.ask_slave();
    assert_eq!(
        bodies(&world.pull("g", "T", 1, 0)),
        4,
        "the slave has got what it missed, the delayed message too"
    );
}

#[test]
fn an_asynchronous_master_waits_for_no_slave() {
    let world = World::with_slave("", "");
    send_until_ok(&world, "T");
    await_slave(&world);
    world.simulation.kill(world.slave.unwrap());
    let started = world.simulation.now();
    assert_eq!(world.send("T", 0, b"body").code(), ResponseCode::SUCCESS);
    assert!(world.simulation.now() - started < Duration::from_secs(1));
}

#[test]
fn with_acting_masters_a_send_is_refused_unstored_while_too_few_slaves_keep_up() {
    let lines = "brokerRole=SYNC_MASTER\nenableSlaveActingMaster=true\n";
    let world = World::with_slave(lines, "enableSlaveActingMaster=true\n");
    send_until_ok(&world, "T");
    world.simulation.kill(world.slave.unwrap());
    world.await_that("the master knows that its slave is gone", |world| {
        ha_status(world).contains("\"inSyncSlaveNums\":0")
    });
    let end = world.pull("g", "T", 1, 0).number("maxOffset");
    let refused = world.send("T", 1, b"body");
    assert_eq!(refused.code(), ResponseCode::SYSTEM_ERROR);
    assert_eq!(refused.remark(), "in-sync replicas not enough");
    assert_eq!(world.pull("g", "T", 1, 0).number("maxOffset"), end, "nothing is stored");
    world.simulation.restart(world.slave.unwrap());
    send_until_ok(&world, "T");
}

#[test]
fn where_consumers_got_to_at_the_slave_their_master_knows_when_it_is_back() {
    let world = World::with_slave("", "");
    for _message in 0..20 {
        send_until_ok(&world, "T");
    }
    world.pull("g", "T", 0, 0);
    assert_eq!(world.commit("g", "T", 0, 5).code(), ResponseCode::SUCCESS);
    world.simulation.run_for(Duration::from_secs(1));
    await_slave(&world);

    world.simulation.kill(world.broker);
    world.ask_slave();
    world.await_that("the slave knows how far the group is", |world| {
        world.committed("g", "T", 0).number("offset") == 5
    });
    assert_eq!(bodies(&world.pull("g", "T", 0, 5)), 15);
    assert_eq!(world.commit("g", "T", 0, 12).code(), ResponseCode::SUCCESS);
    // What the slave lacks is waited for, not corrected to what it has.
    let beyond = world.pull("g", "T", 0, 30);
    assert_eq!(beyond.code(), ResponseCode::PULL_NOT_FOUND);
    assert_eq!(beyond.number("nextBeginOffset"), 30);

    world.restart();
    world.ask_master();
    let mut seen = BTreeSet::new();
    world.await_that("the master knows it too", |world| {
        // Not before the slave has connected, and never back.
        let offset = world.committed("g", "T", 0).number("offset");
        offset == 12
    });
    world.ask_slave();
    for _look in 0..20 {
        seen.insert(world.committed("g", "T", 0).number("offset"));
        world.simulation.run_for(Duration::from_millis(50));
    }
    assert_eq!(seen, BTreeSet::from([12]), "the slave's own never went back");

    // The master's word counts again: a group that is set back stays there.
    world.ask_master();
    assert_eq!(world.commit("g", "T", 0, 3).code(), ResponseCode::SUCCESS);
    world.ask_slave();
    world.await_that("the slave follows", |world| {
        world.committed("g", "T", 0).number("offset") == 3
    });
    world.simulation.reset_connections(world.broker, world.slave.unwrap());
    world.simulation.run_for(Duration::from_secs(5));
    world.ask_master();
    assert_eq!(
        world.committed("g", "T", 0).number("offset"),
        3,
        "an old offset does not come back"
    );
}

#[test]
fn a_pull_at_a_slave_is_sent_to_the_master_while_that_is_there() {
    let world = World::with_slave("slaveReadEnable=true\n", "slaveReadEnable=true\n");
    send_until_ok(&world, "T");
    await_slave(&world);
    world.ask_slave();
    let pulled = world.pull("g", "T", 0, 0);
    assert_eq!((bodies(&pulled), pulled.number("suggestWhichBrokerId")), (1, 0));
    world.ask_master();
    assert_eq!(
        world.pull("g", "T", 0, 0).number("suggestWhichBrokerId"),
        0,
        "it keeps up"
    );
}

#[test]
fn a_consumer_that_is_far_behind_is_sent_to_the_slave_and_back_once_it_keeps_up() {
    // A hundredth of what a machine that does not tell is taken to have.
    let lines = "slaveReadEnable=true\naccessMessageInMemoryMaxRatio=1\n";
    let world = World::with_slave(lines, lines);
    send_until_ok(&world, "T");
    for _message in 1..80 {
        let sent = world.send("T", 0, &[7; 500_000]);
        assert_eq!(sent.code(), ResponseCode::SUCCESS);
    }
    await_slave(&world);
    let suggested = |from| {
        let pulled = world.pull("g", "T", 0, from);
        assert!(bodies(&pulled) > 0);
        (pulled.number("suggestWhichBrokerId"), pulled.number("nextBeginOffset"))
    };
    let (broker, next) = suggested(0);
    assert_eq!(broker, 1, "more is to come than the master has memory for");
    world.ask_slave();
    assert_eq!(suggested(next).0, 1, "it stays there");
    assert_eq!(suggested(79).0, 0, "it has come to the end");
    world.ask_master();
    assert_eq!(suggested(79).0, 0);
}

/// A master that answers before its disk has anything, and a slave that has it.
fn answered_before_the_disk_has_it(role: &str) -> World {
    let world = World::with_slave(
        &format!("brokerRole={role}\nwritePath=buffered\nflushIntervalCommitLog=1000000\n"),
        "",
    );
    for _message in 0..7 {
        send_until_ok(&world, "T");
    }
    make_topic(&world, "new", "3");
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 7);
    assert_eq!(world.commit("g", "T", 0, 4).code(), ResponseCode::SUCCESS);
    world.simulation.run_for(Duration::from_secs(6));
    await_slave(&world);
    world.simulation.crash(world.broker);
    world
}

fn nothing_was_lost(world: &World) {
    world.ask_master();
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 7);
    await_slave(world);
    assert_eq!(world.committed("g", "T", 0).number("offset"), 4);
    assert_eq!(
        world.send("new", 2, b"to a topic of the lost end").code(),
        ResponseCode::SUCCESS
    );
    let next = world.send("T", 0, b"body");
    assert_eq!(next.number("queueOffset"), 7);
    await_slave(world);
    world.ask_slave();
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 8);
    assert!(
        !world
            .simulation
            .disk(world.slave.unwrap())
            .files()
            .iter()
            .any(|(path, _length)| path.to_string_lossy().contains("/cut-"))
    );
}

#[test]
fn a_master_takes_the_end_that_a_power_cut_took_back_from_its_slave() {
    for role in ["SYNC_MASTER", "ASYNC_MASTER"] {
        let world = answered_before_the_disk_has_it(role);
        world.restart();
        nothing_was_lost(&world);
    }
}

#[test]
fn a_synchronous_master_that_lost_power_waits_some_seconds_for_its_slave() {
    let world = answered_before_the_disk_has_it("SYNC_MASTER");
    world.simulation.kill(world.slave.unwrap());
    world.restart();
    world.run_for(6);
    world.simulation.restart(world.slave.unwrap());
    nothing_was_lost(&world);

    let world = answered_before_the_disk_has_it("SYNC_MASTER");
    world.simulation.kill(world.slave.unwrap());
    let started = world.simulation.now();
    world.restart();
    world.ask_master();
    world.pull("g", "T", 0, 0);
    let waited = world.simulation.now() - started;
    assert!((10..15).contains(&waited.as_secs()), "{waited:?}");
}

/// A master whose disk is what it was before some messages that its slave has, and which has gone on since.
fn gone_separate_ways(flush_interval_ms: u32) -> World {
    let lines = format!("writePath=buffered\nflushIntervalCommitLog={flush_interval_ms}\n");
    let world = World::with_slave(&lines, "");
    for _message in 0..5 {
        send_until_ok(&world, "T");
    }
    await_slave(&world);
    world.simulation.kill(world.broker);
    let before = world.simulation.disk(world.broker);
    world.restart();
    for _message in 0..7 {
        send_until_ok(&world, "T");
    }
    make_topic(&world, "lost", "1");
    await_slave(&world);
    world.simulation.run_for(Duration::from_secs(2));
    // Its seal says what is durable by now.
    send_until_ok(&world, "T");
    await_slave(&world);
    let slave = world.slave.unwrap();
    world.simulation.partition(world.broker, slave);
    world.simulation.kill(world.broker);
    world.ask_slave();
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 13);
    assert_eq!(world.commit("g", "T", 0, 11).code(), ResponseCode::SUCCESS);
    world.simulation.set_disk(world.broker, before);
    world.restart();
    world.ask_master();
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 5);
    for _message in 0..2 {
        assert_eq!(world.send("T", 0, b"another").code(), ResponseCode::SUCCESS);
    }
    world.simulation.heal_all();
    world
}

#[test]
fn a_slave_cuts_what_its_master_lost_in_a_power_cut_and_keeps_it_aside() {
    let world = gone_separate_ways(1_000_000);
    await_slave(&world);
    let at_master: Vec<u8> = world.pull("g", "T", 0, 0).0.body().to_vec();
    world.ask_slave();
    let at_slave = world.pull("g", "T", 0, 0);
    assert_eq!(bodies(&at_slave), 7);
    assert!(at_master == at_slave.0.body().to_vec(), "the same messages");
    let lost = world.pull("g", "lost", 0, 0);
    assert_eq!(
        lost.code(),
        ResponseCode::TOPIC_NOT_EXIST,
        "what the cut part said of topics is undone"
    );
    // Where the consumers were is not beyond what is there.
    assert_eq!(world.committed("g", "T", 0).number("offset"), 5);
    let image = world.simulation.disk(world.slave.unwrap());
    let kept: u64 = image
        .files()
        .into_iter()
        .filter(|(path, _length)| path.to_string_lossy().contains("/cut-"))
        .map(|(_path, length)| length)
        .sum();
    assert!(kept > 8 * 100, "{kept} bytes");
    // It is a slave like any other from now on.
    world.ask_master();
    send_until_ok(&world, "T");
    await_slave(&world);
    world.simulation.kill(world.broker);
    world.ask_slave();
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 8);
}

#[test]
fn a_slave_cuts_nothing_that_its_master_had_made_durable() {
    let world = gone_separate_ways(100);
    world.simulation.run_for(Duration::from_secs(30));
    assert!(
        ha_status(&world).contains("\"inSyncSlaveNums\":0"),
        "{}",
        ha_status(&world)
    );
    world.ask_slave();
    assert_eq!(bodies(&world.pull("g", "T", 0, 0)), 13, "all of it is there still");
}

#[test]
fn a_slave_that_stands_still_or_crawls_costs_the_masters_clients_nothing_and_catches_up() {
    // Little is kept in memory, so that the slave must be served from the disk.
    let world = World::with_slave("tailCacheBytes=1048576\n", "");
    send_until_ok(&world, "T");
    await_slave(&world);
    let slave = world.slave.unwrap();
    world.simulation.pause(slave);
    let body = vec![7; 60_000];
    for number in 0..150 {
        let started = world.simulation.now();
        assert_eq!(world.send("T", number % 4, &body).code(), ResponseCode::SUCCESS);
        assert!(world.simulation.now() - started < Duration::from_secs(1));
    }
    let status = ha_status(&world);
    let behind: u64 = status.split("\"diff\":").nth(1).map_or(0, |rest| {
        rest.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap()
    });
    assert!(behind > 8_000_000, "{status}");
    world.simulation.resume(slave);
    await_slave(&world);
    // And after a break in the middle.
    for number in 0..40 {
        world.send("T", number % 4, &body);
        if number % 10 == 0 {
            world.simulation.reset_connections(world.broker, slave);
        }
    }
    await_slave(&world);
    world.simulation.kill(world.broker);
    world.ask_slave();
    let counts = (0..4).map(|queue| world.pull("g", "T", queue, 0).number("maxOffset"));
    assert_eq!(counts.sum::<i64>(), 191);
}

#[test]
fn a_slave_goes_on_behind_what_its_master_has_lost() {
    for write_path in ["buffered", "direct"] {
        let lines = format!("writePath={write_path}\n");
        let world = World::with_slave(&lines, &lines);
        assert_eq!(world.send("T", 0, b"message-0").code(), ResponseCode::SUCCESS);
        await_slave(&world);
        // The slave's log ends just before what will be lost.
        world.simulation.kill(world.slave.unwrap());
        for number in 1..6 {
            let body = format!("message-{number}");
            assert_eq!(world.send("T", 0, body.as_bytes()).code(), ResponseCode::SUCCESS);
        }
        world.stop();
        for lost in ["message-1", "message-2", "message-4"] {
            let (path, at) = find(&world, lost.as_bytes());
            world.simulation.flip_bit(world.broker, &path, at as u64, 0).unwrap();
        }
        world.restart();
        world.simulation.restart(world.slave.unwrap());
        await_slave(&world);
        send_until_ok(&world, "T");
        await_slave(&world);
        // The slave finds its way through its log at a start too.
        world.simulation.kill(world.slave.unwrap());
        world.simulation.restart(world.slave.unwrap());
        await_slave(&world);
        world.simulation.kill(world.broker);
        world.ask_slave();
        let (mut offset, mut read) = (0, Vec::new());
        while offset < 7 {
            let pulled = world.pull("g", "T", 0, offset);
            let records = protocol::message::record::Records::new(pulled.0.body());
            read.extend(records.map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap()));
            let next = pulled.number("nextBeginOffset");
            assert!(next > offset, "{:?} leads from {offset} to {next}", pulled.code());
            offset = next;
        }
        assert_eq!(read, ["message-0", "message-3", "message-5", "body"], "{write_path}");
    }
}
