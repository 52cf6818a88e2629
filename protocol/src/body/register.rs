//! Body of a broker's registration (103): JSON, or deflated and binary, big-endian:
//!
//! ```text
//! length i32, data version as JSON | count i32, then a topic each: length i32, its line of text |
//! length i32, filter servers as JSON | from 5.0.0 on: count i32, then a static topic each: length i32, its mapping as JSON
//! ```

use std::io::{Read, Write};

use bytes::{Buf, BufMut};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

use crate::body::lenient::{self, BodyError};
use crate::body::route::QueueMapping;
use crate::body::to_java_json;
use crate::body::topic::{DataVersion, TopicConfig, TopicConfigAndMappingSerializeWrapper};
use crate::version::Version;

/// Most bytes that a deflated body may hold: half a million topics.
pub const INFLATED_SIZE_MAX: u64 = 64 * 1024 * 1024;

/// What a broker registers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RegisterBrokerBody {
    /// Filter servers; gone since 5.0.
    pub filter_server_list: Vec<String>,
    /// The topics.
    pub topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper,
}

fn put_block(out: &mut Vec<u8>, block: &[u8]) {
    out.put_i32(i32::try_from(block.len()).unwrap_or(i32::MAX));
    out.put_slice(block);
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn take_i32(bytes: &mut &[u8], field: &'static str) -> Result<i32, BodyError> {
    bytes.try_get_i32().map_err(|_| BodyError::Binary { field })
}

fn take_block<'a>(bytes: &mut &'a [u8], field: &'static str) -> Result<&'a [u8], BodyError> {
    let length = usize::try_from(take_i32(bytes, field)?).ok();
    let (block, rest) = length
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or(BodyError::Binary { field })?;
    *bytes = rest;
    Ok(block)
}

impl RegisterBrokerBody {
    /// Reads either form; `version` is that of the broker, from the frame.
    ///
    /// # Errors
    /// Broken JSON or deflate, lengths that do not fit, or more than [`INFLATED_SIZE_MAX`] bytes.
    pub fn decode(body: &[u8], compressed: bool, version: Version) -> Result<Self, BodyError> {
        if !compressed {
            return lenient::from_slice(body);
        }
        let mut bytes = Vec::new();
        let inflated = ZlibDecoder::new(body)
            .take(INFLATED_SIZE_MAX + 1)
            .read_to_end(&mut bytes);
        if inflated.is_err() || bytes.len() as u64 > INFLATED_SIZE_MAX {
            return Err(BodyError::Binary { field: "deflated data" });
        }
        Self::decode_blocks(&bytes, version)
    }

    fn decode_blocks(mut bytes: &[u8], version: Version) -> Result<Self, BodyError> {
        let bytes = &mut bytes;
        let mut body = Self::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        wrapper.data_version = lenient::from_slice::<DataVersion>(take_block(bytes, "data version")?)?;
        for _ in 0..take_i32(bytes, "number of topics")? {
            let line = core::str::from_utf8(take_block(bytes, "topic")?)
                .ok()
                .and_then(TopicConfig::from_text);
            let topic = line.ok_or(BodyError::Binary { field: "topic" })?;
            wrapper.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        body.filter_server_list = lenient::from_slice(take_block(bytes, "filter servers")?)?;
        if version >= Version::V5_0_0 && !bytes.is_empty() {
            for _ in 0..take_i32(bytes, "number of mappings")? {
                let mapping: QueueMapping = lenient::from_slice(take_block(bytes, "mapping")?)?;
                wrapper
                    .topic_queue_mapping_info_map
                    .insert(mapping.topic.clone(), mapping);
            }
        }
        Ok(body)
    }

    /// Writes either form, the compressed one as 5.0.0 and later have it.
    ///
    /// # Panics
    /// Never: memory takes all bytes.
    #[must_use]
    pub fn encode(&self, compressed: bool) -> Vec<u8> {
        if !compressed {
            return to_java_json(self);
        }
        let wrapper = &self.topic_config_serialize_wrapper;
        let mut blocks = Vec::new();
        put_block(&mut blocks, &to_java_json(&wrapper.data_version));
        blocks.put_i32(count(wrapper.topic_config_table.len()));
        for topic in wrapper.topic_config_table.values() {
            put_block(&mut blocks, topic.to_text().as_bytes());
        }
        put_block(&mut blocks, &to_java_json(&self.filter_server_list));
        blocks.put_i32(count(wrapper.topic_queue_mapping_info_map.len()));
        for mapping in wrapper.topic_queue_mapping_info_map.values() {
            put_block(&mut blocks, &to_java_json(mapping));
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder
            .write_all(&blocks)
            .and_then(|()| encoder.finish())
            .expect("memory takes all bytes")
    }
}

/// CRC32 of a registration's body, as `bodyCrc32` has it: 31 bits (RocketMQ's `UtilAll.crc32`).
#[must_use]
pub fn body_crc32(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7fff_ffff).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> RegisterBrokerBody {
        let mut body = RegisterBrokerBody::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        wrapper.data_version = DataVersion {
            counter: 1,
            state_version: 2,
            timestamp: 3,
        };
        for name in ["A", "B"] {
            wrapper.topic_config_table.insert(
                name.into(),
                TopicConfig {
                    topic_name: name.into(),
                    attributes: [("message.type".to_owned(), "FIFO".to_owned())].into(),
                    ..TopicConfig::default()
                },
            );
        }
        body
    }

    #[test]
    fn a_registration_reads_back_from_either_form() {
        for compressed in [false, true] {
            assert_eq!(
                RegisterBrokerBody::decode(&body().encode(compressed), compressed, Version::V5_5_0),
                Ok(body())
            );
        }
    }

    #[test]
    fn a_cut_registration_and_one_that_inflates_without_end_are_refused() {
        let encoded = body().encode(true);
        for length in 0..encoded.len() - 4 {
            assert!(
                RegisterBrokerBody::decode(&encoded[..length], true, Version::V5_5_0).is_err(),
                "cut to {length}"
            );
        }
        let mut bomb = ZlibEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![0; 1024 * 1024];
        for _ in 0..65 {
            bomb.write_all(&zeros).unwrap();
        }
        let bomb = bomb.finish().unwrap();
        let error = RegisterBrokerBody::decode(&bomb, true, Version::V5_5_0).unwrap_err();
        assert_eq!(error, BodyError::Binary { field: "deflated data" });
    }
}
