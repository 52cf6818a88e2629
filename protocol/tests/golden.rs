//! What Apache's classes wrote, read and written again by ours. `tests/golden/README.md` tells how the files are made.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use bytes::BytesMut;
use golden_data::{copy_body, copy_frame, copy_header, copy_record, from_hex, header_frames, only_frame, to_hex};
use protocol::body::register::RegisterBrokerBody;
use protocol::body::route::TopicRouteData;
use protocol::body::subscription::{SubscriptionData, TagFilter};
use protocol::body::topic::TopicConfig;
use protocol::body::{from_slice, to_java_json};
use protocol::frame::{FLAG_ONEWAY, Frame, Serialize};
use protocol::header::HeaderError;
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::{BatchItems, put_item};
use protocol::message::id::{OffsetMessageId, UniqueId};
use protocol::message::record::{RecordView, Records};
use protocol::message::{properties, sys_flag};
use protocol::model::{PhysicalOffset, QueueId, ShardCount, home_shard, java_hash};
use protocol::request_code::RequestCode;
use protocol::version::Version;

#[path = "common/golden_data.rs"]
#[expect(dead_code, reason = "the fuzz targets read more of it")]
mod golden_data;
#[path = "common/round_trips.rs"]
mod round_trips;

fn ext_of(frame: &Frame) -> BTreeMap<String, String> {
    frame
        .ext()
        .map(|(key, value)| (key.into_owned(), value.into_cow().into_owned()))
        .collect()
}

#[test]
fn every_header_of_java_is_read_and_written_with_all_its_fields() {
    let mut count = 0;
    for (class, serialize, bytes) in header_frames() {
        let frame = only_frame(&bytes);
        assert_eq!(
            (frame.serialize(), frame.code(), frame.opaque()),
            (serialize, 77, 4711),
            "{class}"
        );
        assert_eq!(
            (frame.version(), frame.flag(), &frame.body()[..]),
            (Version::V5_5_0, 0, &b"body"[..]),
            "{class}"
        );
        let copy = only_frame(&copy_frame(class, &frame));
        assert_eq!(ext_of(&copy), ext_of(&frame), "{class} {serialize:?}");
        count += 1;
    }
    assert!(count > 140, "{count} headers");
}

#[test]
fn json_ext_fields_read_as_serde_json_reads_them_and_binary_ones_alike() {
    let frames: Vec<_> = header_frames().collect();
    for pair in frames.chunks(2) {
        let [(class, _, json), (_, _, binary)] = pair else {
            panic!("frames come in pairs")
        };
        let header_length = usize::try_from(u32::from_be_bytes([0, json[5], json[6], json[7]])).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&json[8..8 + header_length]).unwrap();
        let expected: BTreeMap<String, String> = serde_json::from_value(header["extFields"].clone()).unwrap();
        assert_eq!(ext_of(&only_frame(json)), expected, "{class}");
        assert_eq!(ext_of(&only_frame(binary)), expected, "{class}");
    }
}

#[test]
fn exactly_the_fields_that_java_marks_not_null_must_be_there() {
    // Peers before 5.3.4 do not know pages, and Java checks nothing of a request without any field.
    const PAGES: [&str; 4] = ["groupSeq", "topicSeq", "totalGroupNum", "totalTopicNum"];
    let needs = include_str!("../../tests/golden/data/header_fields.txt");
    let frames: BTreeMap<_, _> = header_frames().map(|(class, _, bytes)| (class, bytes)).collect();
    let mut unlike = Vec::<String>::new();
    for line in needs.lines() {
        let parts: Vec<_> = line.split(' ').collect();
        let [class, field, _, need] = parts[..] else {
            panic!("four parts in {line}")
        };
        if let Some(fields) = golden_data::header_fields(class) {
            assert!(fields.contains(&field), "{class} lacks {field}");
        }
        let frame = only_frame(&frames[class]);
        let mut without = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut without, Serialize::Json, RequestCode(1), 1, 0);
        for (key, value) in frame.ext().filter(|(key, _)| key != field) {
            writer.put(&key, &value.to_cow());
        }
        writer.finish(0).unwrap();
        let mut out = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut out, Serialize::Json, RequestCode(1), 1, 0);
        let result = copy_header(class, only_frame(&without).ext(), &mut writer);
        let missing = matches!(result, Err(HeaderError::Missing { .. }));
        if missing != (need == "notnull" && !PAGES.contains(&field)) {
            unlike.push(format!("{class} without {field}: {result:?}"));
        }
    }
    assert!(unlike.is_empty(), "{unlike:#?}");
}

#[test]
fn remarks_escapes_and_empty_values_read_back_as_java_meant_them() {
    let controls: String = (0..0x20_u8).map(char::from).collect();
    let texts: BTreeMap<&str, Option<&str>> = [
        ("none", None),
        ("plain", Some("system busy")),
        ("controls", Some(&controls)),
        ("quotes", Some("\"quoted\" \\back\\slash/")),
        ("unicode", Some("grüße 中文 😀 \u{7f} \u{2028}")),
    ]
    .into();
    let mut count = 0;
    for line in include_str!("../../tests/golden/data/frames.txt").lines() {
        let parts: Vec<_> = line.split(' ').collect();
        let [name, _, hex] = parts[..] else {
            panic!("three parts in {line}")
        };
        let (kind, text) = name.split_once('-').unwrap();
        let frame = only_frame(&from_hex(hex));
        if kind == "response" {
            assert!(frame.is_response());
            assert_eq!(frame.remark().as_deref(), texts[text], "{line}");
        } else {
            assert_eq!((frame.flag(), frame.remark()), (FLAG_ONEWAY, None));
            let ext = ext_of(&frame);
            assert_eq!(ext["value"], texts[text].unwrap_or("null"), "{line}");
            assert_eq!(ext["empty"], "");
        }
        count += 1;
    }
    assert_eq!(count, 20);
}

#[test]
fn our_json_escapes_are_javas_byte_for_byte() {
    let controls: String = (0..0x20_u8).map(char::from).chain("\"\\/é\u{7f}".chars()).collect();
    let mut out = BytesMut::new();
    let writer = HeaderWriter::request(&mut out, Serialize::Json, RequestCode(1), 1, 0);
    writer.ext("k", &controls).finish(0).unwrap();
    let expected = "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f\
        \\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f\
        \\\"\\\\/é\u{7f}\"";
    assert!(String::from_utf8_lossy(&out).contains(expected));
    let java = include_str!("../../tests/golden/data/frames.txt")
        .lines()
        .find(|line| line.starts_with("response-controls JSON"));
    let java = from_hex(java.unwrap().rsplit(' ').next().unwrap());
    assert!(String::from_utf8_lossy(&java).contains(expected.split("\\\"").next().unwrap()));
}

#[test]
fn every_body_of_java_is_read_and_written_byte_for_byte() {
    let mut filled = 0;
    let mut last = "";
    for (class, json) in golden_data::bodies() {
        let Some(copy) = copy_body(class, json.as_bytes()) else {
            continue;
        };
        let copy = copy.unwrap_or_else(|error| panic!("{class}: {error}"));
        // Of each class, the first line has every field, the second those of a new object, where nulls and empty maps may differ.
        if class != last {
            let mut expected = json.to_owned();
            if class == "QueryConsumeTimeSpanBody" {
                // Java also writes times as text, and never reads them.
                for field in ["consumeTimeStampStr", "maxTimeStampStr", "minTimeStampStr"] {
                    let start = expected.find(&format!("\"{field}\"")).unwrap();
                    let end = start + expected[start..].find([',', '}']).unwrap();
                    let comma = usize::from(expected[end..].starts_with(','));
                    expected.replace_range(start - (1 - comma)..end + comma, "");
                }
            }
            assert_eq!(String::from_utf8(copy).unwrap(), expected, "{class}");
            filled += 1;
        } else {
            let again = copy_body(class, &copy).unwrap().unwrap();
            assert_eq!(again, copy, "{class}");
        }
        last = class;
    }
    assert!(filled > 35, "{filled} bodies");
}

#[test]
fn a_route_is_written_as_each_client_reads_it() {
    let default = include_str!("../../tests/golden/data/route_default.json")
        .trim_end()
        .as_bytes();
    let standard = include_str!("../../tests/golden/data/route_standard.json")
        .trim_end()
        .as_bytes();
    let route: TopicRouteData = from_slice(default).unwrap();
    assert_eq!(from_slice::<TopicRouteData>(standard), Ok(route.clone()));
    assert_eq!(route.broker_datas[0].broker_addrs[&1], "10.0.0.2:10911");
    assert_eq!(route.encode_for(Version::GO_CLIENT, false), default);
    assert_eq!(route.encode_for(Version::GO_CLIENT, true), standard);
    assert_eq!(route.encode_for(Version::V4_9_4, false), standard);
}

#[test]
fn every_record_of_java_is_read_and_written_byte_for_byte() {
    let mut count = 0;
    let mut all = Vec::new();
    for line in golden_data::RECORDS.lines() {
        let parts: Vec<_> = line.split(' ').collect();
        let [
            name,
            topic,
            body_length,
            flags,
            born,
            store,
            queue_offset,
            physical_offset,
            properties,
            record,
        ] = parts[..]
        else {
            panic!("ten parts in {line}")
        };
        let record = from_hex(record);
        let view = RecordView::decode(&record).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            (view.size(), view.topic, view.body.len().to_string().as_str()),
            (record.len(), topic, body_length)
        );
        assert_eq!(
            (view.flag, view.queue_id, view.reconsume_times),
            (77, QueueId::new(3).unwrap(), 2),
            "{name}"
        );
        assert_eq!(
            (view.born_timestamp, view.store_timestamp),
            (1_700_000_000_001, 1_700_000_000_002),
            "{name}"
        );
        assert_eq!(view.prepared_transaction_offset, 99, "{name}");
        for (host, expected) in [(view.born_host, born), (view.store_host, store)] {
            let (ip, port) = expected.split_once('/').unwrap();
            assert_eq!(
                (host.ip(), host.port()),
                (ip.parse().unwrap(), port.parse().unwrap()),
                "{name}"
            );
        }
        assert_eq!(view.queue_offset.0.to_string(), queue_offset, "{name}");
        assert_eq!(view.physical_offset.to_wire().to_string(), physical_offset, "{name}");
        assert_eq!(to_hex(view.properties.as_bytes()), properties, "{name}");
        assert_eq!(
            (view.property("TAGS"), view.property("user")),
            (Some("TagA"), Some("grüße")),
            "{name}"
        );
        assert_eq!(view.sys_flag.to_string(), flags, "{name}");
        assert_eq!(
            sys_flag::compression(view.sys_flag).is_some(),
            name.starts_with("compressed"),
            "{name}"
        );
        assert_eq!(view.check_body(), Ok(()), "{name}");
        assert_eq!(to_hex(&copy_record(&view)), to_hex(&record), "{name}");
        all.extend_from_slice(&record);
        count += 1;
    }
    assert_eq!(Records::new(&all).filter(Result::is_ok).count(), count);
    assert_eq!(count, 14);
}

#[test]
fn a_batch_of_java_is_read_and_written_byte_for_byte() {
    let batch = from_hex(golden_data::BATCH.trim());
    let items = BatchItems::new(&batch).collect_all().unwrap();
    let bodies: Vec<_> = items
        .iter()
        .map(|item| core::str::from_utf8(item.body).unwrap())
        .collect();
    assert_eq!(bodies, ["one", "", "three, 三"]);
    for item in &items {
        assert_eq!(properties::get(&item.properties, "KEYS"), Some("key"));
    }
    let mut copy = BytesMut::new();
    items.iter().for_each(|item| put_item(&mut copy, item).unwrap());
    assert_eq!(to_hex(&copy), to_hex(&batch));
}

#[test]
fn ids_of_java_are_read_and_written_alike() {
    for line in golden_data::IDS.lines() {
        let parts: Vec<_> = line.split(' ').collect();
        match parts[..] {
            ["offset", ip, port, offset, id] => {
                let read = OffsetMessageId::decode(id).unwrap();
                assert_eq!(
                    (read.store_host.ip(), read.store_host.port()),
                    (ip.parse().unwrap(), port.parse().unwrap())
                );
                assert_eq!(
                    Some(read.physical_offset),
                    PhysicalOffset::from_wire(offset.parse().unwrap())
                );
                assert_eq!(golden_data::copy_offset_id(id), id);
            }
            ["unique", ip, process_id, id] => {
                let read = UniqueId::decode(id).unwrap();
                assert_eq!(
                    (read.ip, read.process_id),
                    (ip.parse().unwrap(), process_id.parse().unwrap())
                );
                assert_eq!(read.to_string(), id);
            }
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn hashes_topic_lines_and_properties_are_javas() {
    for line in include_str!("../../tests/golden/data/hash_codes.txt").lines() {
        let (text, hash) = line.split_once(' ').unwrap();
        assert_eq!(java_hash(text).to_string(), hash, "{text}");
    }
    for line in include_str!("../../tests/golden/data/topic_config.txt").lines() {
        let config = TopicConfig::from_text(line).unwrap();
        assert_eq!(
            (config.read_queue_nums, config.write_queue_nums, config.perm),
            (8, 16, 6)
        );
        assert_eq!(config.to_text(), line);
    }
    for line in include_str!("../../tests/golden/data/properties.txt").lines() {
        let (hex, map) = line.split_once(' ').unwrap();
        let text = String::from_utf8(from_hex(hex)).unwrap();
        let expected: BTreeMap<String, String> = serde_json::from_str(map).unwrap();
        let found: BTreeMap<_, _> = properties::iter(&text)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(found, expected, "{hex}");
        for (name, value) in &expected {
            assert_eq!(properties::get(&text, name), Some(value.as_str()), "{hex}");
        }
    }
}

#[test]
fn subscriptions_are_made_of_expressions_as_java_makes_them() {
    let mut count = 0;
    for line in include_str!("../../tests/golden/data/subscriptions.txt").lines() {
        let (expression, json) = line.strip_prefix('[').unwrap().rsplit_once("] {").unwrap();
        let expected: SubscriptionData = from_slice(format!("{{{json}").as_bytes()).unwrap();
        let found = SubscriptionData {
            sub_version: 1,
            ..SubscriptionData::of_tags("T", expression).unwrap()
        };
        assert_eq!(found, expected, "{line}");
        assert_eq!(
            found.tag_filter(),
            TagFilter::of_expression(expression).unwrap(),
            "{line}"
        );
        count += 1;
    }
    assert_eq!(count, 9);
}

#[test]
fn a_compressed_registration_of_java_is_read_and_ours_holds_the_same() {
    let mut lines = include_str!("../../tests/golden/data/register_compressed.txt").lines();
    let json: RegisterBrokerBody = from_slice(lines.next().unwrap().as_bytes()).unwrap();
    let compressed = from_hex(lines.next().unwrap());
    let read = RegisterBrokerBody::decode(&compressed, true, Version::V5_5_0).unwrap();
    // The binary form leaves out order, sysFlag, the details of mappings and the mappings' version, and keys mappings by their topic.
    let mut expected = json;
    let wrapper = &mut expected.topic_config_serialize_wrapper;
    wrapper.mapping_data_version = Default::default();
    wrapper.topic_queue_mapping_detail_map.clear();
    let topics = std::mem::take(&mut wrapper.topic_config_table).into_values();
    wrapper.topic_config_table = topics
        .map(|topic| {
            (
                topic.topic_name.clone(),
                TopicConfig {
                    order: false,
                    topic_sys_flag: 0,
                    ..topic
                },
            )
        })
        .collect();
    let mappings = std::mem::take(&mut wrapper.topic_queue_mapping_info_map).into_values();
    wrapper.topic_queue_mapping_info_map = mappings.map(|mapping| (mapping.topic.clone(), mapping)).collect();
    assert_eq!(
        String::from_utf8(to_java_json(&read)),
        String::from_utf8(to_java_json(&expected))
    );
    let again = RegisterBrokerBody::decode(&read.encode(true), true, Version::V5_5_0).unwrap();
    assert_eq!(again, read);
}

#[test]
fn home_shards_are_where_they_were_when_the_first_store_was_made() {
    let golden = include_str!("../../tests/golden/data/home_shard.txt");
    assert!(golden.lines().count() >= 64);
    for line in golden.lines() {
        let parts: Vec<_> = line.split(' ').collect();
        let [topic, queue_id, shards, home] = parts[..] else {
            panic!("four parts in {line}")
        };
        let queue_id = QueueId::new(queue_id.parse().unwrap()).unwrap();
        let shards = ShardCount::new(shards.parse().unwrap()).unwrap();
        assert_eq!(home_shard(topic, queue_id, shards).to_string(), home, "{line}");
    }
}
