//! Whatever values there are, what is written reads back; whatever bytes there are, no decoder panics.

use core::net::SocketAddr;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use protocol::body::lenient::Value;
use protocol::body::register::RegisterBrokerBody;
use protocol::body::{from_slice, to_java_json, to_standard_json, topic::DataVersion};
use protocol::ext::ExtText;
use protocol::frame::{Serialize, split_frame};
use protocol::header::pull::{PullHeader, PullResponse};
use protocol::header::send::SendHeader;
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::{BatchItem, BatchItems, put_item};
use protocol::message::id::{OffsetMessageId, UniqueId};
use protocol::message::properties;
use protocol::message::record::{RecordFields, RecordView, Records};
use protocol::message::sys_flag::{BORN_HOST_V6, STORE_HOST_V6};
use protocol::model::{PhysicalOffset, QueueId, QueueOffset, ShardCount, ShardId, home_shard};
use protocol::request_code::RequestCode;
use protocol::response_code::ResponseCode;
use protocol::version::Version;

use crate::golden_data;

fn any_serialize() -> impl Strategy<Value = Serialize> {
    prop_oneof![Just(Serialize::Json), Just(Serialize::Binary)]
}

/// Text of all kinds: controls, quotes, backslashes, far planes.
fn any_text() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![any::<char>(), (0_u8..0x30).prop_map(char::from), Just('"'), Just('\\')],
        0..40,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_read_back_whatever_they_hold(
        serialize in any_serialize(),
        code in 0_i32..=32_767,
        opaque: i32,
        flag: i32,
        remark in proptest::option::of(any_text()),
        fields in vec((any_text(), any_text()), 0..20),
        body in vec(any::<u8>(), 0..100),
    ) {
        let mut out = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut out, serialize, RequestCode(code), opaque, flag);
        for (index, (key, value)) in fields.iter().enumerate() {
            if let Some(remark) = remark.as_ref().filter(|_| index == fields.len() / 2) {
                writer.set_remark(remark);
            }
            writer.put(key, value);
        }
        writer.finish(body.len()).unwrap();
        out.extend_from_slice(&body);
        let frame = split_frame(&mut out).unwrap().unwrap();
        prop_assert_eq!((frame.code(), frame.opaque(), frame.flag(), frame.serialize()), (code, opaque, flag, serialize));
        // The binary form has no empty remark, only none.
        let told = remark.filter(|text| !fields.is_empty() && (serialize == Serialize::Json || !text.is_empty()));
        prop_assert_eq!(frame.remark().map(|text| text.into_owned()), told);
        let read: Vec<_> = frame.ext().map(|(key, value)| (key.into_owned(), value.into_cow().into_owned())).collect();
        prop_assert_eq!(&read, &fields);
        for (_, value) in frame.ext() {
            let mut pushed = String::new();
            value.push_to(&mut pushed);
            prop_assert!(pushed.len() <= value.length_max());
            prop_assert_eq!(pushed, value.to_cow().into_owned());
        }
        prop_assert_eq!(&frame.body()[..], &body[..]);
        prop_assert!(out.is_empty());
    }

    #[test]
    fn hot_headers_read_back(
        serialize in any_serialize(),
        texts in proptest::array::uniform4(any_text()),
        properties in proptest::option::of(any_text()),
        ints in proptest::array::uniform6(any::<i32>()),
        longs in proptest::array::uniform4(any::<i64>()),
        flags: (bool, bool, bool),
    ) {
        let [a, b, c, n] = &texts;
        let send = SendHeader {
            producer_group: a.into(), topic: b.into(), default_topic: c.into(), default_topic_queue_nums: ints[0],
            queue_id: ints[1], sys_flag: ints[2], born_timestamp: longs[0], flag: ints[3],
            properties: properties.as_deref().map(ExtText::Plain), reconsume_times: ints[4], unit_mode: flags.0,
            max_reconsume_times: flags.2.then_some(ints[5]), batch: flags.1, broker_name: flags.2.then(|| n.into()),
        };
        let mut out = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut out, serialize, RequestCode::SEND_MESSAGE_V2, 1, 0);
        if flags.1 { send.encode_v1(&mut writer) } else { send.encode_v2(&mut writer) }
        writer.finish(0).unwrap();
        let frame = split_frame(&mut out).unwrap().unwrap();
        let mut read = SendHeader::decode(frame.ext()).unwrap();
        prop_assert_eq!(read.properties.take().map(|text| text.into_cow().into_owned()), properties.clone());
        prop_assert_eq!(read, SendHeader { properties: None, ..send });

        let pull = PullHeader {
            consumer_group: a.into(), topic: b.into(), queue_id: ints[0], queue_offset: longs[0], max_msg_nums: ints[1],
            sys_flag: ints[2], commit_offset: longs[1], suspend_timeout_millis: longs[2],
            subscription: properties.as_deref().map(ExtText::Plain), sub_version: longs[3],
            expression_type: flags.0.then(|| c.into()), max_msg_bytes: flags.1.then_some(ints[3]),
            request_source: flags.2.then_some(ints[4]), proxy_forward_client_id: flags.1.then(|| n.into()),
            lite_topic: None, broker_name: flags.0.then(|| n.into()),
        };
        let mut writer = HeaderWriter::request(&mut out, serialize, RequestCode::PULL_MESSAGE, 1, 0);
        pull.encode(&mut writer);
        writer.finish(0).unwrap();
        let frame = split_frame(&mut out).unwrap().unwrap();
        let mut read = PullHeader::decode(frame.ext()).unwrap();
        prop_assert_eq!(read.subscription.take().map(|text| text.into_cow().into_owned()), properties.clone());
        prop_assert_eq!(read, PullHeader { subscription: None, ..pull });

        let response = PullResponse {
            suggest_which_broker_id: longs[0], next_begin_offset: longs[1], min_offset: longs[2], max_offset: longs[3],
            offset_delta: flags.0.then_some(longs[0]), topic_sys_flag: flags.1.then_some(ints[0]),
            group_sys_flag: flags.2.then_some(ints[1]), forbidden_type: flags.0.then_some(ints[2]),
        };
        let mut writer = HeaderWriter::response(&mut out, serialize, ResponseCode::SUCCESS, 1);
        response.encode(&mut writer);
        writer.finish(0).unwrap();
        let frame = split_frame(&mut out).unwrap().unwrap();
        prop_assert_eq!(PullResponse::decode(frame.ext()), Ok(response));
    }

    #[test]
    fn records_read_back(
        queue_id in 0_u32..=0x7fff_ffff,
        ints: (i32, i32, i32),
        longs in proptest::array::uniform4(any::<i64>()),
        physical_offset in 0_i64..,
        born_host: SocketAddr,
        store_host: SocketAddr,
        body in vec(any::<u8>(), 0..300),
        topic in "[%|a-zA-Z0-9_-]{1,255}",
        properties in any_text(),
    ) {
        let fields = RecordFields {
            queue_id: QueueId::new(queue_id).unwrap(), flag: ints.0, queue_offset: QueueOffset(longs[0]),
            physical_offset: PhysicalOffset::from_wire(physical_offset).unwrap(), sys_flag: ints.1,
            born_timestamp: longs[1], born_host, store_timestamp: longs[2], store_host, reconsume_times: ints.2,
            prepared_transaction_offset: longs[3], body: &body, topic: &topic, properties: &properties,
        };
        let mut out = BytesMut::new();
        let encoded = fields.encode(&mut out).unwrap();
        prop_assert_eq!((out.len(), fields.encoded_size()), (encoded.size, Ok(encoded.size)));
        let view = RecordView::decode(&out).unwrap();
        prop_assert_eq!((view.queue_id, view.flag, view.queue_offset), (fields.queue_id, ints.0, fields.queue_offset));
        prop_assert_eq!((view.physical_offset, view.reconsume_times), (fields.physical_offset, ints.2));
        let families = BORN_HOST_V6 | STORE_HOST_V6;
        prop_assert_eq!(view.sys_flag & !families, ints.1 & !families);
        // A record has no room for flow and scope of an IPv6 address.
        let plain = |host: SocketAddr| SocketAddr::new(host.ip(), host.port());
        prop_assert_eq!((view.born_host, view.store_host), (plain(born_host), plain(store_host)));
        prop_assert_eq!((view.born_timestamp, view.store_timestamp), (longs[1], longs[2]));
        prop_assert_eq!(view.prepared_transaction_offset, longs[3]);
        prop_assert_eq!((view.body, view.topic, view.properties), (&body[..], &topic[..], &properties[..]));
        prop_assert_eq!(view.check_body(), Ok(()));
        prop_assert_eq!(crc32fast::hash(&out[encoded.body_at..][..body.len()]), encoded.body_crc);
    }

    #[test]
    fn batches_ids_properties_and_offsets_read_back(
        items in vec((any::<i32>(), vec(any::<u8>(), 0..50), any_text()), 0..10),
        host: SocketAddr,
        physical_offset in 0_i64..,
        unique: (u16, u32, u32, u16),
        entries in vec(("[a-z]{1,5}", "[a-zA-Z0-9 |]{1,9}"), 0..8),
    ) {
        let mut out = BytesMut::new();
        for (flag, body, text) in &items {
            put_item(&mut out, &BatchItem { flag: *flag, body, properties: text.into() }).unwrap();
        }
        let read = BatchItems::new(&out).collect_all().unwrap();
        let read: Vec<_> =
            read.into_iter().map(|item| (item.flag, item.body.to_vec(), item.properties.into_owned())).collect();
        prop_assert_eq!(read, items);

        let store_host = SocketAddr::new(host.ip(), host.port());
        let physical_offset = PhysicalOffset::from_wire(physical_offset).unwrap();
        let id = OffsetMessageId { store_host, physical_offset };
        prop_assert_eq!(OffsetMessageId::decode(&id.to_string()), Ok(id));
        prop_assert_eq!(PhysicalOffset::new(physical_offset.shard(), physical_offset.position()), physical_offset);
        let (process_id, maker, month_millis, counter) = unique;
        let id = UniqueId { ip: host.ip(), process_id, maker, month_millis, counter };
        prop_assert_eq!(UniqueId::decode(&id.to_string()), Ok(id));

        let mut text = String::new();
        entries.iter().for_each(|(name, value)| properties::push(&mut text, name, value));
        let pairs: Vec<_> = entries.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        prop_assert_eq!(properties::iter(&text).collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn a_home_shard_is_one_of_the_store(topic in any_text(), queue_id in 0_u32..=0x7fff_ffff, shards in 1_u8..=128) {
        let shards = ShardCount::new(shards).unwrap();
        let home = home_shard(&topic, QueueId::new(queue_id).unwrap(), shards);
        prop_assert!(home.get() < shards.get());
        prop_assert!(ShardId::new(home.get()).is_some());
    }

    #[test]
    fn json_of_either_form_reads_back(counter: i64, state_version: i64, timestamp: i64, text in any_text()) {
        let version = DataVersion { counter, state_version, timestamp };
        prop_assert_eq!(from_slice(&to_java_json(&version)), Ok(version));
        let standard = to_standard_json(&text);
        prop_assert_eq!(serde_json::from_slice::<String>(&standard).unwrap(), text.clone());
        prop_assert_eq!(Value::parse(&standard), Ok(Value::Text(text)));
    }

    #[test]
    fn no_decoder_panics_on_any_bytes(bytes in vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = split_frame(&mut BytesMut::from(&bytes[..]));
        for form in [0, 1] {
            let mut frame = BytesMut::new();
            frame.extend_from_slice(&u32::try_from(bytes.len() + 4).unwrap().to_be_bytes());
            frame.extend_from_slice(&[form, 0]);
            frame.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
            frame.extend_from_slice(&bytes);
            if let Ok(Some(frame)) = split_frame(&mut frame) {
                let _ = (SendHeader::decode(frame.ext()), PullHeader::decode(frame.ext()), frame.remark());
            }
        }
        Records::new(&bytes).for_each(drop);
        let _ = BatchItems::new(&bytes).collect_all();
        let _ = Value::parse(&bytes);
        for class in golden_data::BODY_CLASSES {
            let _ = golden_data::copy_body(class, &bytes);
        }
        let _ = RegisterBrokerBody::decode(&bytes, true, Version::V5_5_0);
        let _ = (OffsetMessageId::decode(&text), UniqueId::decode(&text));
        properties::iter(&text).for_each(drop);
        let _ = protocol::body::properties_text::parse(&text);
    }
}
