//! What a start reads instead of pages: the manifest, and a directory for each full file.
//!
//! Both are small files of magic u32 | CRC-32 of the rest u32 | contents, replaced as a whole; numbers are big-endian.
//!
//! Manifest, `manifest`: version u16 | shard u8 | pages a file u32 | durable end (page number) u32 | rebuilt from u64 | number of
//! files u32 | first page of each u32. Files that it does not name are void.
//!
//! Directory, `<first page, 20 digits>.dir`: version u16 | shard u8 | first page u32 | rebuilt from u64 | end position u64 | topics u32
//! | each: length u16, bytes | runs u32 | each: kind u8, topic u32, queue id u32, page in file u32, at u16, entries u16, queue
//! offset i64, first position u64, last position u64. "Rebuilt from" there: with this file and those before it, and nothing
//! after, only records from this position on have to be fed again.

use super::page::{self, Content, Run};
use crate::index_file::{Reader, count_u32, seal, unseal};
use runtime::collections::{HashMap, hash_map};

const MANIFEST_MAGIC: u32 = 0x524d_434d; // RMCM
const DIRECTORY_MAGIC: u32 = 0x524d_4344; // RMCD
const VERSION: u16 = 1;

pub(super) const MANIFEST_NAME: &str = "manifest";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) shard: u8,
    pub(super) file_pages: u32,
    pub(super) durable_end: u32,
    pub(super) rebuilt_from: u64,
    pub(super) files: Vec<u32>,
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.push(self.shard);
        bytes.extend_from_slice(&self.file_pages.to_be_bytes());
        bytes.extend_from_slice(&self.durable_end.to_be_bytes());
        bytes.extend_from_slice(&self.rebuilt_from.to_be_bytes());
        bytes.extend_from_slice(&count_u32(self.files.len()).to_be_bytes());
        for first_page in &self.files {
            bytes.extend_from_slice(&first_page.to_be_bytes());
        }
        seal(MANIFEST_MAGIC, &bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Manifest, &'static str> {
        let mut reader = unseal(MANIFEST_MAGIC, bytes)?;
        if reader.u16() != Some(VERSION) {
            return Err("it is of another version");
        }
        Manifest::decode_fields(&mut reader).ok_or("it is too short")
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Manifest> {
        Some(Manifest {
            shard: reader.u8()?,
            file_pages: reader.u32()?,
            durable_end: reader.u32()?,
            rebuilt_from: reader.u64()?,
            files: {
                let count = reader.u32()?;
                (0..count).map(|_| reader.u32()).collect::<Option<_>>()?
            },
        })
    }
}

/// One run, wherever it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Entries {
        at: u16,
        count: u16,
        first_position: u64,
        last_position: u64,
    },
    Floor {
        position: u64,
    },
    Deleted {
        position: u64,
    },
}

/// A run with whose it is. `topic` is an index into [`Directory::topics`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedRun {
    pub(super) topic: u32,
    pub(super) queue_id: u32,
    pub(super) page_in_file: u32,
    pub(super) queue_offset: i64,
    pub(super) listed: Listed,
}

/// All runs of one file, in the order in which they were written.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) rebuilt_from: u64,
    pub(super) end_position: u64,
    pub(super) topics: Vec<String>,
    pub(super) runs: Vec<ListedRun>,
}

/// Makes a [`Directory`] from pages.
#[derive(Debug)]
pub(super) struct DirectoryBuilder {
    pub(super) directory: Directory,
    by_name: HashMap<String, u32>,
}

impl DirectoryBuilder {
    pub(super) fn new() -> DirectoryBuilder {
        DirectoryBuilder {
            directory: Directory::default(),
            by_name: hash_map(),
        }
    }

    /// Takes the runs of a checked page.
    pub(super) fn add_page(&mut self, page_in_file: u32, page: &[u8]) {
        for run in page::runs(page) {
            self.add_run(page_in_file, &run);
        }
    }

    fn add_run(&mut self, page_in_file: u32, run: &Run<'_>) {
        let (listed, end_position) = match run.content {
            Content::Entries(entries) => {
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                    return;
                };
                let listed = Listed::Entries {
                    at: entries.at,
                    count: u16::try_from(entries.len()).expect("a page is shorter than 2^16"),
                    first_position: first.position,
                    last_position: last.position,
                };
                (listed, last.position + 1)
            }
            Content::Floor { position } => (Listed::Floor { position }, position),
            Content::Deleted { position } => (Listed::Deleted { position }, position + 1),
        };
        let topic = self.topic(run.topic);
        self.directory.end_position = self.directory.end_position.max(end_position);
        self.directory.runs.push(ListedRun {
            topic,
            queue_id: run.queue_id,
            page_in_file,
            queue_offset: run.queue_offset,
            listed,
        });
    }

    fn topic(&mut self, topic: &str) -> u32 {
        if let Some(&index) = self.by_name.get(topic) {
            return index;
        }
        let index = count_u32(self.directory.topics.len());
        self.directory.topics.push(topic.to_owned());
        self.by_name.insert(topic.to_owned(), index);
        index
    }
}

const KIND_ENTRIES: u8 = 1;
const KIND_FLOOR: u8 = 2;
const KIND_DELETED: u8 = 3;

impl Directory {
    pub(super) fn encode(&self, shard: u8, first_page: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.push(shard);
        bytes.extend_from_slice(&first_page.to_be_bytes());
        bytes.extend_from_slice(&self.rebuilt_from.to_be_bytes());
        bytes.extend_from_slice(&self.end_position.to_be_bytes());
        bytes.extend_from_slice(&count_u32(self.topics.len()).to_be_bytes());
        for topic in &self.topics {
            let length = u16::try_from(topic.len()).expect("topics are checked against TOPIC_LENGTH_MAX");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(topic.as_bytes());
        }
        bytes.extend_from_slice(&count_u32(self.runs.len()).to_be_bytes());
        for run in &self.runs {
            run.encode(&mut bytes);
        }
        seal(DIRECTORY_MAGIC, &bytes)
    }

    pub(super) fn decode(bytes: &[u8], shard: u8, first_page: u32) -> Result<Directory, &'static str> {
        let mut reader = unseal(DIRECTORY_MAGIC, bytes)?;
        if reader.u16() != Some(VERSION) {
            return Err("it is of another version");
        }
        if reader.u8() != Some(shard) || reader.u32() != Some(first_page) {
            return Err("it belongs to another file");
        }
        Directory::decode_fields(&mut reader).ok_or("it does not parse")
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Option<Directory> {
        let rebuilt_from = reader.u64()?;
        let end_position = reader.u64()?;
        let topics = (0..reader.u32()?)
            .map(|_| {
                let length = reader.u16()?;
                let name = core::str::from_utf8(reader.take(usize::from(length))?).ok()?;
                Some(name.to_owned())
            })
            .collect::<Option<Vec<_>>>()?;
        let runs = (0..reader.u32()?)
            .map(|_| ListedRun::decode(reader, count_u32(topics.len())))
            .collect::<Option<Vec<_>>>()?;
        Some(Directory {
            rebuilt_from,
            end_position,
            topics,
            runs,
        })
    }
}

impl ListedRun {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let (kind, at, count, first_position, last_position) = match self.listed {
            Listed::Entries {
                at,
                count,
                first_position,
                last_position,
            } => (KIND_ENTRIES, at, count, first_position, last_position),
            Listed::Floor { position } => (KIND_FLOOR, 0, 0, position, position),
            Listed::Deleted { position } => (KIND_DELETED, 0, 0, position, position),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&self.topic.to_be_bytes());
        bytes.extend_from_slice(&self.queue_id.to_be_bytes());
        bytes.extend_from_slice(&self.page_in_file.to_be_bytes());
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(&self.queue_offset.to_be_bytes());
        bytes.extend_from_slice(&first_position.to_be_bytes());
        bytes.extend_from_slice(&last_position.to_be_bytes());
    }

    fn decode(reader: &mut Reader<'_>, topics: u32) -> Option<ListedRun> {
        let kind = reader.u8()?;
        let topic = reader.u32().filter(|&topic| topic < topics)?;
        let queue_id = reader.u32()?;
        let page_in_file = reader.u32()?;
        let (at, count) = (reader.u16()?, reader.u16()?);
        let queue_offset = reader.i64()?;
        let (first_position, last_position) = (reader.u64()?, reader.u64()?);
        let listed = match kind {
            KIND_ENTRIES if count > 0 => Listed::Entries {
                at,
                count,
                first_position,
                last_position,
            },
            KIND_FLOOR => Listed::Floor {
                position: first_position,
            },
            KIND_DELETED => Listed::Deleted {
                position: first_position,
            },
            _ => return None,
        };
        Some(ListedRun {
            topic,
            queue_id,
            page_in_file,
            queue_offset,
            listed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consume_queue::Entry;
    use crate::consume_queue::page::PageBuilder;

    #[test]
    fn a_manifest_reads_back() {
        let manifest = Manifest {
            shard: 3,
            file_pages: 16,
            durable_end: 33,
            rebuilt_from: 1 << 40,
            files: vec![0, 16, 32],
        };
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        assert!(Manifest::decode(&seal(MANIFEST_MAGIC, &[0, 9])).is_err());
        assert!(Manifest::decode(&seal(MANIFEST_MAGIC, &[0, 1, 0])).is_err());
    }

    #[test]
    fn a_directory_reads_back_and_only_for_its_own_file() {
        let mut page = PageBuilder::new(3);
        let entry = |position| Entry {
            position,
            record_size: 5,
            tag_hash: 0,
        };
        let at = page.push_entries("A", 1, 7, &[entry(50), entry(60)]);
        assert!(page.push_floor("B", 2, 8, 20));
        assert!(page.push_deleted("A", 90));
        let mut builder = DirectoryBuilder::new();
        builder.add_page(4, &page.finish(20));
        let mut directory = builder.directory;
        directory.rebuilt_from = 33;
        assert_eq!((directory.end_position, directory.topics.len()), (91, 2));
        let bytes = directory.encode(3, 16);
        let read = Directory::decode(&bytes, 3, 16).unwrap();
        assert_eq!((&read.runs, &read.topics), (&directory.runs, &directory.topics));
        assert_eq!((read.rebuilt_from, read.end_position), (33, 91));
        let expected = Listed::Entries {
            at,
            count: 2,
            first_position: 50,
            last_position: 60,
        };
        assert_eq!((read.runs[0].queue_offset, &read.runs[0].listed), (7, &expected));
        assert!(Directory::decode(&bytes, 3, 32).is_err());
        assert!(Directory::decode(&bytes, 4, 16).is_err());
    }
}
