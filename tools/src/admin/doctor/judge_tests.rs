use super::super::Severity;
use super::super::look::{NameServer, Said};
use super::*;
use crate::admin::error::Error;
use protocol::body::group::{Connection, ConsumerConnection};
use protocol::body::route::{BrokerData, ClusterInfo};
use protocol::body::topic::TopicConfig;

const LIMITS: Limits = Limits {
    lag: 100,
    slave_lag: 1_000,
    disk: 80,
    clock: 2_000,
};

fn broker(name: &str, id: i64, figures: &[(&str, &str)]) -> Broker {
    let figures = figures
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Broker {
        cluster: "C".to_owned(),
        name: name.to_owned(),
        id,
        address: format!("{name}:{id}"),
        said: Ok(Said {
            figures: figures.collect(),
            ..Said::default()
        }),
        asked_ms: 100_000,
    }
}

fn said(broker: &mut Broker) -> &mut Said {
    broker.said.as_mut().ok().unwrap()
}

fn found(brokers: Vec<Broker>) -> Vec<(Severity, String, String)> {
    let seen = Seen {
        name_servers: Vec::new(),
        brokers,
    };
    let findings = judge(&seen, &LIMITS).into_iter();
    findings
        .map(|finding| (finding.severity, finding.about, finding.cause))
        .collect()
}

fn only(brokers: Vec<Broker>, about: &str, cause: &str) {
    let findings = found(brokers);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].1.contains(about) && findings[0].2.contains(cause),
        "{findings:?}"
    );
}

#[test]
fn a_healthy_cluster_has_no_findings() {
    let figures = [
        ("brokerActive", "true"),
        ("commitLogDiskRatio", "0.42"),
        ("commitLogMaxOffset", "5000"),
    ];
    let mut master = broker("a", 0, &figures);
    said(&mut master)
        .config
        .insert("brokerPermission".to_owned(), "6".to_owned());
    assert_eq!(found(vec![master, broker("a", 1, &figures)]), []);
}

#[test]
fn each_trouble_of_a_broker_is_found() {
    only(
        vec![broker("a", 0, &[("commitLogDiskRatio", "0.81")])],
        "a master",
        "81% full",
    );
    only(
        vec![broker("a", 0, &[("shard1Fenced", "EIO")])],
        "a master",
        "takes no messages",
    );
    only(vec![broker("a", 0, &[("lostMessages", "3")])], "a master", "3 messages");
    only(vec![broker("a", 1, &[])], "broker group a", "no master");
    let mut readable = broker("a", 0, &[]);
    said(&mut readable)
        .config
        .insert("brokerPermission".to_owned(), "4".to_owned());
    only(vec![readable], "a master", "cannot be written");
    let mut silent = broker("a", 0, &[]);
    silent.said = Err(Error::other("nobody answers", "x"));
    only(vec![silent], "a:0", "nobody answers");
}

#[test]
fn clocks_are_compared_by_what_brokers_tell_of_their_age() {
    let of = |boot| {
        broker(
            "a",
            0,
            &[
                ("bootTimestamp", boot),
                ("runtime", "[ 0 days, 0 hours, 1 minutes, 10 seconds ]"),
            ],
        )
    };
    assert_eq!(found(vec![of("29500")]), []);
    only(vec![of("35000")], "a master", "5500 ms ahead of");
    only(vec![of("20000")], "a master", "9500 ms behind");
}

#[test]
fn a_slave_is_compared_shard_by_shard() {
    let ends = |zero, one| [("shard0CommitLogMaxOffset", zero), ("shard1CommitLogMaxOffset", one)];
    let master = || broker("a", 0, &ends("5000", "7000"));
    assert_eq!(found(vec![master(), broker("a", 1, &ends("4500", "6800"))]), []);
    only(
        vec![master(), broker("a", 1, &ends("6000", "1000"))],
        "a slave 1",
        "6000 bytes behind",
    );
}

#[test]
fn a_topic_that_a_master_lacks_and_groups_in_trouble_are_found() {
    let (mut one, mut two) = (broker("a", 0, &[]), broker("b", 0, &[]));
    for topic in ["Orders", "%RETRY%g", "a"] {
        said(&mut one).topics.insert(topic.to_owned(), TopicConfig::default());
    }
    only(vec![one, two], "topic Orders", "no queues on b");

    two = broker("b", 0, &[]);
    let group = |lag| Group {
        lag,
        topics: ["T".to_owned()].into(),
        ..Group::default()
    };
    said(&mut two).groups.insert("alone".to_owned(), group(7));
    only(
        vec![two],
        "consumer group alone",
        "7 messages behind (T) and has no consumer",
    );

    two = broker("b", 0, &[]);
    let connection = ConsumerConnection {
        connection_set: vec![Connection::default()],
        ..ConsumerConnection::default()
    };
    let online = Group {
        connection: Some(connection),
        ..group(101)
    };
    said(&mut two).groups.insert("slow".to_owned(), online.clone());
    only(vec![two], "consumer group slow", "101 messages behind");

    two = broker("b", 0, &[]);
    let wants = |tag: &str| [("T".to_owned(), tag.to_owned())].into();
    let torn = Group {
        lag: 0,
        subscriptions: [("x".to_owned(), wants("A")), ("y".to_owned(), wants("B"))].into(),
        ..online
    };
    said(&mut two).groups.insert("torn".to_owned(), torn);
    only(vec![two], "consumer group torn", "x, y");
}

#[test]
fn name_servers_that_disagree_or_are_away_are_found() {
    let server = |address: &str, brokers: &[&str]| {
        let data = |name: &&str| BrokerData {
            broker_addrs: [(0, format!("{name}:1"))].into(),
            ..BrokerData::default()
        };
        let table = brokers.iter().map(|name| ((*name).to_owned(), data(name))).collect();
        let info = ClusterInfo {
            broker_addr_table: table,
            ..ClusterInfo::default()
        };
        NameServer {
            address: address.to_owned(),
            said: Ok((info, BTreeSet::new())),
        }
    };
    let away = NameServer {
        address: "n3".to_owned(),
        said: Err(Error::other("refused", "x")),
    };
    let name_servers = vec![server("n1", &["a", "b"]), server("n2", &["a"]), away, server("n4", &[])];
    let findings = judge(
        &Seen {
            name_servers,
            brokers: Vec::new(),
        },
        &LIMITS,
    );
    let causes: Vec<_> = findings
        .iter()
        .map(|finding| (finding.about.as_str(), finding.cause.as_str()))
        .collect();
    assert_eq!(causes.len(), 3, "{causes:?}");
    assert!(causes[0].0.contains("n2") && causes[0].1.contains("b:1"), "{causes:?}");
    assert!(
        causes[1].1.contains("refused") && causes[2].1.contains("no broker is registered"),
        "{causes:?}"
    );
}
