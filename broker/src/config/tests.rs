//! The configuration table against RocketMQ's keys, its samples, and updates of a running broker.

use super::*;
use remoting::config_table::Origin;
use std::path::Path;

pub(crate) fn machine() -> Machine {
    Machine {
        cpus: 8,
        host_name: "mq-1.example".to_owned(),
        home: PathBuf::from("/home/mq"),
        address: Some("192.0.2.10".parse().unwrap()),
        namesrv_addr: None,
        rocketmq_home: None,
    }
}

fn load_on(machine: &Machine, text: &str) -> Result<(BrokerConfig, Vec<Finding>), Vec<Finding>> {
    BrokerConfig::load(&Sources {
        file: Some((Path::new("b.conf"), text.as_bytes())),
        options: &[],
        machine,
    })
}

pub(crate) fn load(text: &str) -> (BrokerConfig, Vec<Finding>) {
    match load_on(&machine(), text) {
        Ok(loaded) => loaded,
        Err(findings) => panic!("{text:?} does not load: {findings:#?}"),
    }
}

/// What stops the start.
fn stops(text: &str) -> Vec<String> {
    let findings = load_on(&machine(), text).expect_err(text);
    findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Stop)
        .map(|finding| finding.text)
        .collect()
}

#[track_caller]
fn stops_once(text: &str, words: &[&str]) {
    let found = stops(text);
    assert_eq!(found.len(), 1, "{text:?}: {found:#?}");
    for word in words {
        assert!(
            found[0].contains(word),
            "{text:?}: {:?} does not say {word:?}",
            found[0]
        );
    }
}

#[track_caller]
fn warns(text: &str, words: &[&str]) {
    let (_config, findings) = load(text);
    let warned = |finding: &Finding| {
        finding.severity == Severity::Warning && words.iter().all(|word| finding.text.contains(word))
    };
    assert!(
        findings.iter().any(warned),
        "{text:?}: no warning with {words:?} in {findings:#?}"
    );
}

#[test]
fn the_table_has_no_mistakes() {
    assert_eq!(table().mistakes(), Vec::<String>::new());
}

#[test]
fn every_key_of_rocketmq_5_5_is_in_the_table_with_its_default() {
    // Lines of class, key, type and default, printed by reflection over the classes of 5.5.0 on a machine of 2 CPUs.
    let apache = include_str!("testdata/rocketmq-5.5.0-keys.tsv");
    let differing = [
        ("listenPort", "the class has 6888 and 0, the start sets 10911"),
        ("haListenPort", "the class has 10912, the start sets listenPort + 1"),
        (
            "inSyncReplicas",
            "SYNC_MASTER waits for a slave unless the file says otherwise",
        ),
    ];
    let machine = Machine {
        cpus: 2,
        host_name: "vm".to_owned(),
        address: Some("192.0.2.2".parse().unwrap()),
        home: PathBuf::from("/root"),
        rocketmq_home: Some("/x".to_owned()),
        ..machine()
    };
    let (config, _notices) = BrokerConfig::load(&Sources {
        file: None,
        options: &[],
        machine: &machine,
    })
    .unwrap();
    let mut count = 0;
    for line in apache.lines() {
        let [_class, name, _kind, default, ..] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let default = if default == "null" { "" } else { default };
        assert!(table().find(name).is_some(), "{name} is missing");
        if !differing.iter().any(|(key, _why)| *key == name) {
            assert_eq!(config.settings.text(name), default, "{name}");
        }
        count += 1;
    }
    assert_eq!(count, 526);
}

#[test]
fn the_reference_page_is_what_the_table_says() {
    let page = include_str!("../../../docs/config.md");
    assert!(
        page == reference(),
        "docs/config.md is old; fix: cargo run --bin mqbroker -- --config-reference > docs/config.md"
    );
    for key in table().keys {
        assert!(
            page.contains(&format!("`{}`", key.name)) || page.contains(&format!("`{}=", key.name)),
            "{}",
            key.name
        );
    }
}

#[test]
fn the_reference_page_of_the_name_server_is_what_its_table_says() {
    let page = include_str!("../../../docs/namesrv-config.md");
    assert!(
        page == namesrv::config::TABLE.reference(),
        "docs/namesrv-config.md is old; fix: cargo run --bin mqnamesrv -- --config-reference > docs/namesrv-config.md"
    );
}

/// All source text of the broker but that of the configuration's own tables and tests.
fn source_text(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            source_text(&path, text);
        } else if !matches!(name.as_str(), "used_keys.rs" | "tests.rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_key_that_does_something_is_asked_for_by_somebody() {
    let mut text = String::new();
    source_text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let asked_for = |field: &str| {
        text.match_indices(&format!(".{field}")).any(|(at, found)| {
            let next = text[at + found.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    };
    for (key, field) in used_keys::FIELDS {
        assert!(
            asked_for(field),
            "{key} is in the table as used, and nothing reads BrokerConfig::{field}"
        );
    }
    assert!(!asked_for("listen_por"), "the search takes parts of names");
}

#[test]
fn every_key_that_does_something_is_read_into_its_field() {
    // The macro makes field and key from one line; what is left to go wrong is a kind that its field cannot hold.
    let mut settings = table().defaults();
    machine().set_defaults(&mut settings).unwrap();
    for key in used_keys::USED {
        use remoting::config_table::Kind;
        let values: Vec<String> = match key.kind {
            Kind::Bool => vec!["true".to_owned(), "false".to_owned()],
            Kind::Int { min, max } => vec![min.to_string(), max.to_string()],
            Kind::Choice(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            Kind::Float { .. } | Kind::Text | Kind::Path | Kind::Addresses => vec!["a:1".to_owned()],
        };
        for value in values {
            let mut settings = settings.clone();
            settings.set(key.name, &value, Origin::Update).unwrap();
            assert!(BrokerConfig::from_settings(settings).is_ok(), "{}={value}", key.name);
        }
    }
}

#[test]
fn a_value_that_does_not_parse_stops_the_start_with_file_and_line() {
    stops_once(
        "# c\nlistenPort=10921x\n",
        &["listenPort=10921x in b.conf line 2", "is not a number"],
    );
    stops_once(
        "autoCreateTopicEnable=yes",
        &["autoCreateTopicEnable=yes in b.conf line 1", "true or false"],
    );
    stops_once("flushDiskType=sync", &["flushDiskType=sync", "ASYNC_FLUSH, SYNC_FLUSH"]);
    stops_once("listenPort=70000", &["65535"]);
    stops_once(
        "brokerName=broker a",
        &["brokerName=broker a in b.conf line 1", "' '", "fix:"],
    );
    stops_once("brokerName=", &["brokerName"]);
    stops_once("brokerClusterName=a/b", &["'/'"]);
    stops_once("namesrvAddr=127.0.0.1,10.0.0.1:9876", &["namesrvAddr", "host:port"]);
    stops_once("namesrvAddr=300.0.0.1:9876", &["namesrvAddr", "host:port"]);
    stops_once("brokerIP1=10.0.0.256", &["brokerIP1", "neither an IP address"]);
    stops_once("brokerIP1=0.0.0.0", &["no address that a client could connect to"]);
    stops_once("bindAddress=localhost", &["bindAddress", "no IP address"]);
    stops_once("deleteWhen=4am", &["deleteWhen", "no hour"]);
    stops_once("messageDelayLevel=1s 5x", &["messageDelayLevel", "\"5x\""]);
    stops_once("messageDelayLevel=", &["has no level"]);
    stops_once("brokerPermission=9", &["brokerPermission"]);
}

#[test]
fn blanks_after_a_value_are_dropped() {
    let (config, _notices) = load("listenPort = 10921 \t\nbrokerName=broker-a   \n");
    assert_eq!((config.listen_port, config.broker_name.as_str()), (10_921, "broker-a"));
}

#[test]
fn an_unknown_key_stops_the_start_and_names_the_nearest() {
    for (written, meant) in [
        ("brokerIp1=10.0.0.1", "brokerIP1"),
        ("brokerip1=10.0.0.1", "brokerIP1"),
        ("listenport=1", "listenPort"),
        ("brokerRoll=SLAVE", "brokerRole"),
        ("flushDiskTyp=SYNC_FLUSH", "flushDiskType"),
        ("namesrvAdr=a:1", "namesrvAddr"),
        ("storePathRootdir=/x", "storePathRootDir"),
        ("autoCreateTopicEnabled=false", "autoCreateTopicEnable"),
    ] {
        stops_once(
            &format!("\n{written}"),
            &["b.conf line 2", &format!("did you mean {meant}?")],
        );
    }
    stops_once("somethingNobodyKnows=1", &["is not a key of mqbroker"]);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    assert_eq!(
        stops("listenPort=x\nnobody=1\ndeleteWhen=04\nenablePropertyFilter=maybe").len(),
        3
    );
}

#[test]
fn the_last_of_two_equal_keys_holds_and_both_lines_are_named() {
    let (config, findings) = load("listenPort=10921\nlistenPort=10931");
    assert_eq!(config.listen_port, 10_931);
    assert!(
        findings
            .iter()
            .any(|finding| finding.text.contains("line 2") && finding.text.contains("line 1"))
    );
}

#[test]
fn a_key_without_effect_is_accepted_with_what_holds_instead() {
    for (line, word) in [
        ("sendMessageThreadPoolNums=16", "no thread pools"),
        ("transientStorePoolEnable=true", "ioPath"),
        ("waitTimeMillsInSendQueue=500", "SYSTEM_BUSY"),
        ("useReentrantLockWhenPutMessage=true", "without locks"),
        ("storePathConsumeQueue=/data/cq", "storePathRootDir"),
        ("storePathIndex=/data/index", "storePathRootDir"),
        ("storeCheckpoint=/data/checkpoint", "storePathRootDir"),
        ("abortFile=/data/abort", "storePathRootDir"),
        ("mapedFileSizeCommitLog=1073741824", "mappedFileSizeCommitLog"),
        ("checkTransactionMessageEnable=false", "rejectTransactionMessage"),
        ("enablePropertyFilter=true", "SQL92"),
        ("metricsExporterType=PROM", "No metrics are exported"),
    ] {
        let (_config, findings) = load(&format!("namesrvAddr=a:1\n{line}"));
        assert_eq!(findings.len(), 1, "{line}: {findings:#?}");
        // Who sets what has no effect in RocketMQ either believes in something that is not so.
        let severity = match findings[0].text.contains("RocketMQ ignores it") {
            true => Severity::Warning,
            false => Severity::Notice,
        };
        assert_eq!(findings[0].severity, severity, "{line}");
        assert!(findings[0].text.contains("b.conf line 2"), "{findings:?}");
        assert!(findings[0].text.contains(word), "{findings:?}");
    }
    // Its value is checked all the same.
    stops_once("sendMessageThreadPoolNums=many", &["is not a number"]);
}

#[test]
fn a_feature_that_is_not_built_stops_the_start_and_its_default_does_not() {
    for line in [
        "aclEnable=true",
        "authenticationEnabled=true",
        "authorizationEnabled=TRUE",
        "useTLS=true",
        "enableControllerMode=true",
        "enableDLegerCommitLog=true",
        "allAckInSyncStateSet=true",
        "enableLmq=true",
        "messageStorePlugIn=org.apache.rocketmq.tieredstore.TieredMessageStore",
        "fetchNamesrvAddrByAddressServer=true",
        "tls.server.mode=enforcing",
    ] {
        stops_once(line, &[line, "b.conf line 1", "cannot be honoured"]);
    }
    let (_config, findings) =
        load("namesrvAddr=a:1\naclEnable = False\nallAckInSyncStateSet=false\nenableControllerMode=false");
    assert_eq!(findings, []);
}

#[test]
fn ids_and_roles_must_fit() {
    stops_once("brokerId=1", &["brokerId=1", "brokerRole=ASYNC_MASTER"]);
    stops_once("brokerId=-1", &["brokerId=-1"]);
    stops_once("brokerId=-2", &["brokerId=-2"]);
    assert_eq!(
        load("brokerId=0\nbrokerRole=SYNC_MASTER").0.broker_role,
        BrokerRole::SyncMaster
    );
}

#[test]
fn ports_leave_room_for_their_neighbours() {
    stops_once("listenPort=2", &["two below"]);
    stops_once("listenPort=65535", &["haListenPort"]);
    stops_once(
        "listenPort=10911\nhaListenPort=10909",
        &["haListenPort=10909 in b.conf line 2", "fix: set haListenPort=10912"],
    );
    stops_once("haListenPort=10911", &["haListenPort=10911"]);
    let (config, _notices) = load("listenPort=20911");
    assert_eq!((config.vip_port(), config.ha_listen_port), (20_909, 20_912));
    assert_eq!(load("haListenPort=4000").0.ha_server_address(), "192.0.2.10:4000");
}

#[test]
fn paths_must_be_one_directory_each_and_not_inside_each_other() {
    let root = "storePathRootDir=/data/a\n";
    stops_once(
        &format!("{root}storePathCommitLog=/data/a/../a/"),
        &["line 2", "the same directory"],
    );
    stops_once(
        &format!("{root}storePathCommitLog=/data"),
        &["storePathRootDir=/data/a inside"],
    );
    stops_once(&format!("{root}storePathCommitLog=/data/a/shard-00"), &["other files"]);
    stops_once(&format!("{root}storePathCommitLog=/data/a/config/x"), &["other files"]);
    stops_once(
        &format!("{root}storePathCommitLog=/d1/log,/d2/log"),
        &["several directories"],
    );
    stops_once("storePathRootDir=", &["names no directory"]);
    let (config, _notices) = load(&format!("{root}storePathCommitLog=/data/a/commitlog"));
    assert_eq!(config.commitlog_directory(), None);
    let (config, _notices) = load(&format!("{root}storePathCommitLog=/fast/a"));
    assert_eq!(config.commitlog_directory(), Some(PathBuf::from("/fast/a")));
}

#[test]
fn sizes_and_ratios_that_do_not_fit_are_told() {
    stops_once("mappedFileSizeCommitLog=2097152", &["maxMessageSize=4194304", "fix:"]);
    load("mappedFileSizeCommitLog=2097152\nmaxMessageSize=65536");
    warns("maxMessageSize=67108864", &["maxMessageSize", "16777216"]);
    warns(
        "diskMaxUsedSpaceRatio=88",
        &["diskMaxUsedSpaceRatio=88", "diskSpaceCleanForciblyRatio=85"],
    );
    warns("diskSpaceCleanForciblyRatio=95", &["diskSpaceWarningLevelRatio=90"]);
    warns("", &["namesrvAddr", "no name server"]);
    warns("namesrvAddr=a:1;b:2;a:1", &["twice"]);
}

#[test]
fn the_command_line_beats_the_file_and_the_file_beats_the_environment() {
    let machine = Machine {
        namesrv_addr: Some("env:1".to_owned()),
        ..machine()
    };
    let load = |file: &str, options: &[(&'static str, &'static str, &str)]| {
        let file = Some((Path::new("b.conf"), file.as_bytes()));
        BrokerConfig::load(&Sources {
            file,
            options,
            machine: &machine,
        })
        .unwrap()
        .0
        .name_servers()
    };
    assert_eq!(load("", &[]), ["env:1"]);
    assert_eq!(load("namesrvAddr=file:1;file:2", &[]), ["file:1", "file:2"]);
    assert_eq!(
        load("namesrvAddr=file:1", &[("-n", "namesrvAddr", "line:1")]),
        ["line:1"]
    );

    let machine = Machine {
        namesrv_addr: Some("env".to_owned()),
        ..machine.clone()
    };
    let findings = BrokerConfig::load(&Sources {
        file: None,
        options: &[],
        machine: &machine,
    })
    .unwrap_err();
    assert!(
        findings[0].text.contains("environment variable NAMESRV_ADDR"),
        "{findings:?}"
    );
}

#[test]
fn defaults_follow_from_the_machine_and_from_other_keys() {
    let (config, _notices) = load("");
    assert_eq!(config.broker_name, "mq-1_example");
    assert_eq!(config.broker_address(), "192.0.2.10:10911");
    assert_eq!(config.store_path_root_dir, Path::new("/home/mq/store"));
    assert_eq!(config.settings.text("pullMessageThreadPoolNums"), "32");
    assert_eq!(config.delay_levels_ms().len(), 18);
    assert_eq!(config.delete_hours(), [4]);
    assert_eq!(config.broker_config_path.as_deref(), Some(Path::new("b.conf")));
    assert_eq!(load("brokerIP1=10.1.2.3").0.broker_ip2, "10.1.2.3");
    assert_eq!(load("brokerIP1=2001:db8::1").0.broker_address(), "[2001:db8::1]:10911");
}

#[test]
fn what_is_in_effect_is_shown_in_rocketmqs_form() {
    let (config, _notices) = load("brokerName=broker-a\nstorePathIndex=/x\nautoCreateTopicEnable=FALSE");
    let text = config.effective_text();
    for line in [
        "brokerName=broker-a",
        "listenPort=10911",
        "haListenPort=10912",
        "autoCreateTopicEnable=false",
        "flushDiskType=ASYNC_FLUSH",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}");
    }
    assert!(!text.contains("storePathIndex"));
    let important = config.important_text();
    assert!(important.lines().any(|line| line == "brokerName=broker-a"));
    assert!(important.lines().count() < 30, "{important}");
}

#[test]
fn a_secret_is_not_shown() {
    let (config, _notices) = load("namesrvAddr=a:1\ninitAuthenticationUser={\"username\":\"u\",\"password\":\"hush\"}");
    assert!(!config.effective_text().contains("hush"));
}

#[test]
fn control_characters_of_a_value_do_not_reach_the_log() {
    let found = stops("listenPort=1\\u001b[31m\\n2");
    assert!(found[0].chars().all(|c| !c.is_control()), "{found:?}");
}

#[test]
fn a_file_in_latin_1_is_read() {
    let machine = machine();
    let file = Some((Path::new("b.conf"), &b"# caf\xe9\nbrokerName=broker-a\n"[..]));
    let (config, _notices) = BrokerConfig::load(&Sources {
        file,
        options: &[],
        machine: &machine,
    })
    .unwrap();
    assert_eq!(config.broker_name, "broker-a");
}

mod updates {
    use super::*;

    #[test]
    fn a_key_of_the_allow_list_changes_and_is_written_back_where_it_stood() {
        let file = "# my broker\nmaxMessageSize = 65536\n\n# and more\nlistenPort=10911\n";
        let (config, _notices) = load(file);
        let updated = config.update("maxMessageSize=1024\nbrokerPermission=4\n").unwrap();
        assert_eq!(
            (updated.config.max_message_size, updated.config.broker_permission),
            (1024, 4)
        );
        assert_eq!(
            config.max_message_size, 65_536,
            "the running configuration is not touched"
        );
        let written = updated.write_back(file).unwrap();
        assert_eq!(
            written,
            "# my broker\nmaxMessageSize=1024\n\n# and more\nlistenPort=10911\nbrokerPermission=4\n"
        );
        assert_eq!(load(&written).0.max_message_size, 1024);
    }

    #[test]
    fn what_needs_a_restart_or_is_unknown_or_unfit_changes_nothing() {
        let (config, _notices) = load("");
        for (text, word) in [
            ("listenPort=10921", "cannot be changed while mqbroker runs"),
            ("storePathRootDir=/etc", "cannot be changed"),
            ("brokerConfigPath=/etc/passwd", "cannot be changed"),
            ("configBlackList=x", "cannot be changed"),
            ("rocketmqHome=/x;curl", "cannot be changed"),
            ("brokerName=b", "cannot be changed"),
            ("nobody=1", "is not a key"),
            ("fileReservedTime=long", "is not a number"),
            ("flushIntervalCommitLog=24", "cannot be changed"),
            ("brokerPermission=4\nlistenPort=10921", "cannot be changed"),
            ("aclEnable=true", "cannot be honoured"),
            ("namesrvAddr=x", "host:port"),
            ("regionId=x\nmaxMessageSize=0", "whole number"),
        ] {
            let error = config.update(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn the_black_list_protects_more_keys() {
        let (config, _notices) = load("configBlackList=configBlackList;brokerConfigPath; brokerPermission");
        assert!(matches!(
            config.update("brokerPermission=4"),
            Err(UpdateError::Protected {
                key: "brokerPermission"
            })
        ));
        assert!(config.update("maxMessageSize=1024").is_ok());
    }

    #[test]
    fn a_whole_configuration_can_be_sent_back_edited() {
        let (config, _notices) = load("");
        let edited = config.effective_text().replace("traceOn=true", "traceOn=false");
        let updated = config.update(&edited).unwrap();
        assert_eq!(updated.changes, [("traceOn", "false".to_owned())]);
    }

    #[test]
    fn a_key_without_effect_may_be_set_and_says_so() {
        let (config, _notices) = load("");
        let updated = config.update("sendMessageThreadPoolNums=64").unwrap();
        assert_eq!(updated.notices.len(), 1);
        assert_eq!(updated.config.settings.text("sendMessageThreadPoolNums"), "64");
    }
}

mod samples {
    //! The keys, values and formats of the files in RocketMQ's distribution/conf.
    use super::*;

    fn plain(name: &str, id: u32, role: &str) -> String {
        format!(
            "brokerClusterName=DefaultCluster\nbrokerName={name}\nbrokerId={id}\ndeleteWhen=04\nfileReservedTime=48\nbrokerRole={role}\nflushDiskType=ASYNC_FLUSH\n"
        )
    }

    #[test]
    fn broker_conf_loads() {
        let (config, findings) = load(include_str!("testdata/broker.conf"));
        assert_eq!(config.file_reserved_time_hours, 48);
        assert_eq!(config.broker_name, "broker-a");
        assert!(
            findings.iter().all(|finding| finding.text.contains("namesrvAddr")),
            "{findings:#?}"
        );
    }

    #[test]
    fn masters_of_the_two_master_samples_load() {
        for name in ["broker-a", "broker-b", "broker-trace"] {
            assert_eq!(load(&plain(name, 0, "ASYNC_MASTER")).0.broker_name, name);
        }
        for role in ["ASYNC_MASTER", "SYNC_MASTER"] {
            let (config, _findings) = load(&plain("broker-a", 0, role));
            assert_eq!(config.flush_disk_type, FlushDiskType::AsyncFlush);
        }
    }

    #[test]
    fn their_slaves_load() {
        let (config, _findings) = load(&plain("broker-a", 1, "SLAVE"));
        assert_eq!((config.broker_role, config.broker_id), (BrokerRole::Slave, 1));
        stops_once(
            &plain("broker-a", 0, "SLAVE"),
            &["brokerId=0 in b.conf line", "is a master's"],
        );
    }

    #[test]
    fn a_broker_that_apache_puts_into_a_container_runs_on_its_own() {
        let (config, _findings) = load(include_str!("testdata/broker-a-in-container1.conf"));
        let rule = crate::settings::Settings::new(config).unwrap().slave_rule.unwrap();
        assert_eq!((rule.copies, rule.copies_min, rule.refuses), (2, Some(1), true));
    }

    #[test]
    fn a_synchronous_master_waits_for_one_slave_unless_its_file_says_otherwise() {
        let copies = |text: &str| {
            let settings = crate::settings::Settings::new(load(text).0).unwrap();
            settings.slave_rule.map(|rule| rule.slaves(0))
        };
        assert_eq!(copies(&plain("broker-a", 0, "ASYNC_MASTER")), None);
        assert_eq!(copies(&plain("broker-a", 0, "SYNC_MASTER")), Some(Some(1)));
        assert_eq!(copies("brokerRole=SYNC_MASTER\ninSyncReplicas=1"), Some(Some(0)));
        assert_eq!(copies("brokerRole=SYNC_MASTER\ninSyncReplicas=3"), Some(Some(2)));
        let (_config, findings) = load("namesrvAddr=a:1\ninSyncReplicas=2");
        assert!(
            findings.iter().any(|finding| finding.text.contains("inSyncReplicas=2")),
            "{findings:?}"
        );
        stops_once(
            "brokerRole=SYNC_MASTER\nminInSyncReplicas=3",
            &["minInSyncReplicas=3", "above inSyncReplicas"],
        );
    }

    #[test]
    fn dledger_controller_and_container_stop_with_one_line() {
        stops_once(
            include_str!("testdata/dledger-broker-n0.conf"),
            &[
                "enableDLegerCommitLog=true in b.conf line",
                "cannot be honoured: DLedger groups are not built yet",
            ],
        );
        stops_once(
            include_str!("testdata/controller-broker-n0.conf"),
            &[
                "enableControllerMode=true in b.conf line",
                "cannot be honoured: controller mode is not built yet",
                "allAckInSyncStateSet=true",
            ],
        );
        stops_once(
            include_str!("testdata/broker-container1.conf"),
            &["brokerConfigPaths=", "start one process for each"],
        );
    }
}
