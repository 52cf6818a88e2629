//! The entries of consume queues, as the queues' files have them.

use super::{Dump, Head, Stopped};
use crate::apache_store::ApacheStore;
use crate::apache_store::consume_queue::Slot;
use crate::store::files::{Error, StoreFiles, read_at, read_if_there};
use crate::store::open::Store;
use engine::inspect::{Manifest, PAGE_SIZE, Page, RunContent};
use protocol::model::ShardId;
use serde_json::json;
use std::fs::File;

/// An entry, whoever wrote it.
struct Found<'a> {
    topic: &'a str,
    queue_id: u32,
    queue_offset: u64,
    position: u64,
    record_size: u32,
    tag_hash: i64,
}

impl Dump<'_> {
    pub(super) fn entries(&mut self, store: &Store, shard: ShardId) -> Result<(), Stopped> {
        match store {
            Store::Own(files) => self.own_entries(files, shard),
            Store::Apache(store) => self.apache_entries(store),
        }
    }

    fn own_entries(&mut self, files: &StoreFiles, shard: ShardId) -> Result<(), Stopped> {
        let directory = files.shard_dir(shard).join("consumequeue");
        let manifest = read_if_there(&directory.join(Manifest::NAME))?;
        let Some(manifest) = manifest.and_then(|bytes| Manifest::decode(&bytes).ok()) else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        for &first_page in &manifest.files {
            let path = directory.join(format!("{first_page:020}"));
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            for page in first_page..first_page.saturating_add(manifest.file_pages).min(manifest.durable_end) {
                let at = u64::from(page - first_page) * PAGE_SIZE as u64;
                read_at(&file, at, PAGE_SIZE, &mut bytes).map_err(Error::io("read", &path))?;
                let Ok(page) = Page::check(&bytes, page, shard.get()) else {
                    continue;
                };
                for run in page.runs() {
                    let RunContent::Entries(entries) = &run.content else {
                        continue;
                    };
                    let first = u64::try_from(run.queue_offset).unwrap_or(0);
                    for (queue_offset, entry) in (first..).zip(entries) {
                        let (position, record_size, tag_hash) = (entry.position, entry.record_size, entry.tag_hash);
                        let (topic, queue_id) = (run.topic, run.queue_id);
                        let found = Found {
                            topic,
                            queue_id,
                            queue_offset,
                            position,
                            record_size,
                            tag_hash,
                        };
                        self.entry(shard, &found)?;
                    }
                }
                if self.limit == 0 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn apache_entries(&mut self, store: &ApacheStore) -> Result<(), Stopped> {
        for name in store.queues()? {
            let is_wanted = self.filter.topic.as_ref().is_none_or(|topic| *topic == name.topic)
                && self.filter.queue_id.is_none_or(|queue_id| queue_id == name.queue_id);
            if !is_wanted {
                continue;
            }
            let mut queue = store.consume_queue(&name)?;
            let read = |source| Error::Io {
                action: "read",
                path: store.root().to_owned(),
                source,
            };
            let (mut slot, end) = (queue.first_slot(), queue.end().map_err(read)?);
            while slot < end && self.limit > 0 {
                let slots = queue.slots(slot).map_err(read)?;
                for found in &slots {
                    if let Slot::Entry(entry) = found {
                        let found = Found {
                            topic: &name.topic,
                            queue_id: name.queue_id,
                            queue_offset: slot,
                            position: entry.position,
                            record_size: entry.record_size,
                            tag_hash: queue.tag_hash(entry)?.unwrap_or(entry.tag_hash),
                        };
                        self.entry(ShardId::ZERO, &found)?;
                    }
                    slot += 1;
                }
                if slots.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, shard: ShardId, found: &Found<'_>) -> Result<(), Stopped> {
        let filter = &self.filter;
        let is_wanted = filter.topic.as_deref().is_none_or(|topic| topic == found.topic)
            && filter.queue_id.is_none_or(|queue_id| queue_id == found.queue_id)
            && filter
                .queue_offsets
                .as_ref()
                .is_none_or(|range| range.contains(&found.queue_offset))
            && filter
                .positions
                .as_ref()
                .is_none_or(|range| range.contains(&found.position));
        if !is_wanted {
            return Ok(());
        }
        let details = [
            ("topic", json!(found.topic)),
            ("queueId", json!(found.queue_id)),
            ("queueOffset", json!(found.queue_offset)),
            ("tagHash", json!(found.tag_hash)),
        ];
        let size = usize::try_from(found.record_size).unwrap_or(usize::MAX);
        let head = Head {
            shard,
            position: found.position,
            kind: "entry",
            size,
            time: 0,
        };
        self.line(head, &details, &[])
    }
}
