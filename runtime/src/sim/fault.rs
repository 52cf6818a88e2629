//! Kinds of faults, how likely each is, and which of them one seed switches on (swarm testing).

use std::fmt;

/// What can go wrong in a simulated world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A power cut drops writes that were not synced.
    DroppedWrite,
    /// A power cut keeps a later write and drops an earlier one.
    ReorderedWrite,
    /// A power cut keeps only some 512-byte sectors of a write.
    TornWrite,
    /// A power cut takes back a change of a file's length.
    LostLength,
    /// A power cut takes back a creation, a rename or a deletion whose directory was not synced.
    LostName,
    /// A sector goes to the wrong place of its file when it is synced.
    MisdirectedWrite,
    /// A bit on the disk flips.
    BitRot,
    /// A read fails with EIO.
    ReadError,
    /// A write fails with EIO, after some of the bytes.
    WriteError,
    /// A sync fails with EIO; the kernel forgets that the pages were dirty.
    SyncError,
    /// A sync says it succeeded and did nothing.
    LyingSync,
    /// The disk is full.
    DiskFull,
    /// A disk operation takes seconds.
    DiskStall,
    /// A read returns fewer bytes than have arrived.
    PartialRead,
    /// A write takes fewer bytes than there is room for.
    PartialWrite,
    /// A packet takes much longer than usual.
    NetworkDelay,
    /// A connection is reset.
    ConnectionReset,
    /// A connection goes dead without either end being told.
    HalfOpen,
    /// All packets between two nodes are lost.
    Partition,
    /// Power is cut.
    PowerCut,
    /// The process is killed; what it wrote is still in the page cache.
    Kill,
    /// A node stands still for a while.
    Pause,
    /// The wall clock of a node jumps.
    ClockJump,
    // Later kinds come last: what a seed draws for the others stays.
    /// All packets from one node to another are lost, and none of those the other way.
    OneWayPartition,
    /// A packet is lost and sent again later; what was sent after it waits.
    PacketLoss,
    /// The packet that opens a connection comes twice: the server has a connection on which nobody will ever speak.
    DuplicateConnection,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 26] = [
        FaultKind::DroppedWrite,
        FaultKind::ReorderedWrite,
        FaultKind::TornWrite,
        FaultKind::LostLength,
        FaultKind::LostName,
        FaultKind::MisdirectedWrite,
        FaultKind::BitRot,
        FaultKind::ReadError,
        FaultKind::WriteError,
        FaultKind::SyncError,
        FaultKind::LyingSync,
        FaultKind::DiskFull,
        FaultKind::DiskStall,
        FaultKind::PartialRead,
        FaultKind::PartialWrite,
        FaultKind::NetworkDelay,
        FaultKind::ConnectionReset,
        FaultKind::HalfOpen,
        FaultKind::Partition,
        FaultKind::PowerCut,
        FaultKind::Kill,
        FaultKind::Pause,
        FaultKind::ClockJump,
        FaultKind::OneWayPartition,
        FaultKind::PacketLoss,
        FaultKind::DuplicateConnection,
    ];

    /// Whether a broker without replicas may lose acknowledged messages to it: the device itself lies or loses.
    #[must_use]
    pub fn breaks_promises(self) -> bool {
        matches!(
            self,
            FaultKind::MisdirectedWrite | FaultKind::BitRot | FaultKind::LyingSync
        )
    }

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One in a million: the unit of [`Faults`].
pub const MILLION: u32 = 1_000_000;

/// How often each kind of fault happens, in parts of a million.
///
/// Disk and network kinds are drawn once an operation or packet. `DroppedWrite`, `ReorderedWrite`, `TornWrite`,
/// `LostLength` and `LostName` are drawn once a power cut: whether that cut does such a thing at all. `Partition`,
/// `OneWayPartition`, `PowerCut`, `Kill`, `Pause` and `ClockJump` are drawn by [`crate::sim::Simulation::disturb`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    per_million: [u32; FaultKind::ALL.len()],
}

impl Default for Faults {
    fn default() -> Self {
        Faults::power_cuts_only()
    }
}

impl Faults {
    /// Nothing goes wrong, and a power cut loses nothing.
    #[must_use]
    pub const fn none() -> Self {
        Faults {
            per_million: [0; FaultKind::ALL.len()],
        }
    }

    /// Disk and network work; a power cut does all it may do to what was not synced, and reads and writes of sockets are
    /// partial at times.
    #[must_use]
    pub fn power_cuts_only() -> Self {
        Faults::none()
            .with(FaultKind::DroppedWrite, MILLION)
            .with(FaultKind::ReorderedWrite, MILLION * 3 / 4)
            .with(FaultKind::TornWrite, MILLION * 9 / 10)
            .with(FaultKind::LostLength, MILLION / 2)
            .with(FaultKind::LostName, MILLION / 2)
            .with(FaultKind::PartialRead, MILLION / 8)
            .with(FaultKind::PartialWrite, MILLION / 8)
    }

    /// Each kind of `allowed` is on in half of the seeds, with a likelihood that differs from seed to seed.
    #[must_use]
    pub fn swarm(seed: u64, allowed: &[FaultKind]) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x7377_6172_6d00_0000);
        let mut faults = Faults::none();
        // All kinds are drawn, in a fixed order, so that what one seed does to one kind does not hang on `allowed`.
        for kind in FaultKind::ALL {
            let on = rng.bool();
            let share = rng.u32(1..=100);
            if on && allowed.contains(&kind) {
                faults.set(kind, usual_maximum(kind) / 100 * share);
            }
        }
        faults
    }

    /// Sets how often a kind happens, in parts of a million.
    pub fn set(&mut self, kind: FaultKind, per_million: u32) {
        self.per_million[kind.index()] = per_million.min(MILLION);
    }

    /// The same with one kind set.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, per_million: u32) -> Self {
        self.set(kind, per_million);
        self
    }

    /// How often a kind happens, in parts of a million.
    #[must_use]
    pub fn get(&self, kind: FaultKind) -> u32 {
        self.per_million[kind.index()]
    }
}

/// The likelihood at which a kind bites often and lets some work through.
const fn usual_maximum(kind: FaultKind) -> u32 {
    match kind {
        FaultKind::DroppedWrite | FaultKind::TornWrite | FaultKind::ReorderedWrite => MILLION,
        FaultKind::LostLength | FaultKind::LostName | FaultKind::PartialRead | FaultKind::PartialWrite => MILLION / 2,
        FaultKind::MisdirectedWrite | FaultKind::BitRot | FaultKind::LyingSync => 5_000,
        FaultKind::ReadError | FaultKind::WriteError | FaultKind::SyncError | FaultKind::DiskFull => 5_000,
        FaultKind::DiskStall => 1_000,
        FaultKind::NetworkDelay => 50_000,
        FaultKind::ConnectionReset => 5_000,
        FaultKind::HalfOpen => 1_000,
        FaultKind::PacketLoss => 20_000,
        FaultKind::DuplicateConnection => 50_000,
        FaultKind::Partition
        | FaultKind::OneWayPartition
        | FaultKind::PowerCut
        | FaultKind::Kill
        | FaultKind::Pause
        | FaultKind::ClockJump => MILLION / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_switches_each_kind_on_in_some_seeds_and_off_in_others() {
        for kind in FaultKind::ALL {
            let on = (0..100)
                .filter(|&seed| Faults::swarm(seed, &FaultKind::ALL).get(kind) > 0)
                .count();
            assert!((25..=75).contains(&on), "{kind} is on in {on} of 100 seeds");
        }
    }

    #[test]
    fn a_swarm_leaves_off_what_is_not_allowed_and_does_not_change_the_rest() {
        for seed in 0..50 {
            let all = Faults::swarm(seed, &FaultKind::ALL);
            let one = Faults::swarm(seed, &[FaultKind::SyncError]);
            assert_eq!(one.get(FaultKind::SyncError), all.get(FaultKind::SyncError));
            assert_eq!(one.get(FaultKind::TornWrite), 0);
        }
    }

    #[test]
    fn the_index_of_a_kind_is_its_place_in_the_list() {
        for (place, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), place);
        }
    }
}
