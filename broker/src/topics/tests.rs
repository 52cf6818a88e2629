//! Tests of the topics: how they come, change and go.

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn settings() -> TopicSettings {
    TopicSettings {
        broker_name: "broker-a".into(),
        cluster_name: "DefaultCluster".into(),
        auto_create: true,
        default_queues: 8,
        cluster_topic: true,
        broker_topic: true,
        trace_topic: None,
        revive_queues: 8,
        timer_wheel: true,
        protect_system_topics: true,
        mixed_messages: false,
    }
}

fn topics() -> Topics {
    Topics::new(settings(), NOW)
}

fn send(topic: &str) -> SendHint<'_> {
    SendHint {
        topic,
        default_topic: "TBW102",
        queues: 4,
        unit_mode: false,
    }
}

fn wanted(topic: &str, queues: i32, edits: &str) -> TopicConfig {
    TopicConfig {
        attributes: attributes::parse_edits(edits).unwrap(),
        ..config(topic.to_owned(), queues, 6)
    }
}

fn made(needed: Needed) -> TopicChange {
    match needed {
        Needed::Made(change) => change,
        Needed::There(config) => panic!("{} was there already", config.topic_name),
    }
}

#[test]
fn the_predefined_topics_are_apaches() {
    let shape = |topic: &str| {
        let topics = topics();
        let config = topics.get(topic).unwrap_or_else(|| panic!("{topic} is missing"));
        assert!(topics.is_system(topic), "{topic}");
        (config.read_queue_nums, config.write_queue_nums, config.perm)
    };
    assert_eq!(shape("TBW102"), (8, 8, 7));
    assert_eq!(shape("SELF_TEST_TOPIC"), (1, 1, 6));
    assert_eq!(shape("BenchmarkTest"), (1024, 1024, 6));
    assert_eq!(shape("DefaultCluster"), (16, 16, 7));
    assert_eq!(shape("broker-a"), (1, 1, 7));
    assert_eq!(shape("OFFSET_MOVED_EVENT"), (1, 1, 6));
    assert_eq!(shape("SCHEDULE_TOPIC_XXXX"), (18, 18, 6));
    assert_eq!(shape("DefaultCluster_REPLY_TOPIC"), (1, 1, 6));
    assert_eq!(shape("rmq_sys_REVIVE_LOG_DefaultCluster"), (8, 8, 6));
    assert_eq!(shape("rmq_sys_SYNC_BROKER_MEMBER_broker-a"), (1, 1, 1));
    assert_eq!(shape("RMQ_SYS_TRANS_HALF_TOPIC"), (1, 1, 6));
    assert_eq!(shape("RMQ_SYS_TRANS_OP_HALF_TOPIC"), (1, 1, 6));
    assert_eq!(shape("rmq_sys_wheel_timer"), (1, 1, 6));
    assert_eq!(topics().len(), 13);
}

#[test]
fn predefined_topics_follow_the_configuration() {
    let topics = Topics::new(
        TopicSettings {
            auto_create: false,
            cluster_topic: false,
            timer_wheel: false,
            trace_topic: Some("traces".into()),
            ..settings()
        },
        NOW,
    );
    assert!(topics.get("TBW102").is_none() && topics.get("rmq_sys_wheel_timer").is_none());
    assert_eq!(topics.get("DefaultCluster").unwrap().perm, 1);
    assert!(topics.is_system("traces"));
    assert_eq!(topics.version().counter, 0, "predefined topics are no changes");
}

#[test]
fn a_send_makes_its_topic_from_the_template() {
    let mut topics = topics();
    let change = made(topics.for_send(send("T"), NOW + 1).unwrap());
    let config = &change.config;
    assert_eq!(
        (config.read_queue_nums, config.write_queue_nums, config.perm),
        (4, 4, 6)
    );
    assert_eq!(
        change.version,
        DataVersion {
            counter: 1,
            state_version: 0,
            timestamp: NOW + 1
        }
    );
    let again = topics.for_send(send("T"), NOW + 2).unwrap();
    assert_eq!((again.change(), again.config()), (None, config));
    assert_eq!(topics.version(), change.version);
    let many = made(
        topics
            .for_send(
                SendHint {
                    queues: 100,
                    ..send("U")
                },
                NOW,
            )
            .unwrap(),
    );
    assert_eq!(many.config.write_queue_nums, 8, "not more than the template has");
    let none = made(
        topics
            .for_send(
                SendHint {
                    queues: -3,
                    ..send("V")
                },
                NOW,
            )
            .unwrap(),
    );
    assert_eq!(
        none.config.write_queue_nums, 1,
        "a topic without queues would be of no use"
    );
}

#[test]
fn without_a_template_a_send_makes_no_topic() {
    let mut topics = Topics::new(
        TopicSettings {
            auto_create: false,
            ..settings()
        },
        NOW,
    );
    let refused = |topics: &mut Topics, default_topic| {
        matches!(
            topics.for_send(
                SendHint {
                    default_topic,
                    ..send("T")
                },
                NOW
            ),
            Err(Error::TopicNotExist(_))
        )
    };
    assert!(refused(&mut topics, "TBW102"));
    assert!(refused(&mut topics, "nonsense"));
    assert!(refused(&mut topics, "BenchmarkTest"), "it does not let others inherit");
    // A store that once ran with autoCreateTopicEnable has the template still.
    topics.apply(TopicChange {
        version: topics.version(),
        config: config("TBW102".into(), 8, 7).into(),
    });
    assert!(refused(&mut topics, "TBW102"));
    assert!(
        topics
            .for_send(
                SendHint {
                    default_topic: "DefaultCluster",
                    ..send("T")
                },
                NOW
            )
            .is_ok()
    );
}

#[test]
fn a_send_to_a_retry_topic_makes_it_without_a_template() {
    let mut topics = Topics::new(
        TopicSettings {
            auto_create: false,
            ..settings()
        },
        NOW,
    );
    let change = made(topics.for_send(send("%RETRY%g"), NOW).unwrap());
    assert_eq!(
        (
            change.config.write_queue_nums,
            change.config.perm,
            change.config.topic_sys_flag
        ),
        (1, 6, 0)
    );
    let unit = SendHint {
        unit_mode: true,
        ..send("%RETRY%h")
    };
    assert_eq!(
        made(topics.for_send(unit, NOW).unwrap()).config.topic_sys_flag,
        topic_flag::UNIT_SUB
    );
}

#[test]
fn a_bad_name_makes_no_topic() {
    let mut topics = topics();
    for name in ["", "a b", "ä", &"x".repeat(128)] {
        assert!(
            matches!(topics.for_send(send(name), NOW), Err(Error::Name(_))),
            "{name}"
        );
        assert!(
            matches!(topics.update(wanted(name, 4, ""), NOW), Err(Error::Name(_))),
            "{name}"
        );
    }
    assert_eq!(topics.version().counter, 0);
}

#[test]
fn a_groups_topic_is_made_once_and_becomes_an_order_topic_for_good() {
    let mut topics = topics();
    let retry = GroupTopic {
        topic: "%RETRY%g",
        queues: 2,
        perm: 6,
        order: false,
        sys_flag: 0,
    };
    assert_eq!(made(topics.for_group(retry, NOW).unwrap()).config.read_queue_nums, 2);
    assert!(
        topics
            .for_group(GroupTopic { queues: 9, ..retry }, NOW)
            .unwrap()
            .change()
            .is_none()
    );
    let ordered = made(topics.for_group(GroupTopic { order: true, ..retry }, NOW).unwrap());
    assert!(ordered.config.order && topics.is_order("%RETRY%g"));
    assert_eq!(ordered.config.read_queue_nums, 2);
    assert!(topics.for_group(retry, NOW).unwrap().change().is_none());
    assert!(topics.is_order("%RETRY%g"));
    assert_eq!(topics.version().counter, 2);
}

#[test]
fn an_admin_makes_and_changes_topics_and_the_same_again_is_no_change() {
    let mut topics = topics();
    let first = topics
        .update(wanted("T", 4, "+message.type=FIFO"), NOW)
        .unwrap()
        .unwrap();
    assert_eq!(first.config.attributes["message.type"], "FIFO");
    assert_eq!(topics.update(wanted("T", 4, ""), NOW).unwrap(), None);
    assert_eq!(topics.update(wanted("T", 4, "+message.type=FIFO"), NOW).unwrap(), None);
    let more = topics.update(wanted("T", 8, ""), NOW).unwrap().unwrap();
    assert_eq!((more.config.write_queue_nums, more.config.attributes.len()), (8, 1));
    let less = topics.update(wanted("T", 8, "-message.type"), NOW).unwrap().unwrap();
    assert!(less.config.attributes.is_empty());
    assert_eq!(topics.version().counter, 3);
}

#[test]
fn what_an_admin_may_not_do_is_refused() {
    let mut topics = topics();
    for bad in [
        wanted("TBW102", 4, ""),
        wanted("DefaultCluster_REPLY_TOPIC", 4, ""),
        wanted("rmq_sys_anything", 4, ""),
        wanted("T", -1, ""),
        wanted("T", QUEUES_MAX + 1, ""),
        wanted("T", 4, "+message.type=MIXED"),
        TopicConfig {
            perm: 16,
            ..wanted("T", 4, "")
        },
        TopicConfig {
            perm: -1,
            ..wanted("T", 4, "")
        },
    ] {
        let name = format!("{bad:?}");
        assert!(
            matches!(topics.update(bad, NOW), Err(Error::InvalidParameter(_))),
            "{name}"
        );
    }
    assert!(matches!(
        topics.update(wanted("T", 4, "+color=red"), NOW),
        Err(Error::System(_))
    ));
    assert!(topics.get("T").is_none());
    let mut lax = Topics::new(
        TopicSettings {
            protect_system_topics: false,
            mixed_messages: true,
            ..settings()
        },
        NOW,
    );
    assert!(lax.update(wanted("TBW102", 4, ""), NOW).unwrap().is_some());
    assert!(
        lax.update(wanted("T", 4, "+message.type=MIXED"), NOW)
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_list_of_topics_is_taken_whole_or_not_at_all() {
    let mut topics = topics();
    assert!(
        topics
            .update_all(vec![wanted("A", 4, ""), wanted("b a d", 4, "")], NOW)
            .is_err()
    );
    assert!(topics.get("A").is_none());
    topics.update(wanted("A", 4, ""), NOW).unwrap();
    let changes = topics
        .update_all(vec![wanted("A", 4, ""), wanted("B", 4, "")], NOW)
        .unwrap();
    assert_eq!(
        changes
            .iter()
            .map(|change| change.config.topic_name.as_str())
            .collect::<Vec<_>>(),
        ["B"]
    );
}

#[test]
fn a_topic_is_deleted_once_and_system_topics_never() {
    let mut topics = topics();
    topics.update(wanted("T", 4, ""), NOW).unwrap();
    let gone = topics.delete("T", NOW + 5).unwrap().unwrap();
    assert_eq!(
        (gone.name.as_str(), gone.version.counter, gone.version.timestamp),
        ("T", 2, NOW + 5)
    );
    assert_eq!(topics.delete("T", NOW).unwrap(), None);
    assert!(topics.get("T").is_none());
    assert!(topics.delete(" ", NOW).is_err() && topics.delete("TBW102", NOW).is_err());
}

#[test]
fn a_start_finds_the_table_as_it_was() {
    let mut before = topics();
    let mut records = Vec::new();
    records.extend(
        before
            .update(wanted("A", 4, "+message.type=DELAY"), NOW)
            .unwrap()
            .map(Meta::Topic),
    );
    records.extend(before.update(wanted("B", 4, ""), NOW).unwrap().map(Meta::Topic));
    records.extend(before.delete("A", NOW).unwrap().map(Meta::TopicGone));
    for records in [records, before.snapshot().collect()] {
        let mut after = topics();
        for record in records {
            match record {
                Meta::Topic(change) => after.apply(change),
                Meta::TopicGone(gone) => after.apply_gone(&gone),
                other => panic!("{other:?} is none of a topic's"),
            }
        }
        assert_eq!(
            (after.export().text(), after.version()),
            (before.export().text(), before.version())
        );
    }
}

#[test]
fn pages_follow_each_other_while_the_version_stays() {
    let topics = topics();
    let version = topics.version();
    let first = topics.page(None, 5, 10);
    assert_eq!(
        (first.topics.len(), first.total),
        (10, 13),
        "who has no version begins anew"
    );
    let second = topics.page(Some(version), 10, 10);
    let both: BTreeMap<_, _> = first.topics.into_iter().chain(second.topics).collect();
    assert_eq!(both.len(), 13);
    assert!(topics.page(Some(version), 99, 10).topics.is_empty());
    assert_eq!(topics.page(Some(DataVersion::default()), 99, 10).topics.len(), 10);
}

#[test]
fn a_broker_that_may_not_write_registers_topics_that_may_not_either() {
    let topics = topics();
    let perm = |broker_perm| topics.registration(broker_perm).topic_config_table["TBW102"].perm;
    assert_eq!((perm(6), perm(4), perm(2)), (7, 4, 2));
    assert_eq!(topics.registration(6).data_version, topics.version());
}

#[test]
fn replicas_get_what_sends_and_pulls_need() {
    let mut topics = topics();
    let change = topics
        .update(
            TopicConfig {
                perm: 4,
                ..wanted("T", 3, "")
            },
            NOW,
        )
        .unwrap()
        .unwrap();
    let replica = Topic::from(&*change.config);
    assert_eq!((replica.read_queues, replica.write_queues), (3, 3));
    assert!(replica.readable() && !replica.writable());
    assert_eq!(topics.updates().count(), topics.len());
}

#[test]
fn the_file_is_apaches_and_apaches_file_is_read() {
    let mut topics = topics();
    topics.update(wanted("T", 4, "+message.type=FIFO"), NOW).unwrap();
    let text = topics.export().text();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["dataVersion"]["counter"], 1);
    assert_eq!(json["topicConfigTable"]["T"]["attributes"]["message.type"], "FIFO");
    let mut other = Topics::new(settings(), 0);
    assert_eq!(
        other.import(&text, NOW).unwrap().len(),
        1,
        "the predefined ones are there already"
    );
    assert_eq!(other.get("T"), topics.get("T"));

    // As a 4.9 broker writes it: fewer fields, and a filter type that has no meaning any more.
    let apache = r#"{
        "dataVersion":{"counter":7,"timestamp":1700000000001},
        "topicConfigTable":{
            "Old":{"order":true,"perm":6,"readQueueNums":3,"topicFilterType":"SINGLE_TAG","topicName":"Old","topicSysFlag":0,"writeQueueNums":2}
        }
    }"#;
    let changes = other.import(apache, NOW).unwrap();
    assert_eq!(changes.len(), 1);
    let old = other.get("Old").unwrap();
    assert_eq!((old.read_queue_nums, old.write_queue_nums, old.order), (3, 2, true));
    assert_eq!(other.version().counter, 8, "newer than the file's");
}

#[test]
fn a_broken_file_is_refused_whole() {
    let mut topics = topics();
    for text in [
        "{",
        r#"{"topicConfigTable":{"A":{"topicName":"A"},"b":{"topicName":"b a d"}}}"#,
        r#"{"topicConfigTable":{"A":{"topicName":"A"},"B":{"topicName":"B","readQueueNums":-1}}}"#,
    ] {
        assert!(topics.import(text, NOW).is_err(), "{text}");
        assert!(topics.get("A").is_none());
    }
}
