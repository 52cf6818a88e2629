//! What a look before the start finds wrong, and what it lets through.

use super::*;
use crate::config::{Machine, Sources};
use protocol::body::route::{BrokerData, ClusterInfo};
use runtime::file::DiskSpace;
use runtime::probe::{IoPath, Refusal};

fn config(text: &str) -> BrokerConfig {
    let machine = Machine {
        cpus: 2,
        host_name: "host".to_owned(),
        home: PathBuf::from("/home/mq"),
        address: Some(IpAddr::from([192, 0, 2, 10])),
        namesrv_addr: None,
        rocketmq_home: None,
    };
    let file = Some((Path::new("b.conf"), text.as_bytes()));
    BrokerConfig::load(&Sources {
        file,
        options: &[],
        machine: &machine,
    })
    .unwrap()
    .0
}

fn good(config: &BrokerConfig) -> Facts {
    Facts {
        ports: vec![
            ("listenPort", config.listen_port, Ok(())),
            ("listenPort", config.vip_port(), Ok(())),
        ],
        directories: vec![(
            "storePathRootDir",
            config.store_path_root_dir.clone(),
            DirectoryState::Usable,
        )],
        commitlog_space: Some(DiskSpace {
            total: 1 << 40,
            available: 1 << 39,
        }),
        store_exists: false,
        shards: 1,
        advertised: Advertised::Own(IpAddr::from([192, 0, 2, 10]), Some("eth0".to_owned())),
        in_container: false,
        surroundings: Surroundings {
            io: Some(IoPath::Ring),
            open_files: 655_350,
            now_ms: 1_800_000_000_000,
            newest_change_ms: Some(1_800_000_030_000),
            name_servers: Vec::new(),
        },
    }
}

/// Tries one machine; gives severity and text of the only finding.
#[track_caller]
fn finds(text: &str, spoil: impl FnOnce(&mut Facts), severity: Severity, words: &[&str]) {
    let config = config(text);
    let mut facts = good(&config);
    spoil(&mut facts);
    let found = judge(&config, &facts);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].severity, severity, "{found:#?}");
    for word in words {
        assert!(
            found[0].text.contains(word),
            "{:?} does not say {word:?}",
            found[0].text
        );
    }
}

#[test]
fn a_good_machine_has_no_findings() {
    let config = config("");
    assert_eq!(judge(&config, &good(&config)), []);
}

#[test]
fn a_port_in_use_is_named_with_its_line() {
    let in_use = |place: usize| move |facts: &mut Facts| facts.ports[place].2 = Err(io::ErrorKind::AddrInUse.into());
    finds(
        "\nlistenPort=10921",
        in_use(0),
        Severity::Stop,
        &["listenPort=10921 in b.conf line 2 is in use", "fix: "],
    );
    finds(
        "",
        in_use(1),
        Severity::Stop,
        &["listenPort=10911 (the default)", "listenPort - 2 = 10909"],
    );
    let refused = |facts: &mut Facts| facts.ports[0].2 = Err(io::ErrorKind::PermissionDenied.into());
    finds("listenPort=80", refused, Severity::Stop, &["reserved"]);
    let elsewhere = |facts: &mut Facts| {
        for port in &mut facts.ports {
            port.2 = Err(io::ErrorKind::AddrNotAvailable.into());
        }
    };
    finds(
        "bindAddress=192.0.2.9",
        elsewhere,
        Severity::Stop,
        &["bindAddress=192.0.2.9 in b.conf line 1 is no address of this machine"],
    );
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let path = PathBuf::from("/data/a");
    let is = |state: DirectoryState| move |facts: &mut Facts| facts.directories[0].2 = state;
    finds(
        "storePathRootDir=/data/a",
        is(DirectoryState::NotADirectory(path.clone())),
        Severity::Stop,
        &["line 1", "/data/a is no directory"],
    );
    let refused = DirectoryState::Refused(path, io::ErrorKind::PermissionDenied.into());
    finds(
        "storePathRootDir=/data/a",
        is(refused),
        Severity::Stop,
        &["permission denied", "chown"],
    );
    finds(
        "storePathRootDir=/mnt/disk/mq/a",
        is(DirectoryState::Missing("/mnt".into())),
        Severity::Warning,
        &["below /mnt", "mounted"],
    );
    let config = config("storePathRootDir=/mnt/disk/mq/a");
    let mut facts = good(&config);
    facts.directories[0].2 = DirectoryState::Missing("/mnt/disk".into());
    assert_eq!(judge(&config, &facts), []);
}

#[test]
fn a_new_store_wants_room_for_two_segments_and_an_old_one_has_it() {
    let small = |facts: &mut Facts| {
        facts.commitlog_space = Some(DiskSpace {
            total: 4 << 30,
            available: 1 << 30,
        })
    };
    finds("", small, Severity::Stop, &["1073741824 bytes free", "2147483648"]);
    let config = config("");
    let mut facts = good(&config);
    small(&mut facts);
    facts.store_exists = true;
    assert_eq!(judge(&config, &facts), []);
    let full = |facts: &mut Facts| {
        facts.commitlog_space = Some(DiskSpace {
            total: 1 << 40,
            available: 1 << 35,
        })
    };
    finds(
        "",
        full,
        Severity::Warning,
        &["97% full", "diskSpaceWarningLevelRatio=90"],
    );
}

#[test]
fn an_address_that_clients_cannot_use_is_told() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let is = |advertised: Advertised| move |facts: &mut Facts| facts.advertised = advertised;
    finds(
        "brokerIP1=203.0.113.9",
        is(Advertised::Foreign(ip("203.0.113.9"))),
        Severity::Warning,
        &["brokerIP1=203.0.113.9 in b.conf line 1 is no address of this machine"],
    );
    finds(
        "brokerIP1=mq.example",
        is(Advertised::Foreign(ip("203.0.113.9"))),
        Severity::Warning,
        &["(203.0.113.9) is no address"],
    );
    finds(
        "brokerIP1=mq.example",
        is(Advertised::Unknown("no such name".to_owned())),
        Severity::Stop,
        &["not known here: no such name"],
    );
    finds(
        "brokerIP1=127.0.0.1",
        is(Advertised::Own(ip("127.0.0.1"), None)),
        Severity::Warning,
        &["this machine alone"],
    );
    finds(
        "brokerIP1=172.17.0.1",
        is(Advertised::Own(ip("172.17.0.1"), Some("docker0".to_owned()))),
        Severity::Warning,
        &["docker0, a bridge"],
    );
    let contained = |facts: &mut Facts| facts.in_container = true;
    finds("", contained, Severity::Warning, &["address of this container"]);
    let config = config("brokerIP1=192.0.2.10");
    let mut facts = good(&config);
    facts.in_container = true;
    assert_eq!(judge(&config, &facts), [], "who wrote it knows");
}

#[test]
fn a_kernel_that_refuses_what_was_asked_for_is_told_with_the_cause_and_its_fix() {
    let refused = |refusal: Refusal| move |facts: &mut Facts| facts.surroundings.io = Some(IoPath::Blocking(refusal));
    finds(
        "",
        refused(Refusal::Memlock(65_536)),
        Severity::Warning,
        &[
            "ioPath=auto (the default) means blocking threads here: RLIMIT_MEMLOCK of 65536 bytes",
            "fix: LimitMEMLOCK=infinity",
        ],
    );
    finds(
        "\nioPath=io_uring",
        refused(Refusal::Sysctl("2".to_owned())),
        Severity::Stop,
        &[
            "ioPath=io_uring in b.conf line 2 cannot be had",
            "fix: sysctl -w kernel.io_uring_disabled=0",
        ],
    );
    let few = |facts: &mut Facts| facts.surroundings.open_files = 1024;
    finds("", few, Severity::Warning, &["RLIMIT_NOFILE=1024", "fix: LimitNOFILE="]);
}

#[test]
fn a_clock_that_cannot_be_right_is_told() {
    let past = |facts: &mut Facts| {
        facts.surroundings.now_ms = 0;
        facts.surroundings.newest_change_ms = None;
    };
    finds(
        "",
        past,
        Severity::Warning,
        &["20454 days before 2026", "fix: set the clock"],
    );
    let set_back = |facts: &mut Facts| facts.surroundings.newest_change_ms = Some(1_800_003_600_000);
    finds(
        "storePathRootDir=/data/a",
        set_back,
        Severity::Warning,
        &[
            "storePathRootDir=/data/a in b.conf line 1 was changed 3600 s later",
            "fix: set the clock",
        ],
    );
}

/// What a name server says that knows one broker.
fn knows(name: &str, id: i64, address: &str) -> NameServerState {
    let mut group = BrokerData::default();
    group.broker_addrs.insert(id, address.to_owned());
    let mut known = ClusterInfo::default();
    known.broker_addr_table.insert(name.to_owned(), group);
    NameServerState::Knows(known)
}

#[test]
fn a_name_server_that_is_none_or_knows_another_one_is_told() {
    let says = |state: NameServerState| {
        move |facts: &mut Facts| facts.surroundings.name_servers = vec![("192.0.2.1:9876".to_owned(), state)]
    };
    let text = "brokerName=broker-a\nnamesrvAddr=192.0.2.1:9876";
    for (state, word) in [
        (
            NameServerState::Silent("connection refused".to_owned()),
            "does not answer (connection refused)",
        ),
        (
            NameServerState::Other("code 3".to_owned()),
            "not as a name server does (code 3)",
        ),
    ] {
        let words = ["namesrvAddr=192.0.2.1:9876 in b.conf line 2 has 192.0.2.1:9876", word];
        finds(text, says(state), Severity::Warning, &words);
    }
    finds(
        text,
        says(knows("broker-a", 0, "192.0.2.7:10911")),
        Severity::Warning,
        &[
            "brokerName=broker-a in b.conf line 1 with brokerId=0 is 192.0.2.7:10911",
            "this broker is 192.0.2.10:10911",
        ],
    );
    let slave = format!("{text}\nbrokerId=1\nbrokerRole=SLAVE");
    finds(
        &slave,
        says(knows("broker-b", 0, "192.0.2.7:10911")),
        Severity::Warning,
        &["has no master that a name server knows"],
    );
    for (text, state) in [
        (text, knows("broker-a", 0, "192.0.2.10:10911")),
        (&slave, knows("broker-a", 0, "192.0.2.7:1")),
    ] {
        let config = config(text);
        let mut facts = good(&config);
        says(state)(&mut facts);
        assert_eq!(judge(&config, &facts), []);
    }
}

#[test]
fn names_of_addresses_are_resolved_or_refused() {
    let mut named = config("brokerIP1=localhost\nbrokerIP2=192.0.2.9");
    let found = resolve_addresses(&mut named);
    assert_eq!(
        (named.broker_ip1.as_str(), named.broker_ip2.as_str()),
        ("127.0.0.1", "192.0.2.9")
    );
    assert_eq!(found.len(), 1);
    let found = resolve_addresses(&mut config("brokerIP1=no-such-host.invalid\nbrokerIP2=192.0.2.9"));
    assert!(
        found.iter().all(|finding| finding.severity == Severity::Stop) && found.len() == 1,
        "{found:?}"
    );
}

#[test]
fn this_machine_is_looked_at_quickly_and_a_listener_on_it_is_found() {
    let folder = std::env::temp_dir().join(format!("preflight-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = |port: u16| {
        format!(
            "brokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort={port}\nstorePathRootDir={}/store",
            folder.display()
        )
    };
    let io = runtime::probe::IoPath::Blocking(runtime::probe::Refusal::Configured);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The listener has the port two below listenPort.
    let config = config(&text(listener.local_addr().unwrap().port() + 2));
    let start = std::time::Instant::now();
    let found = runtime::core::run_here(&io, check(&config, Duration::ZERO)).unwrap();
    assert!(start.elapsed().as_millis() < 100, "took {:?}", start.elapsed());
    let stops: Vec<_> = found
        .iter()
        .filter(|finding| finding.severity == Severity::Stop)
        .collect();
    assert_eq!(stops.len(), 1, "{found:#?}");
    assert!(stops[0].text.contains("listenPort - 2"), "{stops:?}");
    assert!(!folder.join("store").exists(), "a look must not make anything");
    std::fs::remove_dir_all(&folder).unwrap();
}
