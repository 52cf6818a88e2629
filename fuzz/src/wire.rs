//! What comes by the wire: frames, headers, bodies, and the records and batches in them.

use crate::choose;
use crate::golden_data::{BODY_CLASSES, HEADER_CLASSES, copy_body, copy_header, copy_record};
use bytes::{BufMut, BytesMut};
use protocol::body::lenient::Value;
use protocol::body::register::RegisterBrokerBody;
use protocol::body::to_standard_json;
use protocol::frame::{Frame, Serialize, frame_size, split_frame};
use protocol::header_writer::HeaderWriter;
use protocol::message::batch::{BatchItems, put_item};
use protocol::message::id::{OffsetMessageId, UniqueId};
use protocol::message::properties;
use protocol::message::record::{RecordView, Records};
use protocol::request_code::RequestCode;
use protocol::version::Version;
use std::io::Write;

/// Bytes of a connection: the frames in them, whether they come at once or in parts.
pub(crate) fn frame(input: &[u8]) {
    let Some((step, input)) = choose(input, 64) else { return };
    let at_once = split_all(&mut BytesMut::from(input));
    let mut arrived = BytesMut::new();
    let mut in_parts = Vec::new();
    for part in input.chunks(step + 1) {
        arrived.put_slice(part);
        if !split_on(&mut arrived, &mut in_parts) {
            break;
        }
    }
    assert_eq!(at_once.len(), in_parts.len(), "parts make other frames than the whole");
    for (one, other) in at_once.iter().zip(&in_parts) {
        assert_eq!(fields(one), fields(other));
        assert_eq!(one.body(), other.body());
        check_written_again(one);
    }
}

fn split_all(bytes: &mut BytesMut) -> Vec<Frame> {
    let mut frames = Vec::new();
    split_on(bytes, &mut frames);
    frames
}

/// Whether the bytes are still worth something.
fn split_on(bytes: &mut BytesMut, frames: &mut Vec<Frame>) -> bool {
    loop {
        let (size, before) = (frame_size(bytes), bytes.len());
        match split_frame(bytes) {
            Ok(Some(frame)) => {
                assert_eq!(size, Ok(Some(before - bytes.len())), "a frame has the size it tells");
                frames.push(frame);
            }
            Ok(None) => {
                assert!(size.is_ok_and(|size| size.is_none_or(|size| size > before)));
                return true;
            }
            Err(_) => return false,
        }
    }
}

type Fields = (i32, i32, i32, Option<String>, Vec<(String, String)>);

fn fields(frame: &Frame) -> Fields {
    let ext = frame.ext().map(|(key, value)| {
        let mut pushed = String::new();
        value.push_to(&mut pushed);
        assert!(pushed.len() <= value.length_max(), "a value keeps its bound");
        assert_eq!(pushed, value.to_cow());
        (key.into_owned(), pushed)
    });
    // The binary form has no empty remark, only none.
    let remark = frame.remark().filter(|remark| !remark.is_empty());
    (
        frame.code(),
        frame.opaque(),
        frame.flag(),
        remark.map(std::borrow::Cow::into_owned),
        ext.collect(),
    )
}

/// What was read, written by us, reads as the same.
fn check_written_again(frame: &Frame) {
    let read = fields(frame);
    for serialize in [Serialize::Json, Serialize::Binary] {
        let mut out = BytesMut::new();
        let mut writer = HeaderWriter::request(&mut out, serialize, RequestCode(read.0), read.1, read.2);
        read.3.iter().for_each(|remark| writer.set_remark(remark));
        read.4.iter().for_each(|(key, value)| writer.put(key, value));
        // A key or value may be too long for the other form.
        if writer.finish(frame.body().len()).is_err() {
            continue;
        }
        out.put_slice(frame.body());
        // What may have been read with more nesting or fields than a writer makes is not written.
        let again = split_frame(&mut out).unwrap().expect("what is written is whole");
        assert_eq!(fields(&again), read, "{serialize:?}");
        assert_eq!(again.body(), frame.body());
    }
}

/// One header by the type of any request or response: class, form, header.
pub(crate) fn header(input: &[u8]) {
    let Some((class, input)) = choose(input, HEADER_CLASSES.len()) else {
        return;
    };
    let Some((form, input)) = choose(input, 2) else { return };
    let class = HEADER_CLASSES[class];
    let mut bytes = BytesMut::new();
    let length = u32::try_from(input.len()).unwrap();
    bytes.put_u32(length + 4);
    bytes.put_u32(u32::try_from(form).unwrap() << 24 | length);
    bytes.put_slice(input);
    let Ok(Some(frame)) = split_frame(&mut bytes) else {
        return;
    };
    let Some(once) = copied(class, &frame) else { return };
    let again = split_frame(&mut BytesMut::from(&once[..]))
        .unwrap()
        .expect("it is whole");
    let twice = copied(class, &again).unwrap_or_else(|| panic!("{class}: what is written does not read"));
    assert_eq!(once, twice, "{class}: reads otherwise than it was written");
}

fn copied(class: &str, frame: &Frame) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    let mut writer = HeaderWriter::request(&mut out, frame.serialize(), frame.request_code(), 1, 0);
    copy_header(class, frame.ext(), &mut writer).ok()?;
    writer.finish(0).ok()?;
    Some(out)
}

/// Any JSON, as lenient as fastjson's: what is read, written with quotes and no more than that, reads as the same.
pub(crate) fn json(input: &[u8]) {
    if let Ok(value) = Value::parse(input) {
        let mut text = Vec::new();
        write_json(&value, &mut text);
        assert_eq!(
            Value::parse(&text).as_ref(),
            Ok(&value),
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
}

fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.put_slice(b"null"),
        Value::Bool(value) => out.put_slice(&to_standard_json(value)),
        Value::Int(value) => out.put_slice(&to_standard_json(value)),
        Value::Float(value) => out.put_slice(&to_standard_json(value)),
        Value::Text(value) => out.put_slice(&to_standard_json(value)),
        Value::Array(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                out.extend((at > 0).then_some(b','));
                write_json(value, out);
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            out.push(b'{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.extend((at > 0).then_some(b','));
                write_json(key, out);
                out.push(b':');
                write_json(value, out);
            }
            out.push(b'}');
        }
    }
}

/// A JSON body by the type of any class: class, body.
pub(crate) fn body(input: &[u8]) {
    let Some((class, input)) = choose(input, BODY_CLASSES.len()) else {
        return;
    };
    let class = BODY_CLASSES[class];
    let Some(Ok(once)) = copy_body(class, input) else {
        return;
    };
    let twice = copy_body(class, &once).expect("a class that is read");
    let twice = twice.unwrap_or_else(|error| panic!("{class}: {error} in {}", String::from_utf8_lossy(&once)));
    assert_eq!(
        String::from_utf8_lossy(&once),
        String::from_utf8_lossy(&twice),
        "{class}: reads otherwise than it was written"
    );
}

/// A broker's registration: form, body; in the third form we deflate what is then inflated.
pub(crate) fn registration(input: &[u8]) {
    let Some((form, input)) = choose(input, 6) else { return };
    let version = [Version::V5_5_0, Version(300)][form % 2];
    let read = match form / 2 {
        0 => RegisterBrokerBody::decode(input, false, version),
        1 => RegisterBrokerBody::decode(input, true, version),
        _ => {
            let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            deflated.write_all(input).unwrap();
            RegisterBrokerBody::decode(&deflated.finish().unwrap(), true, version)
        }
    };
    let Ok(read) = read else { return };
    // As JSON all of it lasts; the compressed form has topics as text lines, which hold less.
    let plain = RegisterBrokerBody::decode(&read.encode(false), false, Version::V5_5_0).unwrap();
    assert_eq!(plain, read);
    if let Ok(packed) = RegisterBrokerBody::decode(&read.encode(true), true, Version::V5_5_0) {
        let again = RegisterBrokerBody::decode(&packed.encode(true), true, Version::V5_5_0).unwrap();
        assert_eq!(again, packed);
    }
}

/// Records as they are stored and as a pull's answer carries them; with an odd first byte their body checksums are made right.
pub(crate) fn record(input: &[u8]) {
    let Some((mend, input)) = choose(input, 2) else { return };
    let mut bytes = input.to_vec();
    if mend == 1 {
        mend_body_checksums(&mut bytes);
    }
    let mut at = 0;
    for record in Records::new(&bytes) {
        let Ok(view) = record else { break };
        let copy = copy_record(&view);
        if view.check_body().is_ok() {
            assert_eq!(
                copy,
                &bytes[at..at + view.size()],
                "a sound record is written as it was read"
            );
        }
        let again = RecordView::decode(&copy).unwrap();
        again.check_body().unwrap();
        assert_eq!(copy_record(&again), copy);
        properties::iter(view.properties).for_each(drop);
        at += view.size();
        assert!(at <= bytes.len());
    }
}

fn mend_body_checksums(bytes: &mut [u8]) {
    /// Behind size and magic.
    const BODY_CRC_AT: usize = 8;
    let mut mended = Vec::new();
    let mut at = 0;
    for record in Records::new(bytes) {
        let Ok(view) = record else { break };
        mended.push((at + BODY_CRC_AT, crc32fast::hash(view.body) & 0x7fff_ffff));
        at += view.size();
    }
    for (at, crc) in mended {
        bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// The body of a batch.
pub(crate) fn batch(input: &[u8]) {
    let Ok(items) = BatchItems::new(input).collect_all() else {
        return;
    };
    let mut written = BytesMut::new();
    for item in &items {
        // Bytes that are no UTF-8 grow when they become replacement characters, and may then be too long.
        if put_item(&mut written, item).is_err() {
            return;
        }
    }
    assert_eq!(BatchItems::new(&written).collect_all().unwrap(), items);
}

/// Message ids as text, by the broker and by a client.
pub(crate) fn message_id(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(id) = OffsetMessageId::decode(&text) {
        assert_eq!(OffsetMessageId::decode(&id.to_string()).unwrap(), id);
    }
    if let Ok(id) = UniqueId::decode(&text) {
        assert_eq!(UniqueId::decode(&id.to_string()).unwrap(), id);
    }
}
