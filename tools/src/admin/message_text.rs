//! A message, as people read it.

use super::time_text::local_with_millis;
use client::ReceivedMessage;
use flate2::read::ZlibDecoder;
use protocol::message::id::OffsetMessageId;
use protocol::message::properties::{self, names};
use protocol::message::sys_flag;
use protocol::model::PhysicalOffset;
use serde_json::{Value, json};
use std::io::{self, Read, Write};

/// A compressed body may become so long.
const BODY_MAX: u64 = 64 << 20;

/// The id by which its broker finds it.
pub(super) fn offset_id(message: &ReceivedMessage) -> String {
    let place = PhysicalOffset::from_wire(message.physical_offset);
    place.map_or_else(String::new, |physical_offset| {
        let store_host = message.store_host;
        OffsetMessageId {
            store_host,
            physical_offset,
        }
        .to_string()
    })
}

/// The id that its producer gave it, else the one by which its broker finds it.
pub(super) fn id(message: &ReceivedMessage) -> String {
    message.unique_id().map_or_else(|| offset_id(message), str::to_owned)
}

/// The body as text: unpacked, and with marks where it is no UTF-8.
pub(super) fn body(message: &ReceivedMessage) -> String {
    if message.sys_flag & sys_flag::COMPRESSED == 0 {
        return String::from_utf8_lossy(&message.body).into_owned();
    }
    let mut unpacked = Vec::new();
    let read = ZlibDecoder::new(&*message.body)
        .take(BODY_MAX)
        .read_to_end(&mut unpacked);
    match read {
        Ok(_length) => String::from_utf8_lossy(&unpacked).into_owned(),
        Err(_error) => format!("({} bytes, compressed otherwise than by zlib)", message.body.len()),
    }
}

fn property_list(message: &ReceivedMessage) -> Vec<(&str, &str)> {
    properties::iter(&message.properties).collect()
}

/// Everything but the body, as Java's `toString` has it.
pub(super) fn java_text(message: &ReceivedMessage, broker_name: &str) -> String {
    let properties = property_list(message)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>();
    format!(
        "MessageExt [brokerName={broker_name}, queueId={}, queueOffset={}, sysFlag={}, bornTimestamp={}, bornHost=/{}, storeTimestamp={}, storeHost=/{}, msgId={}, commitLogOffset={}, reconsumeTimes={}, toString()=Message{{topic='{}', flag={}, properties={{{}}}, bodyLength={}}}]",
        message.queue_id,
        message.queue_offset,
        message.sys_flag,
        message.born_timestamp,
        message.born_host,
        message.store_timestamp,
        message.store_host,
        offset_id(message),
        message.physical_offset,
        message.reconsume_times,
        message.topic,
        message.flag,
        properties.join(", "),
        message.body.len()
    )
}

/// All of it, for programs.
pub(super) fn document(message: &ReceivedMessage) -> Value {
    let properties: serde_json::Map<_, _> = property_list(message)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    json!({
        "topic": message.topic,
        "queueId": message.queue_id,
        "queueOffset": message.queue_offset,
        "messageId": message.unique_id(),
        "offsetMessageId": offset_id(message),
        "physicalOffset": message.physical_offset,
        "tags": message.tag(),
        "keys": message.property(names::KEYS),
        "reconsumeTimes": message.reconsume_times,
        "bornTimestamp": message.born_timestamp,
        "bornHost": message.born_host.to_string(),
        "storeTimestamp": message.store_timestamp,
        "storeHost": message.store_host.to_string(),
        "sysFlag": message.sys_flag,
        "properties": properties,
        "body": body(message),
    })
}

/// All of it, a line a field; `more` are properties that it gets on its way.
pub(super) fn lines(out: &mut dyn Write, message: &ReceivedMessage, more: &[(&str, String)]) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<20} {value}");
    let in_brackets = |text: Option<&str>| format!("[{}]", text.unwrap_or("null"));
    let own = property_list(message)
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"));
    let properties: Vec<String> = own
        .chain(more.iter().map(|(name, value)| format!("{name}={value}")))
        .collect();
    line("OffsetID:", &offset_id(message))?;
    line("Topic:", &message.topic)?;
    line("Tags:", &in_brackets(message.tag()))?;
    line("Keys:", &in_brackets(message.property(names::KEYS)))?;
    line("Queue ID:", &message.queue_id.to_string())?;
    line("Queue Offset:", &message.queue_offset.to_string())?;
    line("CommitLog Offset:", &message.physical_offset.to_string())?;
    line("Reconsume Times:", &message.reconsume_times.to_string())?;
    line("Born Timestamp:", &local_with_millis(message.born_timestamp))?;
    line("Store Timestamp:", &local_with_millis(message.store_timestamp))?;
    line("Born Host:", &message.born_host.to_string())?;
    line("Store Host:", &message.store_host.to_string())?;
    line("System Flag:", &message.sys_flag.to_string())?;
    line("Properties:", &format!("{{{}}}", properties.join(", ")))?;
    line("Message Body:", &body(message))
}
