//! Heartbeat (34) of a client: its producer groups, its consumer groups and what they subscribe to; and the check of a filter (46).
//!
//! A second version leaves the subscriptions out ([`HeartbeatData::without_sub`]) while the fingerprint of the client's data stays.

use serde::{Deserialize, Serialize};

use crate::body::subscription::SubscriptionData;

/// Declares an enum that Java writes by name and also reads by position; anything else reads as the default.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident $text:literal $position:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum $name { $(
            #[doc = concat!("`", $text, "`")]
            $(#[$variant_meta])* $variant,
        )* }

        impl $name {
            /// The name in bodies.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextOrPosition;
                impl serde::de::Visitor<'_> for TextOrPosition {
                    type Value = $name;
                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str(concat!("a ", stringify!($name)))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        Ok(match text { $($text => $name::$variant,)* _ => $name::default() })
                    }
                    fn visit_i64<E: serde::de::Error>(self, position: i64) -> Result<$name, E> {
                        Ok(match position { $($position => $name::$variant,)* _ => $name::default() })
                    }
                    fn visit_u64<E: serde::de::Error>(self, position: u64) -> Result<$name, E> {
                        self.visit_i64(i64::try_from(position).unwrap_or(-1))
                    }
                    fn visit_unit<E: serde::de::Error>(self) -> Result<$name, E> {
                        Ok($name::default())
                    }
                }
                deserializer.deserialize_any(TextOrPosition)
            }
        }
    };
}

text_enum! {
    /// How a consumer group gets its messages.
    ConsumeType {
        Actively "CONSUME_ACTIVELY" 0,
        #[default]
        Passively "CONSUME_PASSIVELY" 1,
        Pop "CONSUME_POP" 2,
    }
}

text_enum! {
    /// Whether each message goes to one member of a consumer group or to all.
    MessageModel {
        Broadcasting "BROADCASTING" 0,
        #[default]
        Clustering "CLUSTERING" 1,
        LiteSelective "LITE_SELECTIVE" 2,
    }
}

text_enum! {
    /// Where a consumer group without offsets starts.
    ConsumeFromWhere {
        #[default]
        LastOffset "CONSUME_FROM_LAST_OFFSET" 0,
        LastOffsetAndFromMinWhenBootFirst "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST" 1,
        MinOffset "CONSUME_FROM_MIN_OFFSET" 2,
        MaxOffset "CONSUME_FROM_MAX_OFFSET" 3,
        FirstOffset "CONSUME_FROM_FIRST_OFFSET" 4,
        Timestamp "CONSUME_FROM_TIMESTAMP" 5,
    }
}

/// A consumer group of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumerData {
    /// Where it starts.
    pub consume_from_where: ConsumeFromWhere,
    /// How it gets its messages.
    pub consume_type: ConsumeType,
    /// Its name.
    pub group_name: String,
    /// To one member or to all.
    pub message_model: MessageModel,
    /// What it subscribes to.
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Of unit deployments.
    pub unit_mode: bool,
}

/// A producer group of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProducerData {
    /// Its name.
    pub group_name: String,
}

/// Body of 34.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HeartbeatData {
    /// Names the client, mostly `ip@pid#nanos`.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Its consumer groups.
    pub consumer_data_set: Vec<ConsumerData>,
    /// Hash of all that the client says; 0 in the first version.
    pub heartbeat_fingerprint: i32,
    /// Its producer groups.
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions are left out, since they did not change.
    pub without_sub: bool,
}

/// Body of 46.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CheckClientRequestBody {
    /// The client.
    pub client_id: String,
    /// Its consumer group.
    pub group: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The subscription to be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::from_slice;

    #[test]
    fn the_cpp_clients_heartbeat_with_numbers_for_enums_and_text_for_numbers_is_read() {
        let body = br#"{"clientID":"c","consumerDataSet":[{"consumeFromWhere":4,"consumeType":1,"groupName":"g","messageModel":0,
            "subscriptionDataSet":[{"classFilterMode":false,"codeSet":["2598919"],"subString":"TagA","subVersion":"17",
            "tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"producerDataSet":null}"#;
        let data: HeartbeatData = from_slice(body).unwrap();
        let group = &data.consumer_data_set[0];
        assert_eq!(group.consume_from_where, ConsumeFromWhere::FirstOffset);
        assert_eq!(
            (group.consume_type, group.message_model),
            (ConsumeType::Passively, MessageModel::Broadcasting)
        );
        let subscription = &group.subscription_data_set[0];
        assert_eq!(
            subscription,
            &SubscriptionData {
                sub_version: 17,
                ..SubscriptionData::of_tags("T", "TagA").unwrap()
            }
        );
    }
}
