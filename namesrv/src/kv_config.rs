//! Small texts by namespace and key, kept in one file: `kvConfigPath`.
//!
//! The file is `{"configTable":{"NAMESPACE":{"KEY":"VALUE"}}}`, as RocketMQ's `KVConfigManager` writes it.

use protocol::body::stats::KvTable;
use protocol::body::{BodyError, from_slice, to_standard_json};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Namespace of the queue counts of order topics.
pub const ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";
/// Bytes of all namespaces, keys and values together: a bound on what strangers can store.
const SIZE_MAX: usize = 64 * 1024 * 1024;

/// The texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KvConfig {
    config_table: BTreeMap<String, BTreeMap<String, String>>,
}

/// There is no room for one more text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the KV config holds {SIZE_MAX} bytes already, its limit; delete keys first")]
pub struct Full;

impl KvConfig {
    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// When they are no such JSON.
    pub fn from_bytes(bytes: &[u8]) -> Result<KvConfig, BodyError> {
        from_slice(bytes)
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        to_standard_json(self)
    }

    /// Sets a value.
    ///
    /// # Errors
    /// When there is no room.
    pub fn put(&mut self, namespace: &str, key: &str, value: &str) -> Result<(), Full> {
        if self.size() + namespace.len() + key.len() + value.len() > SIZE_MAX {
            return Err(Full);
        }
        self.config_table
            .entry(namespace.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// A value.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<&str> {
        self.config_table.get(namespace)?.get(key).map(String::as_str)
    }

    /// Removes a value. The namespace stays, also when it is empty.
    pub fn delete(&mut self, namespace: &str, key: &str) {
        if let Some(values) = self.config_table.get_mut(namespace) {
            values.remove(key);
        }
    }

    /// All values of a namespace; `None` if there is no such namespace.
    #[must_use]
    pub fn list(&self, namespace: &str) -> Option<KvTable> {
        self.config_table
            .get(namespace)
            .map(|values| KvTable { table: values.clone() })
    }

    fn size(&self) -> usize {
        let values = self.config_table.iter().flat_map(|(namespace, values)| {
            values
                .iter()
                .map(|(key, value)| namespace.len() + key.len() + value.len())
        });
        values.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_until_they_are_deleted() {
        let mut kv = KvConfig::default();
        kv.put("n", "k", "1").unwrap();
        kv.put("n", "k", "2").unwrap();
        assert_eq!(kv.get("n", "k"), Some("2"));
        assert_eq!(kv.get("m", "k"), None);
        assert_eq!(kv.list("n").unwrap().table.len(), 1);
        assert_eq!(kv.list("m"), None);
        kv.delete("n", "k");
        kv.delete("m", "k");
        assert_eq!(kv.get("n", "k"), None);
        assert_eq!(kv.list("n").unwrap().table.len(), 0);
    }

    #[test]
    fn the_file_is_apaches() {
        let mut kv = KvConfig::default();
        kv.put("ORDER_TOPIC_CONFIG", "T", "b:4").unwrap();
        assert_eq!(kv.to_bytes(), br#"{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"b:4"}}}"#);
        assert_eq!(KvConfig::from_bytes(&kv.to_bytes()).unwrap(), kv);
        assert_eq!(KvConfig::from_bytes(b"{}").unwrap(), KvConfig::default());
        assert!(KvConfig::from_bytes(b"{").is_err());
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let mut kv = KvConfig::default();
        let value = "x".repeat(15 << 20);
        let stored = (0..10).filter(|n| kv.put("n", &n.to_string(), &value).is_ok()).count();
        assert_eq!(stored, 4);
    }
}
