//! A message queue as bodies name it, and maps keyed by one.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use crate::body::json::RawKey;
use crate::body::lenient;
use crate::model::{MessageQueue, NameError, QueueId, TopicName};

/// Topic, broker name and queue id, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, DeriveDeserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WireQueue {
    /// Name that a master and its slaves share.
    pub broker_name: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}

impl From<&MessageQueue> for WireQueue {
    fn from(queue: &MessageQueue) -> Self {
        Self {
            broker_name: queue.broker_name.to_string(),
            queue_id: queue.queue_id.to_wire(),
            topic: queue.topic.to_string(),
        }
    }
}

impl WireQueue {
    /// The queue with its topic checked; `None` for a negative queue id.
    ///
    /// # Errors
    /// A topic that is none.
    pub fn check(&self) -> Result<Option<MessageQueue>, NameError> {
        let topic = TopicName::new(&self.topic)?;
        let broker_name = self.broker_name.as_str().into();
        Ok(QueueId::from_wire(self.queue_id).map(|queue_id| MessageQueue {
            topic,
            broker_name,
            queue_id,
        }))
    }
}

/// A queue in the place of a map's key: written as an object, read from an object or from text that holds one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(WireQueue);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message queue")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Key, E> {
                lenient::from_slice(text.as_bytes()).map(Key).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Key, A::Error> {
                WireQueue::deserialize(MapAccessDeserializer::new(map)).map(Key)
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

fn raw_key(queue: &WireQueue) -> RawKey {
    // Two strings and a number always make JSON.
    RawKey(serde_json::to_string(queue).unwrap_or_default())
}

/// `#[serde(with = "queue::map")]` for a map from queues to values.
pub mod map {
    use super::{BTreeMap, Deserialize, Deserializer, Key, Serialize, SerializeMap, Serializer, WireQueue, raw_key};

    /// Writes queues as objects in the place of keys.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<V: Serialize, S: Serializer>(
        entries: &BTreeMap<WireQueue, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (queue, value) in entries {
            map.serialize_entry(&raw_key(queue), value)?;
        }
        map.end()
    }

    /// Reads what [`serialize`] writes; needs the lenient reader, as standard JSON has no such keys.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<WireQueue, V>, D::Error> {
        let entries = BTreeMap::<Key, V>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(|(key, value)| (key.0, value)).collect())
    }
}

/// `#[serde(with = "queue::map_of_maps")]` for a map from names to maps from queues to values.
pub mod map_of_maps {
    use super::{BTreeMap, Deserialize, Deserializer, Serialize, SerializeMap, Serializer, WireQueue};

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(bound(serialize = "V: Serialize", deserialize = "V: Deserialize<'de>"))]
    struct Inner<V>(#[serde(with = "super::map")] BTreeMap<WireQueue, V>);

    /// Writes queues as objects in the place of keys.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<V: Serialize + Clone, S: Serializer>(
        entries: &BTreeMap<String, BTreeMap<WireQueue, V>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (name, inner) in entries {
            map.serialize_entry(name, &Inner(inner.clone()))?;
        }
        map.end()
    }

    /// Reads what [`serialize`] writes.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, BTreeMap<WireQueue, V>>, D::Error> {
        let entries = BTreeMap::<String, Inner<V>>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(|(name, inner)| (name, inner.0)).collect())
    }
}
