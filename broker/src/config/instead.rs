//! What holds instead of a family of keys that change nothing here.

pub(super) const POOLS: &str =
    "There are no thread pools: each core runs its requests to the end. `cores` says how many cores there are.";
pub(super) const POOL_QUEUES: &str = "Requests do not queue for threads. What a connection has in flight and what a shard has not yet written are bounded.";
pub(super) const QUEUE_WAITS: &str = "Requests do not wait in a queue, so none grows old there. A core or shard that is behind answers SYSTEM_BUSY at once.";
pub(super) const MAPPED_FILES: &str =
    "Files are not mapped into memory, so nothing is warmed, locked, swapped or unmapped.";
pub(super) const ROCKSDB: &str =
    "There is no RocksDB: queues, indexes and tables have formats of their own, whatever this key says.";
pub(super) const POP: &str = "Pop consumption is not served yet; consumers use pull.";
pub(super) const LITE: &str = "Lite topics are not served yet.";
pub(super) const TIMERS: &str = "Messages with a due time of their own are not served yet; the delay levels are.";
pub(super) const TRANSACTIONS: &str = "Transactional messages are not served yet.";
pub(super) const CONTROLLER: &str = "Read only in controller mode, which is not built yet.";
pub(super) const REPLICATION: &str = "Slaves copy the log as it grows; nothing of it needs to be set.";
pub(super) const DLEDGER: &str = "Read only with enableDLegerCommitLog, which is not built yet.";
pub(super) const METRICS: &str =
    "No metrics are exported yet, and no port is opened for them. mqadmin brokerStatus and statsAll have the figures.";
pub(super) const STATS: &str = "The statistics of topics and consumer groups are always kept.";
pub(super) const AUTH: &str = "Read only with authenticationEnabled or authorizationEnabled, which are not built yet.";
pub(super) const COMPACTION: &str = "Compaction is not built yet: topics are kept by time and disk use alone.";
pub(super) const LMQ: &str = "Light message queues are not built yet.";
pub(super) const COLD_READS: &str =
    "Reads of old messages go through a bounded cache and never hold up a core; there is no further throttle.";
pub(super) const SQL_FILTERS: &str =
    "SQL92 filters are not served yet: such a subscription is answered with an error. Tag filters are served.";
pub(super) const CLIENTS: &str =
    "Connections to name servers are few; each has a bounded output and is reconnected with a growing pause.";
pub(super) const SOCKETS: &str =
    "The kernel sizes the buffers of sockets, and the reactor of each core serves its own connections.";
pub(super) const COMMITS: &str = "A shard writes all that arrived while its last write was in flight as one; there is no page count, timer or lock to set.";
pub(super) const QUEUE_FILES: &str =
    "The consume queues of a shard lie in one log of 4 KiB pages, written as they fill and at each checkpoint.";
pub(super) const KEY_INDEX: &str =
    "The key index is a set of sorted files that grow as needed; see messageIndexEnable.";
pub(super) const RECOVERY: &str =
    "A start reads the commitlog from the last checkpoint on, and checks every record and every seal there.";
pub(super) const RETENTION: &str = "Whole segments are deleted in one go, off the path of requests.";
