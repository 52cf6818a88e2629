//! The key index beside the log: entries lie in the order of the messages, so both are read once, together. Each file's table is
//! built again from its entries and compared.

use super::{Part, Stopped, Verify};
use crate::apache_store::ApacheStore;
use crate::apache_store::key_index::{IndexEntry, IndexFile, key_hash, tag_key_hash};
use crate::apache_store::record_walk::RecordWalk;
use crate::store::files::Error;
use engine::inspect::keys;
use protocol::message::properties::names;
use protocol::message::record::RecordView;
use std::collections::VecDeque;

/// Entries that are remembered because no message lies where they point to.
const STRAY_MAX: usize = 100;

/// Goes over the entries of all files.
#[derive(Debug)]
pub(super) struct IndexCursor {
    files: VecDeque<IndexFile>,
    next_entry: u64,
    entries: VecDeque<IndexEntry>,
    taken: u64,
    /// Entries that point between messages: file and place.
    stray: Vec<u64>,
    last_position: Option<u64>,
}

impl IndexCursor {
    pub(super) fn open(store: &ApacheStore) -> Result<IndexCursor, Error> {
        Ok(IndexCursor {
            files: store.index_files()?.into(),
            next_entry: 1,
            entries: VecDeque::new(),
            taken: 0,
            stray: Vec::new(),
            last_position: None,
        })
    }

    fn peek(&mut self) -> Result<Option<IndexEntry>, Error> {
        while self.entries.is_empty() {
            let Some(file) = self.files.front() else {
                return Ok(None);
            };
            self.entries = file.entries(self.next_entry)?.into();
            self.next_entry += self.entries.len() as u64;
            if self.entries.is_empty() {
                self.files.pop_front();
                self.next_entry = 1;
            }
        }
        Ok(self.entries.front().copied())
    }

    fn take(&mut self) {
        self.entries.pop_front();
        self.taken += 1;
    }

    /// Passes over entries of what is damaged.
    pub(super) fn skip_to(&mut self, position: u64) -> Result<(), Error> {
        while self.peek()?.is_some_and(|entry| entry.position < position) {
            self.take();
        }
        Ok(())
    }

    /// Whether the entries of a message are those that its keys ask for.
    pub(super) fn compare(&mut self, record: &RecordView<'_>, position: u64) -> Result<Result<(), String>, Error> {
        let mut found = Vec::new();
        while let Some(entry) = self.peek()?.filter(|entry| entry.position <= position) {
            self.take();
            if entry.position == position {
                found.push(entry.key_hash);
            } else if self.last_position.is_some_and(|last| entry.position > last) && self.stray.len() < STRAY_MAX {
                // It points behind the message before this one, and not to this one. Entries that point further back were
                // written again by a recovery of Apache's.
                self.stray.push(entry.position);
            }
        }
        self.last_position = Some(position);
        if found.is_empty() && self.peek()?.is_none() {
            // Not there yet, or there is no index.
            return Ok(Ok(()));
        }
        let mut expected: Vec<u32> = keys(record).map(|key| key_hash(record.topic, key)).collect();
        let tag = record.property(names::TAGS).map(|tag| tag_key_hash(record.topic, tag));
        // Whether tags are indexed depends on the version that wrote the entries.
        if found.len() > expected.len() {
            expected.extend(tag);
        }
        expected.sort_unstable();
        found.sort_unstable();
        if expected == found {
            return Ok(Ok(()));
        }
        Ok(Err(format!(
            "the key index has {} entries of the message at {position} where {} are wanted, or entries of other keys",
            found.len(),
            expected.len()
        )))
    }
}

impl Verify<'_> {
    /// Tells what the cursor has met, and checks the tables.
    pub(super) fn index(&mut self, mut index: IndexCursor, walk: &RecordWalk) -> Result<(), Stopped> {
        let end = walk.position();
        while let Some(entry) = index.peek()? {
            index.take();
            if entry.position >= end && !self.store.was_not_closed() && index.stray.len() < STRAY_MAX {
                index.stray.push(entry.position);
            }
        }
        self.counts.index_entries = index.taken;
        for position in index.stray {
            let reason = format!("the key index has an entry that points to {position}, where no message begins");
            self.found(Part::KeyIndex, None, reason)?;
        }
        for file in self.store.index_files()? {
            if let Some(reason) = check_table(&file)? {
                let reason = format!("{}: {reason}", file.path().display());
                self.found(Part::KeyIndex, None, reason)?;
            }
        }
        Ok(())
    }
}

/// What is wrong with a file's table, if something is.
fn check_table(file: &IndexFile) -> Result<Option<String>, Error> {
    let Some(header) = file.header else {
        return Ok(Some("it is too short".to_owned()));
    };
    if header.next_entry > file.entries_max || file.slots == 0 {
        return Ok(Some(format!(
            "its head says that {} entries are used, but it has space for {}",
            header.next_entry, file.entries_max
        )));
    }
    let on_disk = file.slot_table()?;
    let mut table = vec![0_u32; on_disk.len()];
    let mut number = 1;
    loop {
        let entries = file.entries(number)?;
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            let slot = usize::try_from(u64::from(entry.key_hash) % file.slots).unwrap_or(0);
            let Some(newest) = table.get_mut(slot) else { break };
            if entry.before != *newest {
                return Ok(Some(format!(
                    "entry {number} is chained to {}, but the one before it in its slot is {newest}",
                    entry.before
                )));
            }
            *newest = u32::try_from(number).unwrap_or(0);
            number += 1;
        }
    }
    // A broker that is running goes on to add entries: their numbers are higher than all that were read.
    let differs = table
        .iter()
        .zip(&on_disk)
        .position(|(built, there)| built != there && u64::from(*there) < number);
    Ok(differs.map(|slot| {
        let there = on_disk.get(slot).copied().unwrap_or_default();
        let built = table.get(slot).copied().unwrap_or_default();
        format!("slot {slot} says entry {there}, but its newest is {built}")
    }))
}
