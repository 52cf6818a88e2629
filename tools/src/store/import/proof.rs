//! What a queue holds, in a few numbers, made once from the log that is imported and once from the queue as a consumer would read it.

use engine::{ReadError, ReadRequest, Shard};
use protocol::message::record::{PHYSICAL_OFFSET_AT, RecordView, Records};
use protocol::model::QueueOffset;
use std::collections::BTreeMap;
use std::fmt;

/// Messages that are read at once.
const MESSAGES_AT_ONCE: usize = 10_000;

/// What one queue holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Proof {
    first: i64,
    next: i64,
    messages: u64,
    /// CRC-32 over all records in their order, without their physical offsets.
    crc: u32,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages from {} to {} (CRC {:08x})",
            self.messages, self.first, self.next, self.crc
        )
    }
}

/// What all queues with messages hold.
#[derive(Debug, Default)]
pub(super) struct QueueProofs(BTreeMap<(String, u32), Proof>);

impl QueueProofs {
    pub(super) fn queues(&self) -> impl Iterator<Item = (&(String, u32), &Proof)> {
        self.0.iter()
    }

    pub(super) fn get(&self, queue: &(String, u32)) -> Option<&Proof> {
        self.0.get(queue)
    }

    pub(super) fn messages(&self) -> u64 {
        self.0.values().map(|proof| proof.messages).sum()
    }

    /// Takes a record of the log, by the rules that an import has for queue offsets.
    pub(super) fn add_in_order(&mut self, view: &RecordView<'_>) {
        let queue = (view.topic.to_owned(), view.queue_id.get());
        let next = self.0.get(&queue).map_or(i64::MIN, |proof| proof.next);
        if view.queue_offset.0 < next {
            if view.queue_offset.0 != 0 {
                return;
            }
            self.0.retain(|(topic, _queue_id), _proof| topic != view.topic);
        }
        self.add(queue, view);
    }

    fn add(&mut self, queue: (String, u32), view: &RecordView<'_>) {
        let proof = self.0.entry(queue).or_insert_with(|| Proof {
            first: view.queue_offset.0,
            ..Proof::default()
        });
        proof.next = view.queue_offset.0.saturating_add(1);
        proof.messages += 1;
        let (before, rest) = view.bytes.split_at_checked(PHYSICAL_OFFSET_AT).unwrap_or_default();
        let mut hasher = crc32fast::Hasher::new_with_initial(proof.crc);
        hasher.update(before);
        hasher.update(rest.get(8..).unwrap_or_default());
        proof.crc = hasher.finalize();
    }
}

/// Reads all queues of a shard.
pub(super) async fn read_back(shard: &Shard, proofs: &mut QueueProofs) -> Result<(), String> {
    let mut queues = Vec::new();
    shard.for_each_queue(|slot, topic, queue_id, bounds| queues.push((slot, topic.to_owned(), queue_id, bounds)));
    for (slot, topic, queue_id, (min, max)) in queues {
        let mut from = min;
        while from < max {
            let request = ReadRequest {
                queue: slot,
                from,
                max_messages: MESSAGES_AT_ONCE,
                max_bytes: None,
                filter: None,
            };
            let read = match shard.read(&request).await {
                Ok(read) => read,
                // A hole that the imported log had too.
                Err(ReadError::Lost { queue_offsets, .. }) if queue_offsets.end > from.0 => {
                    from = QueueOffset(queue_offsets.end);
                    continue;
                }
                Err(error) => return Err(error.to_string()),
            };
            if read.next <= from {
                return Err(format!(
                    "queue {queue_id} of topic {topic} cannot be read beyond {}",
                    from.0
                ));
            }
            for part in &read.records {
                for view in Records::new(part) {
                    let view = view.map_err(|error| error.to_string())?;
                    proofs.add((topic.clone(), queue_id), &view);
                }
            }
            from = read.next;
        }
    }
    Ok(())
}
