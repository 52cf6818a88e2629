//! Keys of RocketMQ's NettyServerConfig, NettyClientConfig and AuthConfig that change nothing here, or must keep their default.

use super::instead::{AUTH, CLIENTS, POOL_QUEUES, SOCKETS};
use remoting::config_table::{Key, Kind};

/// Every int of Java.
const I32: Kind = Kind::Int {
    min: -2_147_483_648,
    max: 2_147_483_647,
};

/// Network: checked and without effect.
pub(super) const ACCEPTED: &[Key] = &[
    Key::accepted(
        "connectTimeoutMillis",
        I32,
        "3000",
        "Connections to name servers may take 3 seconds to be made, and are tried again with a growing pause.",
    ),
    Key::accepted("serverWorkerThreads", I32, "8", SOCKETS),
    Key::accepted("serverCallbackExecutorThreads", I32, "0", SOCKETS),
    Key::accepted("serverSelectorThreads", I32, "3", SOCKETS),
    Key::accepted("serverOnewaySemaphoreValue", I32, "256", POOL_QUEUES),
    Key::accepted("serverAsyncSemaphoreValue", I32, "64", POOL_QUEUES),
    Key::accepted("serverSocketSndBufSize", I32, "0", SOCKETS),
    Key::accepted("serverSocketRcvBufSize", I32, "0", SOCKETS),
    Key::accepted("writeBufferHighWaterMark", I32, "0", CLIENTS),
    Key::accepted("writeBufferLowWaterMark", I32, "0", CLIENTS),
    Key::accepted("serverSocketBacklog", I32, "1024", SOCKETS),
    Key::accepted("serverNettyWorkerGroupEnable", Kind::Bool, "true", SOCKETS),
    Key::accepted("serverPooledByteBufAllocatorEnable", Kind::Bool, "true", SOCKETS),
    Key::accepted(
        "enableShutdownGracefully",
        Kind::Bool,
        "false",
        "The process stops on SIGTERM as fast as it can flush: it unregisters, answers what it has, writes a checkpoint.",
    ),
    Key::accepted(
        "shutdownWaitTimeSeconds",
        I32,
        "30",
        "The process stops on SIGTERM as fast as it can flush: it unregisters, answers what it has, writes a checkpoint.",
    ),
    Key::accepted("useEpollNativeSelector", Kind::Bool, "false", SOCKETS),
    Key::accepted("clientWorkerThreads", I32, "4", CLIENTS),
    Key::accepted("clientCallbackExecutorThreads", I32, "", CLIENTS),
    Key::accepted("clientOnewaySemaphoreValue", I32, "65535", CLIENTS),
    Key::accepted("clientAsyncSemaphoreValue", I32, "65535", CLIENTS),
    Key::accepted("channelNotActiveInterval", Kind::LONG, "60000", CLIENTS),
    Key::accepted("isScanAvailableNameSrv", Kind::Bool, "true", CLIENTS),
    Key::accepted("clientChannelMaxIdleTimeSeconds", I32, "120", CLIENTS),
    Key::accepted("clientSocketSndBufSize", I32, "0", CLIENTS),
    Key::accepted("clientSocketRcvBufSize", I32, "0", CLIENTS),
    Key::accepted("clientPooledByteBufAllocatorEnable", Kind::Bool, "false", CLIENTS),
    Key::accepted("clientCloseSocketIfTimeout", Kind::Bool, "true", CLIENTS),
    Key::accepted("disableCallbackExecutor", Kind::Bool, "false", CLIENTS),
    Key::accepted("disableNettyWorkerGroup", Kind::Bool, "false", CLIENTS),
    Key::accepted("maxReconnectIntervalTimeSeconds", Kind::LONG, "60", CLIENTS),
    Key::accepted("enableReconnectForGoAway", Kind::Bool, "true", CLIENTS),
];

/// Network: features that are not built yet.
pub(super) const REFUSED: &[Key] = &[
    Key::refused(
        "useTLS",
        Kind::Bool,
        "false",
        "TLS is not built yet, so this broker would talk in the clear",
    ),
    Key::refused(
        "socksProxyConfig",
        Kind::Text,
        "{}",
        "connections to name servers do not go through a SOCKS proxy",
    ),
];

/// Access control: checked and without effect.
pub(super) const AUTH_ACCEPTED: &[Key] = &[
    Key::accepted("configName", Kind::Text, "", AUTH),
    Key::accepted("clusterName", Kind::Text, "", AUTH),
    Key::accepted("authConfigPath", Kind::Text, "", AUTH),
    Key::accepted("authenticationProvider", Kind::Text, "", AUTH),
    Key::accepted("authenticationMetadataProvider", Kind::Text, "", AUTH),
    Key::accepted("authenticationStrategy", Kind::Text, "", AUTH),
    Key::accepted("authenticationWhitelist", Kind::Text, "", AUTH),
    Key::accepted("initAuthenticationUser", Kind::Text, "", AUTH).secret(),
    Key::accepted("innerClientAuthenticationCredentials", Kind::Text, "", AUTH).secret(),
    Key::accepted("authorizationProvider", Kind::Text, "", AUTH),
    Key::accepted("authorizationMetadataProvider", Kind::Text, "", AUTH),
    Key::accepted("authorizationStrategy", Kind::Text, "", AUTH),
    Key::accepted("authorizationWhitelist", Kind::Text, "", AUTH),
    Key::accepted("userCacheMaxNum", I32, "1000", AUTH),
    Key::accepted("userCacheExpiredSecond", I32, "600", AUTH),
    Key::accepted("userCacheRefreshSecond", I32, "60", AUTH),
    Key::accepted("aclCacheMaxNum", I32, "1000", AUTH),
    Key::accepted("aclCacheExpiredSecond", I32, "600", AUTH),
    Key::accepted("aclCacheRefreshSecond", I32, "60", AUTH),
    Key::accepted("statefulAuthenticationCacheMaxNum", I32, "10000", AUTH),
    Key::accepted("statefulAuthenticationCacheExpiredSecond", I32, "60", AUTH),
    Key::accepted("statefulAuthorizationCacheMaxNum", I32, "10000", AUTH),
    Key::accepted("statefulAuthorizationCacheExpiredSecond", I32, "60", AUTH),
];

/// Access control: features that are not built yet.
pub(super) const AUTH_REFUSED: &[Key] = &[
    Key::refused(
        "authenticationEnabled",
        Kind::Bool,
        "false",
        "authentication is not built yet, so this broker would serve everybody",
    ),
    Key::refused(
        "authorizationEnabled",
        Kind::Bool,
        "false",
        "authorization is not built yet, so this broker would serve everybody",
    ),
    Key::refused(
        "migrateAuthFromV1Enabled",
        Kind::Bool,
        "false",
        "access control is not built yet, so there is nothing to migrate to",
    ),
];
