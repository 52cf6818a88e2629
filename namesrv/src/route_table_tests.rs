//! The rules of the route table, one by one, and random orders of what can happen to it.

use super::*;

const CLUSTER: &str = "c";
const RULES: Rules = Rules {
    support_acting_master: true,
    delete_topic_with_broker_registration: false,
};

fn at(second: u64) -> Instant {
    // Instants start with the process, so all tests share one zero.
    static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ZERO.get_or_init(Instant::now) + Duration::from_secs(second)
}

fn broker(address: &str) -> BrokerAddress {
    BrokerAddress {
        cluster: CLUSTER.into(),
        address: address.into(),
    }
}

fn version(counter: i64, state_version: i64) -> DataVersion {
    DataVersion {
        counter,
        state_version,
        timestamp: 0,
    }
}

fn registration(name: &str, id: i64, address: &str, source: u64, topics: &[&str]) -> Registration {
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.data_version = version(1, 0);
    for topic in topics {
        let config = TopicConfig {
            topic_name: (*topic).to_owned(),
            ..TopicConfig::default()
        };
        body.topic_config_serialize_wrapper
            .topic_config_table
            .insert((*topic).to_owned(), config);
    }
    Registration {
        broker: broker(address),
        broker_name: name.into(),
        broker_id: id,
        ha_address: format!("{address}-ha"),
        zone_name: None,
        heartbeat_timeout: None,
        enable_acting_master: None,
        body,
        source: Source(source),
    }
}

fn accept(table: &mut RouteTable, new: Registration) -> (RegisterBrokerResponse, Option<MinIdChange>) {
    match table.register(new, RULES, at(0)).unwrap() {
        Registered::Accepted { answer, change } => (answer, change),
        other => panic!("not accepted: {other:?}"),
    }
}

/// A master `m:1` and a slave `s:1` of group `b`, acting master enabled, topics T and U.
fn pair() -> RouteTable {
    let mut table = RouteTable::default();
    for (id, address, source) in [(0, "m:1", 1), (1, "s:1", 2)] {
        let mut new = registration("b", id, address, source, &["T", "U"]);
        new.enable_acting_master = Some(true);
        accept(&mut table, new);
    }
    table
}

fn addresses(table: &RouteTable, name: &str) -> Vec<(i64, String)> {
    table.member_group(CLUSTER, name).broker_addrs.into_iter().collect()
}

fn perm_of(table: &RouteTable, topic: &str) -> i32 {
    table.route(topic, Rules::default()).unwrap().queue_datas[0].perm
}

#[test]
fn a_registered_broker_is_in_every_answer() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    let route = table.route("T", RULES).unwrap();
    assert_eq!(
        route.broker_datas[0].broker_addrs,
        BTreeMap::from([(0, "m:1".to_owned())])
    );
    assert_eq!(
        (route.queue_datas[0].read_queue_nums, route.queue_datas[0].perm),
        (16, 6)
    );
    assert!(table.route("other", RULES).is_none());
    assert_eq!(table.all_topics().topic_list, BTreeSet::from(["T".into(), "U".into()]));
    assert_eq!(table.topics_of_cluster(CLUSTER).topic_list.len(), 2);
    assert!(table.topics_of_cluster("none").topic_list.is_empty());
    assert_eq!(
        table.system_topics().topic_list,
        BTreeSet::from(["c".into(), "b".into()])
    );
    assert_eq!(table.system_topics().broker_addr.as_deref(), Some("m:1"));
    let info = table.cluster_info();
    assert_eq!(info.cluster_addr_table["c"], BTreeSet::from(["b".to_owned()]));
    assert_eq!(info.broker_addr_table["b"].cluster, "c");
}

#[test]
fn a_slave_is_told_its_master_and_adds_no_topics() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    let (answer, _change) = accept(&mut table, registration("b", 1, "s:1", 2, &["T", "U", "V"]));
    assert_eq!(answer.master_addr.as_deref(), Some("m:1"));
    assert_eq!(answer.ha_server_addr.as_deref(), Some("m:1-ha"));
    assert!(table.route("V", RULES).is_none());
    let (answer, _change) = accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    assert_eq!(answer.master_addr, None);
}

#[test]
fn a_late_unregister_of_an_old_process_leaves_the_new_one() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    accept(&mut table, registration("b", 0, "m:1", 2, &["T", "U"]));
    assert_eq!(table.unregister(&broker("m:1"), "b", Source(1)), (false, None));
    assert_eq!(table.unregister(&broker("m:1"), "b", Source(3)), (false, None));
    assert!(table.close(Source(1)).is_empty());
    assert!(table.route("T", RULES).is_some());
    assert_eq!(table.unregister(&broker("m:1"), "other", Source(2)), (false, None));
    assert_eq!(table.unregister(&broker("m:1"), "b", Source(2)), (true, None));
    assert!(table.route("T", RULES).is_none());
    assert_eq!(table.cluster_info(), ClusterInfo::default());
}

#[test]
fn a_late_registration_of_an_old_process_does_not_take_the_new_one_with_it() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    accept(&mut table, registration("b", 0, "m:1", 2, &["T", "U"]));
    let late = table.register(registration("b", 0, "m:1", 1, &["T"]), RULES, at(1));
    assert_eq!(late, Ok(Registered::Late));
    table.close(Source(1));
    assert!(table.route("U", RULES).is_some());
    // The connection that it belongs to still counts.
    table.close(Source(2));
    assert!(table.route("U", RULES).is_none());
}

#[test]
fn a_closed_connection_takes_its_broker_at_once() {
    let mut table = pair();
    table.close(Source(1));
    assert_eq!(addresses(&table, "b"), [(1, "s:1".to_owned())]);
    table.close(Source(2));
    assert_eq!(table.cluster_info(), ClusterInfo::default());
    assert!(table.all_topics().topic_list.is_empty());
}

#[test]
fn silence_ends_a_registration_after_its_own_time() {
    let mut table = RouteTable::default();
    let mut short = registration("short", 0, "s:1", 1, &["T", "U"]);
    short.heartbeat_timeout = Some(Duration::from_secs(10));
    accept(&mut table, short);
    accept(&mut table, registration("long", 0, "l:1", 2, &["T", "U"]));
    assert_eq!(table.next_expiry(), Some(at(10)));
    table.expire(at(9));
    assert_eq!(table.broker_count(), 2);
    table.heartbeat(&broker("s:1"), Source(1), at(9));
    table.expire(at(18));
    assert_eq!(table.broker_count(), 2);
    table.expire(at(19));
    assert!(addresses(&table, "short").is_empty());
    table.expire(at(119));
    assert_eq!(table.broker_count(), 1);
    table.expire(at(120));
    assert_eq!((table.broker_count(), table.next_expiry()), (0, None));
}

#[test]
fn a_heartbeat_moves_a_registration_to_a_newer_connection_only() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 5, &["T", "U"]));
    table.heartbeat(&broker("m:1"), Source(4), at(1));
    table.close(Source(4));
    assert_eq!(table.broker_count(), 1, "an older connection does not own it");
    table.heartbeat(&broker("m:1"), Source(6), at(1));
    table.close(Source(5));
    assert_eq!(table.broker_count(), 1, "the newer connection owns it");
    table.close(Source(6));
    assert_eq!(table.broker_count(), 0);
    table.heartbeat(&broker("m:1"), Source(7), at(1));
    assert_eq!(table.broker_count(), 0, "a heartbeat registers nothing");
}

#[test]
fn an_address_under_a_new_id_leaves_the_old_one() {
    let mut table = pair();
    table.close(Source(1));
    accept(&mut table, registration("b", 0, "s:1", 2, &["T", "U"]));
    assert_eq!(addresses(&table, "b"), [(0, "s:1".to_owned())]);
    assert_eq!(table.broker_count(), 1);
}

#[test]
fn an_older_state_does_not_take_an_id_and_a_newer_one_does() {
    let mut table = RouteTable::default();
    let with_state = |address: &str, source, state| {
        let mut new = registration("b", 0, address, source, &["T", "U"]);
        new.body.topic_config_serialize_wrapper.data_version = version(1, state);
        new
    };
    accept(&mut table, with_state("new:1", 1, 5));
    assert_eq!(
        table.register(with_state("old:1", 2, 4), RULES, at(0)),
        Ok(Registered::OutOfDate)
    );
    assert_eq!(addresses(&table, "b"), [(0, "new:1".to_owned())]);
    accept(&mut table, with_state("next:1", 3, 6));
    assert_eq!(addresses(&table, "b"), [(0, "next:1".to_owned())]);
    table.close(Source(1));
    assert_eq!(
        addresses(&table, "b"),
        [(0, "next:1".to_owned())],
        "the one that was replaced has no say any more"
    );
    assert_eq!(table.broker_count(), 1);
}

#[test]
fn one_topic_of_an_unknown_broker_is_refused() {
    let mut table = RouteTable::default();
    let single = registration("b", 0, "m:1", 1, &["T"]);
    assert_eq!(
        table.register(single.clone(), RULES, at(0)),
        Ok(Registered::NotRegisteredYet)
    );
    assert_eq!(table.cluster_info(), ClusterInfo::default());
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    let mut single = registration("b", 0, "m:1", 1, &["V"]);
    single.body.topic_config_serialize_wrapper.data_version = version(2, 0);
    accept(&mut table, single);
    assert!(table.route("V", RULES).is_some());
    assert!(table.route("T", RULES).is_some(), "the others stay");
}

#[test]
fn an_unchanged_version_leaves_known_topics_as_they_are() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    table.wipe_write_perm("b");
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U", "V"]));
    assert_eq!((perm_of(&table, "T"), perm_of(&table, "V")), (4, 6));
    let mut changed = registration("b", 0, "m:1", 1, &["T", "U"]);
    changed.body.topic_config_serialize_wrapper.data_version = version(2, 0);
    accept(&mut table, changed);
    assert_eq!(perm_of(&table, "T"), 6);
}

#[test]
fn topics_that_are_no_longer_registered_go_if_configured() {
    let rules = Rules {
        delete_topic_with_broker_registration: true,
        ..RULES
    };
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U", "V"]));
    accept(&mut table, registration("other", 0, "o:1", 2, &["T", "U", "V"]));
    table
        .register(registration("b", 0, "m:1", 1, &["T", "U"]), rules, at(0))
        .unwrap();
    assert_eq!(table.route("V", RULES).unwrap().queue_datas.len(), 1);
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    assert_eq!(table.route("T", RULES).unwrap().queue_datas.len(), 2);
}

#[test]
fn write_perm_is_wiped_and_added_for_one_group() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    accept(&mut table, registration("other", 0, "o:1", 2, &["U", "V"]));
    assert_eq!(table.wipe_write_perm("b"), 2);
    assert_eq!(perm_of(&table, "T"), 4);
    assert_eq!(perm_of(&table, "V"), 6);
    assert_eq!(table.add_write_perm("b"), 2);
    assert_eq!(perm_of(&table, "T"), 6);
    assert_eq!(table.wipe_write_perm("nobody"), 0);
}

#[test]
fn the_smallest_slave_acts_as_master_for_readers() {
    let mut table = pair();
    let mut third = registration("b", 2, "s:2", 3, &["T", "U"]);
    third.enable_acting_master = Some(true);
    accept(&mut table, third);
    let changes = table.close(Source(1));
    assert_eq!(perm_of(&table, "T"), 4, "nobody can write without a master");
    let shown = |rules| table.route("T", rules).unwrap().broker_datas[0].broker_addrs.clone();
    assert_eq!(
        shown(RULES),
        BTreeMap::from([(0, "s:1".to_owned()), (2, "s:2".to_owned())])
    );
    assert_eq!(
        shown(Rules::default()),
        BTreeMap::from([(1, "s:1".to_owned()), (2, "s:2".to_owned())])
    );
    let [change] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(change.tell, ["s:1", "s:2"]);
    assert_eq!(
        (
            change.header.min_broker_id,
            change.header.offline_broker_addr.as_deref()
        ),
        (Some(1), Some("m:1"))
    );
}

#[test]
fn a_group_whose_queues_can_be_written_shows_no_acting_master() {
    let mut table = pair();
    table.close(Source(1));
    table.add_write_perm("b");
    let shown = table.route("T", RULES).unwrap().broker_datas[0].broker_addrs.clone();
    assert_eq!(shown, BTreeMap::from([(1, "s:1".to_owned())]));
}

#[test]
fn a_prime_slave_registers_topics_that_cannot_be_written() {
    let mut table = RouteTable::default();
    let mut slave = registration("b", 1, "s:1", 1, &["T", "U"]);
    slave.enable_acting_master = Some(true);
    accept(&mut table, slave);
    assert_eq!(perm_of(&table, "T"), 4);
    let mut second = registration("b", 2, "s:2", 2, &["T", "U", "V"]);
    second.enable_acting_master = Some(true);
    accept(&mut table, second);
    assert!(table.route("V", RULES).is_none(), "only the smallest id's topics count");
    let mut master = registration("b", 0, "m:1", 3, &["T", "U"]);
    master.enable_acting_master = Some(true);
    let (_answer, change) = accept(&mut table, master);
    let change = change.unwrap();
    assert_eq!(change.tell, ["s:1", "s:2"]);
    assert_eq!(change.header.ha_broker_addr.as_deref(), Some("m:1-ha"));
    assert_eq!(perm_of(&table, "T"), 6);
}

#[test]
fn without_acting_master_the_perm_stays_when_the_master_goes() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    accept(&mut table, registration("b", 1, "s:1", 2, &["T", "U"]));
    assert!(table.close(Source(1)).is_empty());
    assert_eq!(perm_of(&table, "T"), 6);
    assert_eq!(addresses(&table, "b"), [(1, "s:1".to_owned())]);
}

#[test]
fn one_topic_is_set_on_registered_brokers_only() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    let queue = |name: &str, perm| QueueData {
        broker_name: name.into(),
        perm,
        ..QueueData::default()
    };
    table.register_topic("N", &[queue("b", 4)]).unwrap();
    assert_eq!(perm_of(&table, "N"), 4);
    let refused = table.register_topic("M", &[queue("b", 4), queue("ghost", 4)]);
    assert!(matches!(refused, Err(RouteError::UnknownBroker { .. })));
    assert!(table.route("M", RULES).is_none());
}

#[test]
fn a_topic_is_deleted_in_one_cluster_or_everywhere() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["T", "U"]));
    let mut other = registration("o", 0, "o:1", 2, &["T", "U"]);
    other.broker.cluster = "d".into();
    accept(&mut table, other);
    table.delete_topic("T", Some("none"));
    assert_eq!(table.route("T", RULES).unwrap().queue_datas.len(), 2);
    table.delete_topic("T", Some(CLUSTER));
    assert_eq!(table.route("T", RULES).unwrap().queue_datas[0].broker_name, "o");
    table.delete_topic("T", Some("d"));
    assert!(table.route("T", RULES).is_none());
    table.delete_topic("U", None);
    assert!(table.route("U", RULES).is_none());
}

#[test]
fn unit_topics_are_listed_by_their_flags() {
    let mut table = RouteTable::default();
    accept(&mut table, registration("b", 0, "m:1", 1, &["A", "B"]));
    let queue = |flag| QueueData {
        broker_name: "b".into(),
        topic_sys_flag: flag,
        ..QueueData::default()
    };
    for (topic, flag) in [("U", 1), ("S", 2), ("US", 3)] {
        table.register_topic(topic, &[queue(flag)]).unwrap();
    }
    let names = |set, unset| {
        table
            .topics_with_flag(set, unset)
            .topic_list
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(UnitFlags::UNIT, UnitFlags::NONE), ["U", "US"]);
    assert_eq!(names(UnitFlags::UNIT_SUB, UnitFlags::NONE), ["S", "US"]);
    assert_eq!(names(UnitFlags::UNIT_SUB, UnitFlags::UNIT), ["S"]);
}

#[test]
fn a_zone_keeps_its_own_groups_and_those_without_a_master() {
    let mut table = RouteTable::default();
    for (name, id, zone) in [("near", 0, "Z1"), ("far", 0, "z2"), ("orphan", 1, "z2")] {
        let mut new = registration(name, id, &format!("{name}:1"), 1, &["T", "U"]);
        new.zone_name = Some(zone.into());
        new.enable_acting_master = Some(true);
        accept(&mut table, new);
    }
    let mut route = table.route("T", Rules::default()).unwrap();
    keep_zone(&mut route, "z1");
    let names: Vec<_> = route
        .broker_datas
        .iter()
        .map(|data| data.broker_name.as_str())
        .collect();
    assert_eq!(names, ["near", "orphan"]);
    assert_eq!(route.queue_datas.len(), 2);
}

#[test]
fn names_that_cannot_be_names_are_refused_and_change_nothing() {
    let mut table = RouteTable::default();
    let long = "x".repeat(256);
    for bad in ["", " ", "a b", "a\nb", "\u{0}", long.as_str()] {
        for place in 0..4 {
            let mut new = registration("b", 0, "m:1", 1, &["T", "U"]);
            match place {
                0 => new.broker.cluster = bad.into(),
                1 => new.broker.address = bad.into(),
                2 => new.broker_name = bad.into(),
                _ => new = registration("b", 0, "m:1", 1, &["T", bad]),
            }
            let refused = table.register(new, RULES, at(0));
            assert!(matches!(refused, Err(RouteError::BadName { .. })), "{bad:?} at {place}");
        }
    }
    assert_eq!(table.cluster_info(), ClusterInfo::default());
}

/// What can happen, in any order: processes of a broker start (registering over a new connection), beat, say goodbye late,
/// register late, lose connections late. The claim: the latest process that registered and has neither said goodbye over its own
/// connection nor lost it is always found, and once everyone is gone nothing is left.
#[test]
fn no_order_of_events_wipes_a_fresh_registration() {
    let mut random = fastrand_like(7);
    let mut events = 0;
    for _run in 0..2_000 {
        let mut table = RouteTable::default();
        let mut next_source = 1;
        // For each of two brokers: the sources of its processes that still can say something; the owner comes last.
        let mut processes: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
        let mut owner: [Option<u64>; 2] = [None, None];
        for step in 0..60 {
            let which = usize::try_from(random(2)).unwrap();
            let address = ["a:1", "b:1"][which];
            let name = ["a", "b"][which];
            let now = at(step);
            events += 1;
            match random(7) {
                0 => {
                    let source = next_source;
                    next_source += 1;
                    table
                        .register(registration(name, 0, address, source, &["T", "U"]), RULES, now)
                        .unwrap();
                    processes[which].push(source);
                    owner[which] = Some(source);
                }
                1 => {
                    if let Some(source) = owner[which] {
                        table
                            .register(registration(name, 0, address, source, &["T", "U"]), RULES, now)
                            .unwrap();
                    }
                }
                2 => {
                    if let Some(source) = pick(&processes[which], &mut random) {
                        table.heartbeat(&broker(address), Source(source), now);
                        owner[which] = owner[which].map(|owner| owner.max(source));
                    }
                }
                3 => {
                    if let Some(source) = pick(&processes[which], &mut random) {
                        table.unregister(&broker(address), name, Source(source));
                        if owner[which] == Some(source) {
                            owner[which] = None;
                        }
                    }
                }
                4 => {
                    if let Some(source) = pick(&processes[which], &mut random) {
                        table.close(Source(source));
                        processes[which].retain(|process| *process != source);
                        if owner[which] == Some(source) {
                            owner[which] = None;
                        }
                    }
                }
                5 => {
                    if let Some(source) = pick(&processes[which], &mut random) {
                        table
                            .register(registration(name, 0, address, source, &["T", "U"]), RULES, now)
                            .unwrap();
                        owner[which] = owner[which].max(Some(source));
                    }
                }
                _ => drop(table.expire(now)),
            }
            for (which, name) in ["a", "b"].into_iter().enumerate() {
                let found = !addresses(&table, name).is_empty();
                assert_eq!(found, owner[which].is_some(), "{name} at step {step}");
            }
        }
        for source in 0..next_source {
            table.close(Source(source));
        }
        assert_eq!((table.broker_count(), table.all_topics().topic_list.len()), (0, 0));
    }
    assert_eq!(events, 120_000);
}

fn pick(from: &[u64], random: &mut impl FnMut(u64) -> u64) -> Option<u64> {
    let bound = u64::try_from(from.len()).unwrap();
    (bound > 0).then(|| from[usize::try_from(random(bound)).unwrap()])
}

fn fastrand_like(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % bound
    }
}
