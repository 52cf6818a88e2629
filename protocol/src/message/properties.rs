//! Properties of a message as one text: `name` 0x01 `value` 0x02, again and again; the last 0x02 may be missing.
//!
//! Nothing is escaped. As in Java's `MessageDecoder`, an entry without a name, without a value or without 0x01 is skipped, a name ends
//! at its first 0x01, and of equal names the last holds.

/// Between a name and its value.
pub const NAME_VALUE_SEPARATOR: char = '\u{1}';
/// Behind a value.
pub const PROPERTY_SEPARATOR: char = '\u{2}';
/// Between the keys of [`names::KEYS`].
pub const KEY_SEPARATOR: char = ' ';

macro_rules! names {
    ($($(#[$meta:meta])* $name:ident $text:literal;)*) => {
        /// Names of properties (RocketMQ's `MessageConst`).
        pub mod names {
            $(
                $(#[$meta])*
                #[doc = concat!("`", $text, "`")]
                pub const $name: &str = $text;
            )*

            /// All of them. RocketMQ's clients refuse these to users.
            pub const ALL: &[&str] = &[$($name),*];
        }
    };
}

names! {
    /// Keys to find the message by, separated by blanks.
    KEYS "KEYS";
    /// The tag.
    TAGS "TAGS";
    /// `false`: do not wait for flush and slaves.
    WAIT "WAIT";
    /// Delay level, 1 to 18.
    DELAY "DELAY";
    /// Topic that a retry message came from.
    RETRY_TOPIC "RETRY_TOPIC";
    /// Group that a retry message belongs to.
    ORIGIN_GROUP "ORIGIN_GROUP";
    /// Topic that a delayed or half message is meant for.
    REAL_TOPIC "REAL_TOPIC";
    /// Queue that a delayed or half message is meant for.
    REAL_QID "REAL_QID";
    /// `true`: a half message.
    TRAN_MSG "TRAN_MSG";
    /// Producer group.
    PGROUP "PGROUP";
    /// Set by clients after a pull.
    MIN_OFFSET "MIN_OFFSET";
    /// Set by clients after a pull.
    MAX_OFFSET "MAX_OFFSET";
    /// Historic.
    BUYER_ID "BUYER_ID";
    /// Id of the message at its first delivery.
    ORIGIN_MESSAGE_ID "ORIGIN_MESSAGE_ID";
    /// Historic.
    TRANSFER_FLAG "TRANSFER_FLAG";
    /// Historic.
    CORRECTION_FLAG "CORRECTION_FLAG";
    /// Historic.
    MQ2_FLAG "MQ2_FLAG";
    /// Tries so far, if a client sends the retry itself.
    RECONSUME_TIME "RECONSUME_TIME";
    /// Region of the broker.
    MSG_REGION "MSG_REGION";
    /// Whether clients shall trace.
    TRACE_ON "TRACE_ON";
    /// The unique id, made by the client.
    UNIQ_KEY "UNIQ_KEY";
    /// Of Apache's RocksDB transactions.
    TRANS_OFFSET "TRANS_OFFSET";
    /// Historic.
    EXTEND_UNIQ_INFO "EXTEND_UNIQ_INFO";
    /// Tries until the dead letter queue.
    MAX_RECONSUME_TIMES "MAX_RECONSUME_TIMES";
    /// Local to clients.
    CONSUME_START_TIME "CONSUME_START_TIME";
    /// Priority.
    PRIORITY "_SYS_MSG_PRIORITY_";
    /// Messages in an inner batch.
    INNER_NUM "INNER_NUM";
    /// First queue offset of an inner batch.
    INNER_BASE "INNER_BASE";
    /// Marks a message that was sent twice.
    DUP_INFO "DUP_INFO";
    /// Seconds before the first check-back.
    CHECK_IMMUNITY_TIME_IN_SECONDS "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Queue offset of the first half message.
    TRAN_PREPARED_QUEUE_OFFSET "TRAN_PREPARED_QUEUE_OFFSET";
    /// Transaction id.
    TRANSACTION_ID "__transactionId__";
    /// Check-backs so far.
    TRANSACTION_CHECK_TIMES "TRANSACTION_CHECK_TIMES";
    /// Namespace of a client.
    INSTANCE_ID "INSTANCE_ID";
    /// Ties a reply message to its request message.
    CORRELATION_ID "CORRELATION_ID";
    /// Client that waits for a reply message.
    REPLY_TO_CLIENT "REPLY_TO_CLIENT";
    /// Milliseconds that a request message waits.
    TTL "TTL";
    /// When a reply message came in.
    ARRIVE_TIME "ARRIVE_TIME";
    /// When a reply message went out.
    PUSH_REPLY_TIME "PUSH_REPLY_TIME";
    /// Cluster of the broker.
    CLUSTER "CLUSTER";
    /// `reply`: a reply message.
    MSG_TYPE "MSG_TYPE";
    /// Receipt of a pop.
    POP_CK "POP_CK";
    /// Of a pop retry.
    POP_CK_OFFSET "POP_CK_OFFSET";
    /// When the message was popped first.
    FIRST_POP_TIME "1ST_POP_TIME";
    /// Key by which a producer chose the queue.
    SHARDING_KEY "__SHARDINGKEY";
    /// Lite topic.
    LITE_TOPIC "__LITE_TOPIC";
    /// Queue, when brokers stand in for each other.
    FORWARD_QUEUE_ID "PROPERTY_FORWARD_QUEUE_ID";
    /// Set when brokers stand in for each other.
    REDIRECT "REDIRECT";
    /// Further queues of the message.
    INNER_MULTI_DISPATCH "INNER_MULTI_DISPATCH";
    /// Its offsets there.
    INNER_MULTI_QUEUE_OFFSET "INNER_MULTI_QUEUE_OFFSET";
    /// Trace context.
    TRACE_CONTEXT "TRACE_CONTEXT";
    /// Seconds of delay.
    TIMER_DELAY_SEC "TIMER_DELAY_SEC";
    /// Time of delivery, milliseconds since 1970.
    TIMER_DELIVER_MS "TIMER_DELIVER_MS";
    /// Overrides the born host.
    BORN_HOST "__BORNHOST";
    /// Overrides the born timestamp.
    BORN_TIMESTAMP "BORN_TIMESTAMP";
    /// When a timer message entered its timer.
    TIMER_ENQUEUE_MS "TIMER_ENQUEUE_MS";
    /// When a timer message left its timer.
    TIMER_DEQUEUE_MS "TIMER_DEQUEUE_MS";
    /// How often a timer message went round.
    TIMER_ROLL_TIMES "TIMER_ROLL_TIMES";
    /// When a timer message is due.
    TIMER_OUT_MS "TIMER_OUT_MS";
    /// Unique id of the timer message to be called back.
    TIMER_DEL_UNIQKEY "TIMER_DEL_UNIQKEY";
    /// Of a timer message that goes round.
    TIMER_ROLL_LABEL "TIMER_ROLL_LABEL";
    /// Delay level of a timer message.
    TIMER_DELAY_LEVEL "TIMER_DELAY_LEVEL";
    /// Milliseconds of delay.
    TIMER_DELAY_MS "TIMER_DELAY_MS";
    /// CRC of the whole record, if Apache is told to append it.
    CRC32 "__CRC32#";
    /// Topic that a dead letter came from.
    DLQ_ORIGIN_TOPIC "DLQ_ORIGIN_TOPIC";
    /// Id that a dead letter had.
    DLQ_ORIGIN_MESSAGE_ID "DLQ_ORIGIN_MESSAGE_ID";
}

/// Names and values, in order.
pub fn iter(properties: &str) -> impl Iterator<Item = (&str, &str)> {
    properties.split(PROPERTY_SEPARATOR).filter_map(|entry| {
        let (name, value) = entry.split_once(NAME_VALUE_SEPARATOR)?;
        (!name.is_empty() && !value.is_empty()).then_some((name, value))
    })
}

/// Value under a name; the last, if there are several.
#[must_use]
pub fn get<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    iter(properties)
        .filter(|(found, _)| *found == name)
        .last()
        .map(|(_, value)| value)
}

/// Appends an entry. An empty value is left out: no reader would see it.
pub fn push(properties: &mut String, name: &str, value: &str) {
    if value.is_empty() || name.is_empty() {
        return;
    }
    if !properties.is_empty() && !properties.ends_with(PROPERTY_SEPARATOR) {
        properties.push(PROPERTY_SEPARATOR);
    }
    properties.push_str(name);
    properties.push(NAME_VALUE_SEPARATOR);
    properties.push_str(value);
    properties.push(PROPERTY_SEPARATOR);
}

/// The properties without those names.
#[must_use]
pub fn without(properties: &str, names: &[&str]) -> String {
    let mut kept = String::with_capacity(properties.len());
    for (name, value) in iter(properties) {
        if !names.contains(&name) {
            push(&mut kept, name, value);
        }
    }
    kept
}

/// The properties with one value set, in place of any before.
#[must_use]
pub fn with(properties: &str, name: &str, value: &str) -> String {
    let mut set = without(properties, &[name]);
    push(&mut set, name, value);
    set
}

/// The keys of a message, without its unique id.
pub fn keys(properties: &str) -> impl Iterator<Item = &str> {
    get(properties, names::KEYS)
        .unwrap_or("")
        .split(KEY_SEPARATOR)
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_java_skips_are_skipped() {
        let entries = |text| iter(text).collect::<Vec<_>>();
        assert_eq!(entries("a\u{1}b\u{2}c\u{1}d"), [("a", "b"), ("c", "d")]);
        assert_eq!(
            entries("a\u{1}\u{2}\u{1}b\u{2}nothing\u{2}\u{2}c\u{1}d\u{1}e\u{2}"),
            [("c", "d\u{1}e")]
        );
        assert_eq!(entries(""), []);
    }

    #[test]
    fn setting_replaces_and_removing_drops_every_entry_of_the_name() {
        let text = "a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3";
        assert_eq!(get(text, "a"), Some("3"));
        assert_eq!(with(text, "a", "4"), "b\u{1}2\u{2}a\u{1}4\u{2}");
        assert_eq!(without(text, &["a"]), "b\u{1}2\u{2}");
        assert_eq!(with("a\u{1}1", "b", ""), "a\u{1}1\u{2}");
    }

    #[test]
    fn pushing_behind_an_open_entry_closes_it() {
        let mut text = "a\u{1}1".to_owned();
        push(&mut text, "b", "2");
        assert_eq!(text, "a\u{1}1\u{2}b\u{1}2\u{2}");
    }

    #[test]
    fn keys_are_split_at_blanks() {
        assert_eq!(keys("KEYS\u{1}a  b c\u{2}").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(keys("TAGS\u{1}a\u{2}").count(), 0);
    }
}
