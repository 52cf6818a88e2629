//! Tests of the consumer groups: who comes and goes, who hears of it, what the replicas get.

use super::*;
use crate::replicas::Replicas;
use protocol::language::Language;
use protocol::model::java_hash;
use protocol::version::Version;

/// A group table with one group and the replica that follows it.
struct Broker {
    groups: ConsumerGroups<u32>,
    replicas: Replicas,
    now: Instant,
}

fn client(channel: u32, client_id: &str) -> Client<u32> {
    Client {
        channel,
        client_id: Arc::from(client_id),
        address: "127.0.0.1:4000".parse().unwrap(),
        language: Language::Go,
        version: Version(317),
    }
}

fn subscription(topic: &str, expression: &str, sub_version: i64) -> SubscriptionData {
    SubscriptionData {
        sub_version,
        ..SubscriptionData::of_tags(topic, expression).unwrap()
    }
}

fn data(group: &str, subscriptions: &[SubscriptionData]) -> ConsumerData {
    ConsumerData {
        group_name: group.to_owned(),
        subscription_data_set: subscriptions.to_vec(),
        ..ConsumerData::default()
    }
}

impl Broker {
    fn new() -> Broker {
        Broker {
            groups: ConsumerGroups::default(),
            replicas: Replicas::default(),
            now: Instant::now(),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn beat(&mut self, client: &Client<u32>, data: ConsumerData) -> Registered<u32> {
        self.send(Beat {
            client,
            data,
            fingerprint: 0,
            without_sub: false,
            notify: true,
        })
    }

    fn send(&mut self, beat: Beat<'_, u32>) -> Registered<u32> {
        let registered = self.groups.on_heartbeat(beat, self.now);
        registered
            .changes
            .updates
            .iter()
            .for_each(|update| self.replicas.apply(update.clone()));
        registered
    }

    fn apply(&mut self, changes: Changes<u32>) -> Vec<Notice<u32>> {
        changes
            .updates
            .into_iter()
            .for_each(|update| self.replicas.apply(update));
        changes.notices
    }

    fn unregister(&mut self, group: &str, channel: u32) -> Vec<Notice<u32>> {
        let changes = self.groups.unregister(group, channel);
        self.apply(changes)
    }

    fn close(&mut self, channel: u32) -> Vec<Notice<u32>> {
        let changes = self.groups.on_close(channel);
        self.apply(changes)
    }
}

fn notice(group: &str, channels: &[u32]) -> Vec<Notice<u32>> {
    vec![Notice {
        consumer_group: Arc::from(group),
        channels: channels.to_vec(),
    }]
}

#[test]
fn all_members_hear_of_a_new_one_and_of_nothing_else() {
    let mut broker = Broker::new();
    let subscribed = data("g", &[subscription("T", "*", 1)]);
    let first = broker.beat(&client(1, "a"), subscribed.clone());
    assert_eq!(first.changes.notices, notice("g", &[1]));
    let second = broker.beat(&client(2, "b"), subscribed.clone());
    assert_eq!(second.changes.notices, notice("g", &[1, 2]));
    let again = broker.beat(&client(2, "b"), subscribed);
    assert!(!again.changed && again.changes.notices.is_empty() && again.changes.updates.is_empty());
    assert_eq!(broker.groups.client_ids("g").unwrap(), ["a", "b"]);
}

#[test]
fn ids_are_sorted_and_each_stands_once() {
    let mut broker = Broker::new();
    for (channel, id) in [(1, "c"), (2, "a"), (3, "b"), (4, "a")] {
        broker.beat(&client(channel, id), data("g", &[]));
    }
    assert_eq!(broker.groups.client_ids("g").unwrap(), ["a", "b", "c"]);
    assert_eq!(broker.groups.client_ids("nobody"), None);
    assert_eq!(broker.groups.connection("g").unwrap().connection_set.len(), 4);
}

#[test]
fn a_client_that_reconnects_is_no_new_member_and_the_end_of_its_old_connection_no_loss() {
    let mut broker = Broker::new();
    broker.beat(&client(1, "a"), data("g", &[]));
    broker.beat(&client(2, "b"), data("g", &[]));
    broker.pass(1);
    assert!(broker.beat(&client(3, "a"), data("g", &[])).changes.notices.is_empty());
    assert_eq!(
        broker.groups.client("g", "a").unwrap().channel,
        3,
        "it is reached by the newer one"
    );
    assert!(broker.close(1).is_empty());
    assert_eq!(broker.groups.client_ids("g").unwrap(), ["a", "b"]);
    assert_eq!(broker.close(3), notice("g", &[2]));
    assert_eq!(broker.groups.client_ids("g").unwrap(), ["b"]);
}

#[test]
fn members_that_leave_by_unregistering_or_closing_are_missed_by_the_others() {
    let mut broker = Broker::new();
    for (channel, id) in [(1, "a"), (2, "b"), (3, "c")] {
        broker.beat(&client(channel, id), data("g", &[subscription("T", "*", 1)]));
    }
    assert_eq!(broker.unregister("g", 2), notice("g", &[1, 3]));
    assert!(broker.unregister("g", 2).is_empty() && broker.unregister("nobody", 1).is_empty());
    assert_eq!(broker.close(1), notice("g", &[3]));
    assert!(broker.replicas.subscriptions("g").is_some());
    assert!(broker.close(3).is_empty(), "nobody is left to hear of it");
    assert!(broker.replicas.subscriptions("g").is_none() && broker.groups.is_empty());
}

#[test]
fn a_heartbeat_that_was_overtaken_by_the_end_of_its_connection_makes_no_member() {
    let mut broker = Broker::new();
    broker.beat(&client(1, "a"), data("g", &[]));
    broker.close(2);
    let late = broker.beat(&client(2, "b"), data("g", &[]));
    assert!(!late.changed && late.changes.notices.is_empty() && late.changes.updates.is_empty());
    assert_eq!(broker.groups.client_ids("g").unwrap(), ["a"]);
    assert!(
        broker.beat(&client(3, "b"), data("g", &[])).changed,
        "it comes by another connection"
    );
}

#[test]
fn the_end_of_a_connection_takes_its_client_out_of_all_its_groups() {
    let mut broker = Broker::new();
    broker.beat(&client(1, "a"), data("g", &[]));
    broker.beat(&client(1, "a"), data("h", &[]));
    broker.beat(&client(2, "b"), data("h", &[]));
    assert_eq!(broker.close(1), notice("h", &[2]));
    assert!(!broker.groups.is_online("g") && broker.groups.is_online("h"));
}

#[test]
fn silent_members_expire_and_the_others_hear_of_it() {
    let mut broker = Broker::new();
    broker.beat(&client(1, "a"), data("g", &[]));
    broker.beat(&client(2, "b"), data("g", &[]));
    broker.pass(100);
    broker.beat(&client(2, "b"), data("g", &[]));
    broker.pass(20);
    let limit = Duration::from_secs(120);
    assert!(
        broker.groups.expire(broker.now, limit).1.is_empty(),
        "at 120 s it is still there"
    );
    broker.pass(1);
    let (changes, expired) = broker.groups.expire(broker.now, limit);
    assert_eq!(expired, [client(1, "a")]);
    assert_eq!(broker.apply(changes), notice("g", &[2]));
    assert!(broker.close(1).is_empty(), "it is gone already");
    broker.pass(200);
    let (changes, expired) = broker.groups.expire(broker.now, limit);
    assert_eq!((expired.len(), changes.updates.len(), broker.groups.len()), (1, 1, 0));
}

#[test]
fn nobody_is_told_in_broadcasting_groups_or_where_it_is_switched_off() {
    let mut broker = Broker::new();
    let broadcast = ConsumerData {
        message_model: MessageModel::Broadcasting,
        ..data("g", &[])
    };
    broker.beat(&client(1, "a"), broadcast.clone());
    assert!(broker.beat(&client(2, "b"), broadcast).changes.notices.is_empty());
    assert!(broker.close(2).is_empty());
    for member in [client(3, "a"), client(4, "b")] {
        let quiet = Beat {
            client: &member,
            data: data("q", &[]),
            fingerprint: 0,
            without_sub: false,
            notify: false,
        };
        let registered = broker.send(quiet);
        assert!(registered.changed && registered.changes.notices.is_empty());
    }
    assert!(broker.close(4).is_empty());
}

#[test]
fn a_change_of_topics_is_told_and_a_newer_expression_only_replicated() {
    let mut broker = Broker::new();
    let member = client(1, "a");
    broker.beat(&member, data("g", &[subscription("T", "A", 1)]));
    let newer = broker.beat(&member, data("g", &[subscription("T", "B", 2)]));
    assert_eq!((newer.changed, newer.changes.updates.len()), (false, 1));
    let passes = |broker: &Broker, tag| {
        broker.replicas.subscriptions("g").unwrap().topics["T"].passes(i64::from(java_hash(tag)))
    };
    assert!(passes(&broker, "B") && !passes(&broker, "A"));
    let older = broker.beat(&member, data("g", &[subscription("T", "A", 1)]));
    assert!(older.changes.updates.is_empty() && passes(&broker, "B"));
    let more = broker.beat(
        &member,
        data("g", &[subscription("T", "B", 2), subscription("U", "*", 2)]),
    );
    assert!(more.changed && more.changes.notices == notice("g", &[1]));
    let less = broker.beat(&member, data("g", &[subscription("U", "*", 2)]));
    assert!(less.changed && broker.groups.subscription("g", "T").is_none());
    assert!(!broker.replicas.subscriptions("g").unwrap().topics.contains_key("T"));
}

#[test]
fn replicas_get_all_kinds_of_subscriptions() {
    let mut broker = Broker::new();
    let sql = SubscriptionData {
        expression_type: subscription::SQL92.into(),
        sub_string: "a > 1".into(),
        topic: "Sql".into(),
        ..SubscriptionData::default()
    };
    let unhashed = SubscriptionData {
        code_set: BTreeSet::new(),
        ..subscription("Unhashed", "A || B", 1)
    };
    let class = SubscriptionData {
        class_filter_mode: true,
        ..subscription("Class", "A", 1)
    };
    broker.beat(
        &client(1, "a"),
        data("g", &[sql, unhashed, class, subscription("All", "*", 9)]),
    );
    let topics = &broker.replicas.subscriptions("g").unwrap().topics;
    assert!(!topics.contains_key("Sql"), "pulls by SQL are refused");
    let passes = |topic: &str, tag| topics[topic].passes(i64::from(java_hash(tag)));
    assert!(passes("Unhashed", "B") && !passes("Unhashed", "C"));
    assert!(passes("Class", "C") && passes("All", "C"));
    assert_eq!(topics["All"].version, 9);
}

#[test]
fn a_change_of_the_message_model_reaches_the_replicas() {
    let mut broker = Broker::new();
    let member = client(1, "a");
    broker.beat(&member, data("g", &[]));
    assert!(!broker.replicas.subscriptions("g").unwrap().broadcasting);
    broker.beat(
        &member,
        ConsumerData {
            message_model: MessageModel::Broadcasting,
            ..data("g", &[])
        },
    );
    assert!(broker.replicas.subscriptions("g").unwrap().broadcasting);
}

#[test]
fn version_one_is_always_asked_for_its_subscriptions() {
    let mut broker = Broker::new();
    for _ in 0..2 {
        assert!(broker.beat(&client(1, "a"), data("g", &[])).subscription_changed);
    }
}

#[test]
fn version_two_may_leave_subscriptions_out_while_the_fingerprint_stays() {
    let mut broker = Broker::new();
    let member = client(1, "a");
    let full = |fingerprint, expression| Beat {
        client: &member,
        data: data("g", &[subscription("T", expression, i64::from(fingerprint))]),
        fingerprint,
        without_sub: false,
        notify: true,
    };
    let short = |fingerprint| Beat {
        data: data("g", &[]),
        without_sub: true,
        ..full(fingerprint, "*")
    };
    assert!(
        !broker.send(full(5, "A")).subscription_changed,
        "the first one of a group has all there is"
    );
    assert!(!broker.send(short(5)).subscription_changed);
    assert_eq!(
        broker.groups.subscription("g", "T").unwrap().sub_string,
        "A",
        "what was left out stays"
    );
    assert!(broker.send(short(6)).subscription_changed);
    assert!(
        broker.send(full(7, "B")).subscription_changed,
        "as Apache's: the fingerprint is new"
    );
    assert!(!broker.send(short(7)).subscription_changed);
    assert_eq!(broker.groups.subscription("g", "T").unwrap().sub_string, "B");
}

#[test]
fn a_broker_that_has_forgotten_a_group_asks_for_its_subscriptions() {
    let mut broker = Broker::new();
    let member = client(1, "a");
    let short = || Beat {
        client: &member,
        data: data("g", &[]),
        fingerprint: 5,
        without_sub: true,
        notify: true,
    };
    assert!(broker.send(short()).subscription_changed);
    assert!(broker.send(short()).subscription_changed, "until they have come");
    broker.send(Beat {
        without_sub: false,
        ..short()
    });
    assert!(
        !broker.send(short()).subscription_changed,
        "a group may subscribe to nothing"
    );
}

#[test]
fn a_connection_that_changes_its_id_counts_as_the_newer_one() {
    let mut broker = Broker::new();
    broker.beat(&client(1, "a"), data("g", &[]));
    assert!(broker.beat(&client(1, "b"), data("g", &[])).changed);
    assert_eq!(broker.groups.client_ids("g").unwrap(), ["b"]);
}

#[test]
fn admins_see_the_group_as_its_members_have_it() {
    let mut broker = Broker::new();
    let mine = ConsumerData {
        consume_type: ConsumeType::Actively,
        consume_from_where: ConsumeFromWhere::Timestamp,
        ..data("g", &[subscription("T", "A", 3)])
    };
    broker.beat(&client(1, "a"), mine);
    let seen = broker.groups.connection("g").unwrap();
    assert_eq!(
        (seen.consume_type, seen.consume_from_where),
        (ConsumeType::Actively, ConsumeFromWhere::Timestamp)
    );
    assert_eq!(seen.subscription_table["T"].sub_version, 3);
    let connection = &seen.connection_set[0];
    assert_eq!(
        (connection.client_id.as_str(), connection.client_addr.as_str()),
        ("a", "127.0.0.1:4000")
    );
    assert_eq!((connection.language, connection.version), (Language::Go, 317));
    assert_eq!(
        broker.groups.subscribers("T").map(|group| &**group).collect::<Vec<_>>(),
        ["g"]
    );
    assert!(broker.groups.connection("nobody").is_none());
}

/// A reference that keeps nothing but (group, channel) -> id.
#[test]
fn after_any_run_of_events_members_and_index_agree_with_a_plain_list() {
    use proptest::prelude::*;
    proptest!(|(events in proptest::collection::vec((0..4u8, 0..3usize, 0..5u32, 0..3usize), 0..60))| {
        let mut broker = Broker::new();
        // A connection that has ended never comes again: its place is taken by one with another name.
        let mut names: Vec<u32> = (0..5).collect();
        let mut plain: BTreeMap<(usize, u32), (usize, u64)> = BTreeMap::new();
        let (groups, ids) = (["g", "h", "i"], ["a", "b", "c"]);
        for (at, (event, group, channel, id)) in (0u64..).zip(events) {
            broker.pass(10);
            let place = usize::try_from(channel).unwrap();
            let channel = names[place];
            match event {
                0 => {
                    broker.beat(&client(channel, ids[id]), data(groups[group], &[]));
                    plain.insert((group, channel), (id, at));
                }
                1 => {
                    broker.unregister(groups[group], channel);
                    plain.remove(&(group, channel));
                }
                2 => {
                    broker.close(channel);
                    names[place] += 5;
                    plain.retain(|&(_group, other), _member| other != channel);
                }
                _ => {
                    let (changes, _expired) = broker.groups.expire(broker.now, Duration::from_secs(120));
                    broker.apply(changes);
                    plain.retain(|_key, &mut (_id, seen)| (at - seen) * 10 <= 120);
                }
            }
            for (group, name) in groups.iter().enumerate() {
                let wanted: BTreeSet<&str> =
                    plain.iter().filter(|((of, _), _)| *of == group).map(|(_, (id, _))| ids[*id]).collect();
                let wanted: Vec<&str> = wanted.into_iter().collect();
                prop_assert_eq!(broker.groups.client_ids(name).unwrap_or_default(), wanted.clone());
                prop_assert_eq!(broker.replicas.subscriptions(name).is_some(), !wanted.is_empty());
            }
            let indexed: usize = broker.groups.by_channel.values().map(BTreeSet::len).sum();
            prop_assert_eq!(indexed, plain.len());
        }
    });
}
