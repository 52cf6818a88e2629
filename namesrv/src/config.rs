//! Every key of a name server's configuration file. Names and defaults are those of RocketMQ's `NamesrvConfig`,
//! `NettyServerConfig` and `ControllerConfig`.

use crate::route_table::Rules;
use remoting::config_table::{ConfigTable, DeadKey, Key, Kind, Settings};
use std::time::Duration;

const ONE_LOOP: &str = "one event loop serves everything, so there are no pools to size";
const KERNEL_SIZES: &str = "the kernel sizes socket buffers by itself";
const OWN_BOUNDS: &str = "connections have bounds of their own: 1024 requests in flight, 64 MiB of answers that wait";
const NO_CONTROLLER: &str = "the controller is not built into this name server yet";

/// The keys of `mqnamesrv`.
pub const TABLE: ConfigTable = ConfigTable {
    program: "mqnamesrv",
    keys: KEYS,
    dead: DEAD,
};

const KEYS: &[Key] = &[
    Key::used(
        "listenPort",
        Kind::PORT,
        "9876",
        "TCP port to listen on; 0 lets the system choose one.",
    )
    .important(),
    Key::used(
        "bindAddress",
        Kind::Text,
        "0.0.0.0",
        "IP address to listen on; 0.0.0.0 means every one.",
    )
    .important(),
    Key::used(
        "kvConfigPath",
        Kind::Path,
        "~/namesrv/kvConfig.json",
        "File that keeps the KV config. Its folder is made if it is missing.",
    )
    .important(),
    Key::used(
        "configStorePath",
        Kind::Path,
        "~/namesrv/namesrv.properties",
        "File that a configuration changed at run time is written to, when the program was started without -c.",
    ),
    Key::used(
        "scanNotActiveBrokerInterval",
        Kind::Int {
            min: 10,
            max: 3_600_000,
        },
        "5000",
        "Longest time in milliseconds between two looks for brokers that have been silent for too long. A broker whose \
         connection closes is removed at once, whatever this says.",
    )
    .updatable(),
    Key::used(
        "orderMessageEnable",
        Kind::Bool,
        "false",
        "Whether routes carry the queue counts of order topics from the KV config.",
    )
    .updatable(),
    Key::used(
        "returnOrderTopicConfigToBroker",
        Kind::Bool,
        "true",
        "Whether brokers get the queue counts of order topics in the answer to a registration.",
    )
    .updatable(),
    Key::used(
        "enableAllTopicList",
        Kind::Bool,
        "true",
        "Whether the list of all topics may be asked for.",
    )
    .updatable(),
    Key::used(
        "enableTopicList",
        Kind::Bool,
        "true",
        "Whether lists of topics by cluster or by unit may be asked for.",
    )
    .updatable(),
    Key::used(
        "supportActingMaster",
        Kind::Bool,
        "false",
        "Whether routes show the smallest slave as the master of a group that has none, for readers.",
    )
    .important()
    .updatable(),
    Key::used(
        "notifyMinBrokerIdChanged",
        Kind::Bool,
        "false",
        "Whether the brokers of a group are told when its smallest broker id changes.",
    )
    .updatable(),
    Key::used(
        "deleteTopicWithBrokerRegistration",
        Kind::Bool,
        "false",
        "Whether topics that a broker no longer registers are removed from its group.",
    )
    .updatable(),
    Key::used(
        "needWaitForService",
        Kind::Bool,
        "false",
        "Whether routes are refused for waitSecondsForService after the start, until brokers have registered.",
    )
    .updatable(),
    Key::used(
        "waitSecondsForService",
        Kind::Int { min: 0, max: 86_400 },
        "45",
        "Seconds after the start for which routes are refused, if needWaitForService says so.",
    )
    .updatable(),
    Key::used(
        "serverChannelMaxIdleTimeSeconds",
        Kind::Int { min: 1, max: 86_400 },
        "120",
        "Seconds without a read or a write after which a connection is closed.",
    ),
    Key::accepted(
        "rocketmqHome",
        Kind::Path,
        "$ROCKETMQ_HOME",
        "nothing is looked for in a home folder",
    ),
    Key::accepted(
        "productEnvName",
        Kind::Text,
        "center",
        "it only mattered to a cluster test mode",
    ),
    Key::refused(
        "clusterTest",
        Kind::Bool,
        "false",
        "the cluster test mode, which asks a public name server, is not built",
    ),
    Key::accepted("clientRequestThreadPoolNums", Kind::COUNT, "8", ONE_LOOP),
    Key::accepted("defaultThreadPoolNums", Kind::COUNT, "16", ONE_LOOP),
    Key::accepted("clientRequestThreadPoolQueueCapacity", Kind::COUNT, "50000", ONE_LOOP),
    Key::accepted("defaultThreadPoolQueueCapacity", Kind::COUNT, "10000", ONE_LOOP),
    Key::accepted(
        "unRegisterBrokerQueueCapacity",
        Kind::COUNT,
        "3000",
        "brokers are removed at once, without a queue",
    ),
    Key::accepted(
        "configBlackList",
        Kind::Text,
        "configBlackList;configStorePath;kvConfigPath",
        "only the keys marked so in this reference may be changed at run time",
    ),
    Key::accepted("serverWorkerThreads", Kind::COUNT, "8", ONE_LOOP),
    Key::accepted("serverCallbackExecutorThreads", Kind::COUNT, "0", ONE_LOOP),
    Key::accepted("serverSelectorThreads", Kind::COUNT, "3", ONE_LOOP),
    Key::accepted("serverOnewaySemaphoreValue", Kind::COUNT, "256", OWN_BOUNDS),
    Key::accepted("serverAsyncSemaphoreValue", Kind::COUNT, "64", OWN_BOUNDS),
    Key::accepted("serverSocketSndBufSize", Kind::COUNT, "0", KERNEL_SIZES),
    Key::accepted("serverSocketRcvBufSize", Kind::COUNT, "0", KERNEL_SIZES),
    Key::accepted("writeBufferHighWaterMark", Kind::COUNT, "0", OWN_BOUNDS),
    Key::accepted("writeBufferLowWaterMark", Kind::COUNT, "0", OWN_BOUNDS),
    Key::accepted("serverSocketBacklog", Kind::COUNT, "1024", "the backlog is 1024"),
    Key::accepted("serverNettyWorkerGroupEnable", Kind::Bool, "true", ONE_LOOP),
    Key::accepted(
        "serverPooledByteBufAllocatorEnable",
        Kind::Bool,
        "true",
        "there is no Netty",
    ),
    Key::accepted("useEpollNativeSelector", Kind::Bool, "false", "epoll is always used"),
    Key::accepted(
        "enableShutdownGracefully",
        Kind::Bool,
        "false",
        "on SIGTERM answers under way are always sent before connections are closed",
    ),
    Key::accepted(
        "shutdownWaitTimeSeconds",
        Kind::COUNT,
        "30",
        "a stop waits for answers under way at most 3 s",
    ),
    Key::refused("enableControllerInNamesrv", Kind::Bool, "false", NO_CONTROLLER),
    Key::accepted("controllerType", Kind::Text, "DLedger", NO_CONTROLLER),
    Key::accepted("controllerDLegerGroup", Kind::Text, "", NO_CONTROLLER),
    Key::accepted("controllerDLegerPeers", Kind::Text, "", NO_CONTROLLER),
    Key::accepted("controllerDLegerSelfId", Kind::Text, "", NO_CONTROLLER),
    Key::accepted("controllerStorePath", Kind::Path, "", NO_CONTROLLER),
    Key::accepted("controllerThreadPoolNums", Kind::COUNT, "16", NO_CONTROLLER),
    Key::accepted(
        "controllerRequestThreadPoolQueueCapacity",
        Kind::COUNT,
        "50000",
        NO_CONTROLLER,
    ),
    Key::accepted("mappedFileSize", Kind::COUNT, "1073741824", NO_CONTROLLER),
    Key::accepted("electMasterMaxRetryCount", Kind::COUNT, "3", NO_CONTROLLER),
    Key::accepted("enableElectUncleanMaster", Kind::Bool, "false", NO_CONTROLLER),
    Key::accepted("isProcessReadEvent", Kind::Bool, "false", NO_CONTROLLER),
    Key::accepted("notifyBrokerRoleChanged", Kind::Bool, "true", NO_CONTROLLER),
    Key::accepted("scanInactiveMasterInterval", Kind::COUNT, "5000", NO_CONTROLLER),
];

const DEAD: &[DeadKey] = &[DeadKey {
    name: "namesrvAddr",
    advice: "a name server needs nothing of the others; list them all in namesrvAddr of brokers and clients",
}];

/// The rules that routes follow.
pub(crate) fn rules(settings: &Settings) -> Rules {
    Rules {
        support_acting_master: settings.bool("supportActingMaster"),
        delete_topic_with_broker_registration: settings.bool("deleteTopicWithBrokerRegistration"),
    }
}

/// A key that counts milliseconds or seconds.
pub(crate) fn duration(settings: &Settings, key: &str, unit: Duration) -> Duration {
    unit.saturating_mul(settings.number::<u32>(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_mistakes() {
        assert_eq!(TABLE.mistakes(), Vec::<String>::new());
    }

    #[test]
    fn every_key_reads_as_what_it_is_used_as() {
        let settings = TABLE.defaults();
        assert_eq!(rules(&settings), Rules::default());
        let keys = [
            "scanNotActiveBrokerInterval",
            "waitSecondsForService",
            "serverChannelMaxIdleTimeSeconds",
        ];
        for key in keys {
            assert!(duration(&settings, key, Duration::from_millis(1)) > Duration::ZERO);
        }
        assert_eq!(settings.number::<u16>("listenPort"), 9876);
    }

    #[test]
    fn keys_that_decide_where_files_are_cannot_be_changed_at_run_time() {
        for key in [
            "kvConfigPath",
            "configStorePath",
            "rocketmqHome",
            "configBlackList",
            "listenPort",
            "bindAddress",
        ] {
            let update = format!("{key}=/tmp/elsewhere");
            assert!(TABLE.defaults().check_update(&update).is_err(), "{key}");
        }
    }

    #[test]
    fn the_samples_load_and_those_that_need_a_controller_say_so() {
        let licence = "<!--\n  Licensed to the Apache Software Foundation = x\n-->\n";
        let acting = "supportActingMaster=true\n";
        TABLE.defaults().read_file("nameserver.conf", acting).unwrap();
        let plugin = format!(
            "{licence}listenPort = 9886\nenableControllerInNamesrv = true\ncontrollerDLegerGroup = group1\n\
             controllerDLegerPeers = n0-127.0.0.1:9878;n1-127.0.0.1:9868\ncontrollerDLegerSelfId = n1\n"
        );
        let errors = TABLE.defaults().read_file("namesrv-n1.conf", &plugin).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0]
                .to_string()
                .starts_with("enableControllerInNamesrv=true in namesrv-n1.conf line 5")
        );
        let off = plugin.replace("= true", "= false");
        let notices = TABLE.defaults().read_file("namesrv-n1.conf", &off).unwrap();
        assert!(notices[0].contains("XML comment"), "{notices:?}");
    }
}
