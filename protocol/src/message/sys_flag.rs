//! Bits of a message's `sysFlag` (RocketMQ's `MessageSysFlag`) and of topics' and permissions' small numbers.

/// The body is compressed.
pub const COMPRESSED: i32 = 0x1;
/// The message has several tags; unused.
pub const MULTI_TAGS: i32 = 0x2;
/// The bits that say where a message stands in a transaction.
pub const TRANSACTION_MASK: i32 = 0xC;
/// No transaction.
pub const TRANSACTION_NONE: i32 = 0;
/// A half message.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// Committed.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// Rolled back.
pub const TRANSACTION_ROLLBACK: i32 = 0xC;
/// The born host's address has 16 bytes.
pub const BORN_HOST_V6: i32 = 0x10;
/// The store host's address has 16 bytes.
pub const STORE_HOST_V6: i32 = 0x20;
/// The message belongs to several queues.
pub const NEED_UNWRAP: i32 = 0x40;
/// The message is a batch that is stored as one.
pub const INNER_BATCH: i32 = 0x80;
/// The bits that say how a body is compressed.
pub const COMPRESSION_MASK: i32 = 0x700;

/// How a compressed body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// 0x100.
    Lz4,
    /// 0x200.
    Zstd,
    /// 0x300, and 0 of old clients.
    Zlib,
}

/// How the body is compressed; `None` if it is not, or in a way that RocketMQ does not know.
#[must_use]
pub const fn compression(sys_flag: i32) -> Option<Compression> {
    if sys_flag & COMPRESSED == 0 {
        return None;
    }
    match sys_flag & COMPRESSION_MASK {
        0x100 => Some(Compression::Lz4),
        0x200 => Some(Compression::Zstd),
        0 | 0x300 => Some(Compression::Zlib),
        _ => None,
    }
}

/// Where the message stands in a transaction: one of the four `TRANSACTION_` values.
#[must_use]
pub const fn transaction(sys_flag: i32) -> i32 {
    sys_flag & TRANSACTION_MASK
}

/// The flags with another place in the transaction.
#[must_use]
pub const fn with_transaction(sys_flag: i32, transaction: i32) -> i32 {
    (sys_flag & !TRANSACTION_MASK) | (transaction & TRANSACTION_MASK)
}

/// Bits of a topic's or a broker's permission (RocketMQ's `PermName`).
pub mod perm {
    /// Queues have priorities.
    pub const PRIORITY: i32 = 8;
    /// May be read.
    pub const READ: i32 = 4;
    /// May be written.
    pub const WRITE: i32 = 2;
    /// May be a template of other topics.
    pub const INHERIT: i32 = 1;
}

/// Bits of a topic's `topicSysFlag` (RocketMQ's `TopicSysFlag`).
pub mod topic_flag {
    /// A unit topic.
    pub const UNIT: i32 = 1;
    /// A topic with unit subscriptions.
    pub const UNIT_SUB: i32 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_told_by_its_bits_and_old_clients_mean_zlib() {
        assert_eq!(compression(0x300), None);
        assert_eq!(compression(COMPRESSED), Some(Compression::Zlib));
        assert_eq!(compression(COMPRESSED | 0x100), Some(Compression::Lz4));
        assert_eq!(compression(COMPRESSED | 0x200), Some(Compression::Zstd));
        assert_eq!(compression(COMPRESSED | 0x300), Some(Compression::Zlib));
        assert_eq!(compression(COMPRESSED | 0x400), None);
    }

    #[test]
    fn a_transaction_mark_replaces_the_one_before() {
        assert_eq!(
            with_transaction(TRANSACTION_PREPARED | COMPRESSED, TRANSACTION_ROLLBACK),
            0xD
        );
        assert_eq!(
            transaction(with_transaction(0x1D, TRANSACTION_COMMIT)),
            TRANSACTION_COMMIT
        );
    }
}
