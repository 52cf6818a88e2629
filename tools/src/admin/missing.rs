//! Commands of Apache's mqadmin for what is not there yet: each says so, so that a script knows.

use super::registry::Entry;

const CONTROLLER: &str = "controllers are not served, so no broker changes its role by itself";
const AUTH: &str = "users and ACLs are not served, and nothing authenticates yet";
const LITE: &str = "lite topics are not served";
const STATIC: &str = "static topics are not served";
const COLD: &str = "reads of old messages have an I/O budget of their own already, without a switch a group";
const ROCKSDB: &str = "stores here have no RocksDB in them";
const CONTAINER: &str = "broker containers are not served; `ringmq up` starts many brokers on a machine";
const POP: &str = "pop consumers are not served";

pub(super) const COMMANDS: &[Entry] = &[
    Entry::missing("updateStaticTopic", "Make or change a static topic", STATIC),
    Entry::missing("remappingStaticTopic", "Move queues of a static topic", STATIC),
    Entry::missing("setConsumeMode", "Let a consumer group pull or pop", POP),
    Entry::missing("exportPopRecord", "Write what pop keeps into a file", POP),
    Entry::missing(
        "resetMasterFlushOffset",
        "Tell a slave how far its master has flushed",
        "slaves here compare their logs with the master's by themselves, so there is nothing to set",
    ),
    Entry::missing("getBrokerEpoch", "Epochs of a broker's log", CONTROLLER),
    Entry::missing(
        "getSyncStateSet",
        "Brokers that have all that was acknowledged",
        CONTROLLER,
    ),
    Entry::missing("getControllerMetaData", "Which controller leads", CONTROLLER),
    Entry::missing("getControllerConfig", "Configuration of controllers", CONTROLLER),
    Entry::missing("updateControllerConfig", "Change a key of controllers", CONTROLLER),
    Entry::missing("electMaster", "Make a broker the master", CONTROLLER),
    Entry::missing("cleanBrokerMetadata", "Let controllers forget a broker", CONTROLLER),
    Entry::missing("getColdDataFlowCtrInfo", "How much groups read of old messages", COLD),
    Entry::missing(
        "updateColdDataFlowCtrGroupConfig",
        "Limit how much a group reads of old messages",
        COLD,
    ),
    Entry::missing("removeColdDataFlowCtrGroupConfig", "Lift the limit of a group", COLD),
    Entry::missing(
        "setCommitLogReadAheadMode",
        "How the kernel reads ahead in the commitlog",
        "the commitlog is not mapped into memory here, so there is no such mode",
    ),
    Entry::missing(
        "switchTimerEngine",
        "Which engine keeps timer messages",
        "timer messages are not served",
    ),
    Entry::missing(
        "dumpCompactionLog",
        "Print a file of a compacted topic",
        "compacted topics are not served",
    ),
    Entry::missing(
        "checkRocksdbCqWriteProgress",
        "Compare two kinds of consume queues",
        ROCKSDB,
    ),
    Entry::missing("exportMetadataInRocksDB", "Print tables of a RocksDB", ROCKSDB),
    Entry::missing("rocksDBConfigToJson", "Write tables of a RocksDB into a file", ROCKSDB),
    Entry::missing("addBroker", "Start a broker in a container", CONTAINER),
    Entry::missing("removeBroker", "Stop a broker in a container", CONTAINER),
    Entry::missing("createUser", "Make a user", AUTH),
    Entry::missing("updateUser", "Change a user", AUTH),
    Entry::missing("deleteUser", "Delete a user", AUTH),
    Entry::missing("getUser", "Show a user", AUTH),
    Entry::missing("listUser", "Show all users", AUTH),
    Entry::missing("copyUser", "Copy users from a broker to another", AUTH),
    Entry::missing("createAcl", "Make an ACL", AUTH),
    Entry::missing("updateAcl", "Change an ACL", AUTH),
    Entry::missing("deleteAcl", "Delete an ACL", AUTH),
    Entry::missing("getAcl", "Show an ACL", AUTH),
    Entry::missing("listAcl", "Show all ACLs", AUTH),
    Entry::missing("copyAcl", "Copy ACLs from a broker to another", AUTH),
    Entry::missing("getBrokerLiteInfo", "Lite topics of a broker", LITE),
    Entry::missing("getParentTopicInfo", "Lite topics of a parent", LITE),
    Entry::missing("getLiteTopicInfo", "A lite topic", LITE),
    Entry::missing("getLiteClientInfo", "Lite topics of a client", LITE),
    Entry::missing("getLiteGroupInfo", "Lag of a group in lite topics", LITE),
    Entry::missing("triggerLiteDispatch", "Deliver lite topics now", LITE),
];
