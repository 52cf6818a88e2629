//! What a look through a store finds wrong.

use serde::Serialize;

/// Which part of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The log: batches and their seals.
    Log,
    /// A record in a batch whose seal is sound.
    Record,
    /// The order of queue offsets in the log.
    QueueOffset,
    /// Manifest, directories, pages and entries of the consume queues.
    ConsumeQueue,
    /// Manifest and runs of the key index.
    KeyIndex,
    /// A checkpoint.
    Checkpoint,
}

impl Part {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Log => "log",
            Part::Record => "record",
            Part::QueueOffset => "queue offset",
            Part::ConsumeQueue => "consume queue",
            Part::KeyIndex => "key index",
            Part::Checkpoint => "checkpoint",
        }
    }

    /// What helps a store of Apache's.
    #[must_use]
    pub fn fix_of_apache(self) -> &'static str {
        match self {
            Part::Log => {
                "keep a copy of the store: after a crash Apache's broker cuts the log at the first record that it cannot read; \
                 mqstore extract saves the records behind it"
            }
            Part::Record | Part::QueueOffset => {
                "compare with a replica (mqstore diff); the other records stay readable"
            }
            Part::ConsumeQueue => {
                "no message is lost: stop the broker and move consumequeue away, the next start makes it again from the log"
            }
            Part::KeyIndex => {
                "no message is lost, but queries by key may miss some: stop the broker and move index away"
            }
            Part::Checkpoint => "no message is lost: the next start makes it again, and reads more of the log",
        }
    }

    /// What helps.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Part::Log | Part::Record | Part::QueueOffset => {
                "keep a copy of the store; the other records stay readable, and readers get an error for these"
            }
            Part::ConsumeQueue | Part::KeyIndex => {
                "no message is lost: stop the broker and remove this index's directory, the next start makes it again from the log"
            }
            Part::Checkpoint => {
                "no message is lost: the next start uses the checkpoint before it, or reads the whole log"
            }
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The shard.
    pub shard: u8,
    /// Where in it.
    pub part: Part,
    /// Where it begins in the shard's log, in bytes, if it lies there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// What is wrong.
    pub reason: String,
}

/// What was looked at in a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// The shard.
    pub shard: u8,
    /// First kept position.
    pub min: u64,
    /// Where the log ends.
    pub end: u64,
    /// Everything below was durable.
    pub synced: u64,
    /// Sound batches.
    pub batches: u64,
    /// Messages in them.
    pub messages: u64,
    /// Metadata records in them.
    pub metadata: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes behind the end that a write was cut short of or is under way with: no damage.
    pub torn_bytes: u64,
    /// Consume queue pages that hold something.
    pub pages: u64,
    /// Entries in them that were compared with the log.
    pub entries: u64,
    /// Pages of the key index.
    pub key_pages: u64,
    /// Entries of the key index that were compared with the log.
    pub index_entries: u64,
    /// Messages that were not in their consume queue yet (Apache's store): no damage, the broker's next start puts them there.
    pub undispatched: u64,
    /// Damaged ranges that a repair has given up: they are no findings any more.
    pub quarantined: u64,
    /// Things that are wrong.
    pub findings: u64,
}
