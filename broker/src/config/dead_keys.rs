//! Keys that tutorials show and RocketMQ 5 has no setter for, so that it passes over them in silence.

use remoting::config_table::{Key, Kind};

/// Each with what holds instead.
pub(super) const DEAD: &[Key] = &[
    Key::accepted(
        "storePathConsumeQueue",
        Kind::Text,
        "",
        "RocketMQ ignores it too. The consume queues lie below storePathRootDir: give each broker a root of its own.",
    ),
    Key::accepted(
        "storePathIndex",
        Kind::Text,
        "",
        "RocketMQ ignores it too. The key index lies below storePathRootDir: give each broker a root of its own.",
    ),
    Key::accepted(
        "storeCheckpoint",
        Kind::Text,
        "",
        "RocketMQ ignores it too. The checkpoint lies below storePathRootDir: give each broker a root of its own.",
    ),
    Key::accepted(
        "abortFile",
        Kind::Text,
        "",
        "RocketMQ ignores it too. Whether the last exit was clean is recorded below storePathRootDir: give each broker a root of its own.",
    ),
    Key::accepted(
        "storePathAbortFile",
        Kind::Text,
        "",
        "RocketMQ ignores it too. Whether the last exit was clean is recorded below storePathRootDir.",
    ),
    Key::accepted(
        "mapedFileSizeCommitLog",
        Kind::Text,
        "",
        "RocketMQ ignores it since 4.4. The key is mappedFileSizeCommitLog.",
    ),
    Key::accepted(
        "mapedFileSizeConsumeQueue",
        Kind::Text,
        "",
        "RocketMQ ignores it since 4.4, and here consume queues have no files of their own.",
    ),
    Key::accepted(
        "checkTransactionMessageEnable",
        Kind::Text,
        "",
        "RocketMQ ignores it since 4.3. Whether transactions are taken is said by rejectTransactionMessage.",
    ),
    Key::accepted(
        "filterServerNums",
        Kind::Text,
        "",
        "RocketMQ ignores it since 5.0. There are no filter servers.",
    ),
    Key::accepted(
        "defaultReadQueueNums",
        Kind::Text,
        "",
        "RocketMQ ignores it too. The key is defaultTopicQueueNums.",
    ),
    Key::accepted(
        "defaultWriteQueueNums",
        Kind::Text,
        "",
        "RocketMQ ignores it too. The key is defaultTopicQueueNums.",
    ),
    Key::accepted(
        "commercialEnable",
        Kind::Text,
        "",
        "RocketMQ ignores it too. The billing counters of the cloud product are not kept.",
    ),
    Key::accepted(
        "commercialTimerCount",
        Kind::Text,
        "",
        "RocketMQ ignores it since 5.0. The billing counters of the cloud product are not kept.",
    ),
    Key::accepted(
        "commercialTransCount",
        Kind::Text,
        "",
        "RocketMQ ignores it since 5.0. The billing counters of the cloud product are not kept.",
    ),
    Key::accepted(
        "commercialBigCount",
        Kind::Text,
        "",
        "RocketMQ ignores it since 5.0. The billing counters of the cloud product are not kept.",
    ),
    Key::accepted(
        "autoDeleteUnusedTopic",
        Kind::Text,
        "",
        "RocketMQ ignores it too. Topics stay until they are deleted.",
    ),
];

/// Keys by which people ask for something that a broker never reads from this file, and would believe to have.
pub(super) const REFUSED: &[Key] = &[
    Key::refused(
        "brokerConfigPaths",
        Kind::Text,
        "",
        "this is one broker in one process, not a container of brokers: start one process for each of those files",
    ),
    Key::refused("tls.enable", Kind::Bool, "false", TLS),
    Key::refused(
        "tls.server.mode",
        Kind::Choice(&["disabled", "permissive", "enforcing"]),
        "disabled",
        TLS,
    ),
    Key::refused("tls.config.file", Kind::Text, "", TLS),
    Key::refused("tls.server.keyPath", Kind::Text, "", TLS),
    Key::refused("tls.server.certPath", Kind::Text, "", TLS),
    Key::refused("tls.server.trustCertPath", Kind::Text, "", TLS),
    Key::refused(
        "tls.server.need.client.auth",
        Kind::Choice(&["none", "optional", "require"]),
        "none",
        TLS,
    ),
];

const TLS: &str =
    "TLS is not built yet, and RocketMQ does not read this key from a broker's file either: it is a system property";
