//! A peer's RocketMQ version: the position in Apache's `MQVersion`, which lists SNAPSHOT and release in turn.

/// Version ordinal, as the `version` of a header has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub i32);

impl Version {
    /// Below it, the broker pushes no reset of offsets to a client.
    pub const V3_0_7_SNAPSHOT: Self = Self(28);
    /// Below it, brokers register without a body.
    pub const V3_0_11: Self = Self(37);
    /// Below it, the broker forwards no running-info or consume-directly call to a client.
    pub const V3_1_8_SNAPSHOT: Self = Self(62);
    /// From it on, `maxReconsumeTimes` of a send-back is a client's to choose.
    pub const V3_4_9: Self = Self(121);
    /// Clients refuse SQL92 filters on brokers below it.
    pub const V4_1_0_SNAPSHOT: Self = Self(232);
    /// What the Go client says it is.
    pub const GO_CLIENT: Self = Self(317);
    /// The last whose ACL signature leaves `_UNIQUE_KEY_QUERY` out.
    pub const V4_9_3: Self = Self(399);
    /// From it on, clients get the route as standard JSON.
    pub const V4_9_4: Self = Self(401);
    /// From it on, a compressed register body carries queue mappings.
    pub const V5_0_0: Self = Self(413);
    /// Above it, clients understand GO_AWAY.
    pub const V5_3_1: Self = Self(475);
    /// The version whose behaviour we serve.
    pub const V5_5_0: Self = Self(513);
    /// What we say we are.
    pub const CURRENT: Self = Self::V5_5_0;
    /// Name of [`Version::CURRENT`], as `brokerVersionDesc` shows it.
    pub const CURRENT_NAME: &'static str = "V5_5_0";

    /// Whether a route for this peer must be standard JSON, with quoted numeric keys.
    #[must_use]
    pub fn reads_standard_route(self) -> bool {
        self >= Self::V4_9_4
    }
}
