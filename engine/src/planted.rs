//! Old bugs of message stores that can be planted again, so that the checks can show that they find them. Only with the feature
//! `museum`, which no program has; elsewhere [`is`] is `false` at compile time and leaves no code.

/// A bug, after what it does. The rows are those of the reliability reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// S1: a sync or a durable write that failed is taken for one that did not.
    AckAfterFailedSync,
    /// S1: sync flush acknowledges before the sync.
    AckBeforeSync,
    /// S2: what no index has is not indexed after a crash.
    NoFeed,
    /// S2: what a crash tore is not cut.
    NoCut,
    /// S2: recovery does not ask whether a batch follows the one before: old bytes behind the end count again.
    NoChain,
    /// S3: after a crash only the last segment is indexed.
    FeedLastSegment,
    /// S4: cold reads check bodies only.
    UncheckedHeaders,
    /// S4: recovery does not compare the checksums of batches.
    UncheckedBatches,
    /// S5: a checkpoint says more than the indexes have made durable.
    EarlyCheckpoint,
    /// S5: a checkpoint calls durable what is only written.
    EarlySyncedMark,
    /// S7: a checkpoint is replaced without the one before being kept, and not synced.
    CheckpointInPlace,
    /// S7: metadata that came after the snapshot is not taken from the log.
    NoMetadataReplay,
    /// Recovery does not write again what was not known to be durable.
    NoRewrite,
    /// Indexes keep entries of records that were cut from the log.
    NoIndexCut,
    /// Rot below the synced mark is cut as if a crash had torn it.
    RotIsTorn,
    /// A new segment's name is not made durable.
    NoNameSync,
}

#[cfg(feature = "museum")]
mod planting {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug in everything that this thread does from now on, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(crate) fn is(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(feature = "museum")]
pub(crate) use planting::is;
#[cfg(feature = "museum")]
pub use planting::plant;

/// Whether this bug is planted.
#[cfg(not(feature = "museum"))]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}
