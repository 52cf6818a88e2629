//! The keys that do something, each with the field of [`BrokerConfig`] that holds its value: one list for both.

use super::from_text::FromText;
use remoting::config_table::{Key, Kind, Settings};
use std::path::PathBuf;

macro_rules! used_keys {
    ($( $( #[doc = $help:literal] )+ $field:ident: $type:ty = $name:literal, $kind:expr, $default:literal $(, $mark:ident)*; )*) => {
        /// Every key that does something.
        pub(super) const USED: &[Key] = &[$(
            Key::used($name, $kind, $default, concat!($( $help ),+)) $( .$mark() )*,
        )*];

        /// The key and the field of each.
        #[cfg(test)]
        pub(super) const FIELDS: &[(&str, &str)] = &[$( ($name, stringify!($field)) ),*];

        /// What a broker runs with: one typed field for each key of [`USED`], and the texts of all keys.
        ///
        /// Times and sizes have their unit in the name; sizes are bytes. The doc of a field is the help of its key.
        #[derive(Clone)]
        pub struct BrokerConfig {
            $( $( #[doc = $help] )+ pub $field: $type, )*
            /// The text of every key, and where it came from.
            pub settings: Settings,
        }

        impl BrokerConfig {
            /// Reads the fields; the key whose text is not what its field holds, if there is one.
            pub(super) fn from_settings(settings: Settings) -> Result<BrokerConfig, &'static str> {
                Ok(BrokerConfig {
                    $( $field: FromText::from_text(settings.text($name)).ok_or($name)?, )*
                    settings,
                })
            }
        }
    };
}

const PORT: Kind = Kind::Int { min: 1, max: 65_535 };
/// 0 stands for "derived from listenPort".
const PORT_OR_ZERO: Kind = Kind::Int { min: 0, max: 65_535 };
const PERCENT: Kind = Kind::Int { min: 1, max: 100 };
const POSITIVE: Kind = Kind::Int { min: 1, max: I32_MAX };
const NOT_NEGATIVE: Kind = Kind::Int { min: 0, max: I32_MAX };
const I32_MAX: i64 = 2_147_483_647;

used_keys! {
    /// Name of the cluster that this broker belongs to. A topic of this name is made when clusterTopicEnable is true.
    broker_cluster_name: String = "brokerClusterName", Kind::Text, "DefaultCluster", important;
    /// Name of the replica group. Routes, message queues and orderly locks are by this name, so it must stay the same for the life of a store.
    broker_name: String = "brokerName", Kind::Text, "", important;
    /// 0 for a master, 1 or more for its slaves, each another number.
    broker_id: i64 = "brokerId", Kind::Int { min: -1, max: i64::MAX }, "0", important;
    /// The name servers. Registration goes to all of them. Also -n and the environment's NAMESRV_ADDR.
    namesrv_addr: Option<String> = "namesrvAddr", Kind::Addresses, "", important, updatable;
    /// The port that clients connect to. The port two below is served as well: clients with the VIP channel on send there.
    listen_port: u16 = "listenPort", PORT, "10911", important;
    /// The port by which slaves copy this broker; 0 stands for listenPort + 1.
    ha_listen_port: u16 = "haListenPort", PORT_OR_ZERO, "0";
    /// The address that listenPort and the port two below are opened on.
    bind_address: String = "bindAddress", Kind::Text, "0.0.0.0";
    /// The address that routes and message ids name: clients must be able to reach this broker by it.
    broker_ip1: String = "brokerIP1", Kind::Text, "", important;
    /// The address that is told to slaves.
    broker_ip2: String = "brokerIP2", Kind::Text, "", important;
    /// 2 write, 4 read, 6 both: what all queues of this broker allow at most.
    broker_permission: u32 = "brokerPermission", Kind::Int { min: 0, max: 7 }, "6", important, updatable;
    /// The file that updates are written back to: the one given by -c.
    broker_config_path: Option<PathBuf> = "brokerConfigPath", Kind::Path, "";
    /// Keys, separated by ;, that a remote update may not change, beside those that need a restart.
    config_black_list: String = "configBlackList", Kind::Text, "configBlackList;brokerConfigPath";

    /// Queues of a topic that is made by its first send, at most; the producer may ask for fewer.
    default_topic_queue_nums: u32 = "defaultTopicQueueNums", Kind::Int { min: 1, max: 65_536 }, "8", updatable;
    /// Makes a topic at its first send.
    auto_create_topic_enable: bool = "autoCreateTopicEnable", Kind::Bool, "true", important, updatable;
    /// Makes a topic named after the cluster.
    cluster_topic_enable: bool = "clusterTopicEnable", Kind::Bool, "true";
    /// Makes a topic named after the broker.
    broker_topic_enable: bool = "brokerTopicEnable", Kind::Bool, "true";
    /// Makes a consumer group's settings when it is first used.
    auto_create_subscription_group: bool = "autoCreateSubscriptionGroup", Kind::Bool, "true", important, updatable;
    /// Makes the consumer groups that RocketMQ's own tools use, when they are first used, even if autoCreateSubscriptionGroup is false.
    enable_create_sys_group: bool = "enableCreateSysGroup", Kind::Bool, "true", updatable;
    /// Keeps updateTopic from changing system topics.
    validate_system_topic_when_update_topic: bool = "validateSystemTopicWhenUpdateTopic", Kind::Bool, "true", updatable;
    /// Allows topics of message.type=MIXED.
    enable_mixed_message_type: bool = "enableMixedMessageType", Kind::Bool, "false", updatable;
    /// Makes the topic that clients write message traces to.
    trace_topic_enable: bool = "traceTopicEnable", Kind::Bool, "false";
    /// Name of the topic that clients write message traces to.
    msg_trace_topic_name: String = "msgTraceTopicName", Kind::Text, "RMQ_SYS_TRACE_TOPIC";
    /// Answered to clients as TRACE_ON: whether they should write traces.
    trace_on: bool = "traceOn", Kind::Bool, "true", updatable;
    /// Answered to clients as MSG_REGION.
    region_id: String = "regionId", Kind::Text, "DefaultRegion", updatable;
    /// Topics of one page when a tool asks for all topics or consumer groups page by page.
    split_metadata_size: u32 = "splitMetadataSize", POSITIVE, "2000", updatable;
    /// Answers requests for all topics or consumer groups page by page, when asked to.
    enable_split_metadata: bool = "enableSplitMetadata", Kind::Bool, "true", updatable;

    /// The greatest body of a message, in bytes.
    max_message_size: u32 = "maxMessageSize", POSITIVE, "4194304", important, updatable;
    /// Sends are refused until this time, in milliseconds since 1970.
    start_accept_send_request_time_stamp: i64 = "startAcceptSendRequestTimeStamp", Kind::Int { min: 0, max: i64::MAX }, "0", updatable;
    /// How long each of the delay levels 1, 2, 3... waits.
    message_delay_level: String = "messageDelayLevel", Kind::Text, "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h", important;

    /// Holds a pull that finds nothing until a message comes or the consumer's time is over.
    long_polling_enable: bool = "longPollingEnable", Kind::Bool, "true", updatable;
    /// How long such a pull is held when longPollingEnable is false.
    short_polling_time_ms: u64 = "shortPollingTimeMills", NOT_NEGATIVE, "1000", updatable;
    /// Serves pulls with the code that lite pull consumers use.
    lite_pull_message_enable: bool = "litePullMessageEnable", Kind::Bool, "true", updatable;
    /// Ignores consumers that choose their queues themselves (heartbeats of type CONSUME_ACTIVELY).
    reject_pull_consumer_enable: bool = "rejectPullConsumerEnable", Kind::Bool, "false", updatable;
    /// Bytes of one pull reply from memory, at most; the first message always goes.
    max_transfer_bytes_on_message_in_memory: u32 = "maxTransferBytesOnMessageInMemory", POSITIVE, "262144", updatable;
    /// Messages of one pull reply from memory, at most.
    max_transfer_count_on_message_in_memory: u32 = "maxTransferCountOnMessageInMemory", POSITIVE, "32", updatable;
    /// Bytes of one pull reply from disk, at most; the first message always goes.
    max_transfer_bytes_on_message_in_disk: u32 = "maxTransferBytesOnMessageInDisk", POSITIVE, "65536", updatable;
    /// Messages of one pull reply from disk, at most.
    max_transfer_count_on_message_in_disk: u32 = "maxTransferCountOnMessageInDisk", POSITIVE, "8", updatable;
    /// Messages within the newest part of the log, this percentage of the machine's memory in size, count as in memory.
    access_message_in_memory_max_ratio: u32 = "accessMessageInMemoryMaxRatio", PERCENT, "40";
    /// Tells the members of a consumer group at once when one comes or goes.
    notify_consumer_ids_changed_enable: bool = "notifyConsumerIdsChangedEnable", Kind::Bool, "true", updatable;
    /// A client that sends no heartbeat for so long is forgotten.
    channel_expired_timeout_ms: u64 = "channelExpiredTimeout", POSITIVE, "120000", updatable;
    /// Remembers which producers are connected; transactions and producerConnection need it.
    enable_register_producer: bool = "enableRegisterProducer", Kind::Bool, "true", updatable;

    /// How often this broker registers with the name servers; values outside 10000 to 60000 count as the nearer of these.
    register_name_server_period_ms: u64 = "registerNameServerPeriod", POSITIVE, "30000", updatable;
    /// How long one registration may take.
    register_broker_timeout_ms: u64 = "registerBrokerTimeoutMills", POSITIVE, "24000", updatable;
    /// Deflates the body of registrations.
    compressed_register: bool = "compressedRegister", Kind::Bool, "false", updatable;
    /// How often a name server is tried again that could not be reached or has lost the connection.
    broker_heartbeat_interval_ms: u64 = "brokerHeartbeatInterval", POSITIVE, "1000", updatable;
    /// Registered with the name servers: they drop this broker after so long without a sign of life, but not before four of its registrations are due.
    broker_not_active_timeout_ms: u64 = "brokerNotActiveTimeoutMillis", POSITIVE, "10000", updatable;
    /// A connection on which nothing came and nothing went for so many seconds is closed.
    server_channel_max_idle_time_seconds: u64 = "serverChannelMaxIdleTimeSeconds", POSITIVE, "120";

    /// The data directory: everything lies below it, but for a commitlog that storePathCommitLog puts elsewhere. One broker each.
    store_path_root_dir: PathBuf = "storePathRootDir", Kind::Path, "", important;
    /// Where the commitlog lies, when it is to lie on another disk. One directory.
    store_path_commit_log: Option<PathBuf> = "storePathCommitLog", Kind::Path, "", important;
    /// ASYNC_MASTER, SYNC_MASTER for one whose answers to sends wait for a slave (see inSyncReplicas), or SLAVE for a broker that copies the master of its brokerName.
    broker_role: BrokerRole = "brokerRole", Kind::Choice(BrokerRole::WORDS), "ASYNC_MASTER", important;
    /// A consumer that is further behind than accessMessageInMemoryMaxRatio is sent to the slave that its group names (whichBrokerWhenConsumeSlowly), so that it does not drive new messages out of the master's memory. A slave serves pulls in any case.
    slave_read_enable: bool = "slaveReadEnable", Kind::Bool, "false", updatable;
    /// While the master is away its slave with the lowest brokerId is shown to clients in its place, without the permission to write: they read there, keep their offsets there and lock queues there. Set it on master and slaves, and supportActingMaster on the name servers.
    enable_slave_acting_master: bool = "enableSlaveActingMaster", Kind::Bool, "false";
    /// A slave's master, host:port of its HA port. Empty: the name servers are asked.
    ha_master_address: Option<String> = "haMasterAddress", Kind::Text, "";
    /// With SYNC_MASTER: copies that a message must have before its send is answered SEND_OK, this broker's own included. 0 stands for 2: it waits for one slave. RocketMQ's default, 1, waits for none, whatever the role says; write 1 for that.
    in_sync_replicas: usize = "inSyncReplicas", Kind::Int { min: 0, max: 64 }, "0", important, updatable;
    /// With SYNC_MASTER and enableSlaveActingMaster and enableAutoInSyncReplicas: copies that do while slaves are behind; a send is refused when there are fewer.
    min_in_sync_replicas: usize = "minInSyncReplicas", Kind::Int { min: 1, max: 64 }, "1", updatable;
    /// With SYNC_MASTER and enableSlaveActingMaster: fewer copies than inSyncReplicas do while slaves are behind, but minInSyncReplicas.
    enable_auto_in_sync_replicas: bool = "enableAutoInSyncReplicas", Kind::Bool, "false", updatable;
    /// A slave that is so many bytes behind does not keep up: minInSyncReplicas does not count it, and `mqadmin haStatus` shows it.
    ha_max_gap_not_in_sync: u64 = "haMaxGapNotInSync", POSITIVE, "268435456", updatable;
    /// With SYNC_MASTER: a message that too few slaves have after so long is answered FLUSH_SLAVE_TIMEOUT. It stays stored, and slaves get it.
    slave_timeout_ms: u64 = "slaveTimeout", POSITIVE, "3000", updatable;
    /// SYNC_FLUSH answers a send when the message is durable; ASYNC_FLUSH when the end of the process can no longer lose it, a crash of the machine still can.
    flush_disk_type: FlushDiskType = "flushDiskType", Kind::Choice(FlushDiskType::WORDS), "ASYNC_FLUSH", important;
    /// With ASYNC_FLUSH: how often what is written is made durable in the background; and how long the disk may stand still before sends wait for it.
    flush_interval_commit_log_ms: u64 = "flushIntervalCommitLog", POSITIVE, "500", important;
    /// With SYNC_FLUSH: a send that is not durable after so long is answered FLUSH_DISK_TIMEOUT.
    sync_flush_timeout_ms: u64 = "syncFlushTimeout", POSITIVE, "5000", updatable;
    /// Size of a segment of a new store's commitlog, in bytes. A store keeps the size it was made with.
    mapped_file_size_commit_log: u64 = "mappedFileSizeCommitLog", Kind::Int { min: 1_048_576, max: I32_MAX }, "1073741824";
    /// Hours for which messages are kept.
    file_reserved_time_hours: u64 = "fileReservedTime", POSITIVE, "72", important, updatable;
    /// Hours of the day, separated by ;, at which segments past fileReservedTime are deleted.
    delete_when: String = "deleteWhen", Kind::Text, "04", important, updatable;
    /// From this percentage of the disk on, segments past fileReservedTime are deleted at any hour.
    disk_max_used_space_ratio: u32 = "diskMaxUsedSpaceRatio", PERCENT, "75", updatable;
    /// From this percentage of the disk on, the oldest segments are deleted whatever their age, if cleanFileForciblyEnable.
    disk_space_clean_forcibly_ratio: u32 = "diskSpaceCleanForciblyRatio", PERCENT, "85", updatable;
    /// From this percentage of the disk on, sends are refused until there is room again.
    disk_space_warning_level_ratio: u32 = "diskSpaceWarningLevelRatio", PERCENT, "90", updatable;
    /// Allows diskSpaceCleanForciblyRatio to delete segments that are not past fileReservedTime.
    clean_file_forcibly_enable: bool = "cleanFileForciblyEnable", Kind::Bool, "true", updatable;
    /// How often the disk and the age of segments are looked at.
    clean_resource_interval_ms: u64 = "cleanResourceInterval", POSITIVE, "10000", updatable;
    /// Segments deleted in one round, at most.
    delete_file_batch_max: u32 = "deleteFileBatchMax", POSITIVE, "10", updatable;
    /// Keeps an index from message keys and unique ids to messages, for queryMsgByKey and queryMsgByUniqueKey.
    message_index_enable: bool = "messageIndexEnable", Kind::Bool, "true";
    /// Messages of one query by key, at most.
    max_msgs_num_batch: u32 = "maxMsgsNumBatch", POSITIVE, "64", updatable;
    /// Messages of one query by unique id, at most.
    default_query_max_num: u32 = "defaultQueryMaxNum", POSITIVE, "32", updatable;

    /// RingMQ's own. Shards of a new store: each has a commitlog and belongs to one core. 0 stands for one a core. A store keeps the number it was made with.
    shards: u16 = "shards", Kind::Int { min: 0, max: 64 }, "0", important;
    /// RingMQ's own. Cores that serve requests. 0 stands for all CPUs that the process may use, but of two it leaves one to the kernel, the disk and other processes.
    cores: u16 = "cores", Kind::Int { min: 0, max: 1_024 }, "0", important;
    /// RingMQ's own. Keeps each core on a CPU of its own.
    pin_cores: bool = "pinCores", Kind::Bool, "false";
    /// RingMQ's own. How files are reached: auto takes io_uring where the kernel allows it and blocking threads elsewhere; io_uring stops the start when it is refused.
    io_path: IoPathChoice = "ioPath", Kind::Choice(IoPathChoice::WORDS), "auto";
    /// RingMQ's own. How the commitlog reaches the disk: buffered goes through the page cache, direct past it into segments that are used again, where the file system can; auto is direct with SYNC_FLUSH, and with ASYNC_FLUSH where sends can be answered from memory that outlives the process (docs/durability.md), else buffered.
    write_path: WritePathChoice = "writePath", Kind::Choice(WritePathChoice::WORDS), "auto";
    /// RingMQ's own. Bytes of each shard's newest records that are kept in memory for pulls.
    tail_cache_bytes: usize = "tailCacheBytes", Kind::Int { min: 1_048_576, max: 1_099_511_627_776 }, "33554432";
    /// RingMQ's own. Bytes of each shard's older records that are kept in memory after they were read.
    cold_cache_bytes: usize = "coldCacheBytes", Kind::Int { min: 1_048_576, max: 1_099_511_627_776 }, "33554432";
}

macro_rules! words {
    ($( #[doc = $doc:literal] )+ $type:ident { $( #[doc = $case_doc:literal] $case:ident = $word:literal ),+ $(,)? }) => {
        $( #[doc = $doc] )+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $( #[doc = $case_doc] $case, )+
        }

        impl $type {
            /// How the file spells the cases.
            pub const WORDS: &[&str] = &[$( $word ),+];
        }

        impl super::from_text::FromText for $type {
            fn from_text(text: &str) -> Option<$type> {
                match text {
                    $( $word => Some($type::$case), )+
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $( $type::$case => $word, )+
                })
            }
        }
    };
}

words! {
    /// What this broker is in its replica group.
    BrokerRole {
        /// Master; slaves copy behind.
        AsyncMaster = "ASYNC_MASTER",
        /// Master; waits for slaves, if inSyncReplicas says so.
        SyncMaster = "SYNC_MASTER",
        /// Copies a master.
        Slave = "SLAVE",
    }
}

words! {
    /// When a send is answered.
    FlushDiskType {
        /// When the message is written.
        AsyncFlush = "ASYNC_FLUSH",
        /// When it is durable.
        SyncFlush = "SYNC_FLUSH",
    }
}

words! {
    /// How the commitlog is to reach the disk.
    WritePathChoice {
        /// What was measured to be better for the flush mode.
        Auto = "auto",
        /// Through the page cache.
        Buffered = "buffered",
        /// Past the page cache.
        Direct = "direct",
    }
}

words! {
    /// How files are to be reached.
    IoPathChoice {
        /// io_uring where the kernel allows it.
        Auto = "auto",
        /// io_uring or no start.
        Ring = "io_uring",
        /// Blocking threads.
        Blocking = "blocking",
    }
}
