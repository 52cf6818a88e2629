//! What a seed is about: drawn from it, apart from what the command line switches off.

use engine::FlushMode;
use runtime::sim::{FaultKind, Faults, MILLION};
use std::collections::BTreeSet;
use std::time::Duration;

/// What a seed may do, so that one that fails can be made smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Kinds of faults that are never on.
    pub off: BTreeSet<FaultKind>,
    /// The share of the usual length, in percent.
    pub length_percent: u64,
    /// Each broker has a slave. Some are SYNC_MASTER, and of some of those the master's disk is lost in the end.
    pub replicated: bool,
    /// Lets the disks of rare seeds lie about their syncs without the checker being told: such a seed must fail, or
    /// failures do not get through.
    pub canary: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            off: BTreeSet::new(),
            length_percent: 100,
            replicated: false,
            canary: false,
        }
    }
}

/// One seed in so many is a canary when there are canaries.
pub const CANARY_EVERY: u64 = 50;

/// Kinds that any machine of the cluster may meet.
const ANYWHERE: [FaultKind; 11] = [
    FaultKind::PartialRead,
    FaultKind::PartialWrite,
    FaultKind::NetworkDelay,
    FaultKind::PacketLoss,
    FaultKind::ConnectionReset,
    FaultKind::DuplicateConnection,
    FaultKind::HalfOpen,
    FaultKind::Partition,
    FaultKind::OneWayPartition,
    FaultKind::Pause,
    FaultKind::ClockJump,
];

/// Kinds of machines with a disk.
const SERVERS: [FaultKind; 12] = [
    FaultKind::DroppedWrite,
    FaultKind::ReorderedWrite,
    FaultKind::TornWrite,
    FaultKind::LostLength,
    FaultKind::LostName,
    FaultKind::ReadError,
    FaultKind::WriteError,
    FaultKind::SyncError,
    FaultKind::DiskFull,
    FaultKind::DiskStall,
    FaultKind::PowerCut,
    FaultKind::Kill,
];

/// Kinds that one broker without a replica cannot hide, only tell.
const DAMAGE: [FaultKind; 2] = [FaultKind::BitRot, FaultKind::MisdirectedWrite];

/// Every kind that a run of many seeds must have come by. `LyingSync` is for canaries: no store outlives it.
#[must_use]
pub fn kinds() -> Vec<FaultKind> {
    let all = ANYWHERE.iter().chain(&SERVERS).chain(&DAMAGE);
    all.copied().collect()
}

/// One seed's world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Faults of the clients' machines.
    pub clients: Faults,
    /// Faults of the name servers' machines.
    pub name_servers: Faults,
    /// Of each broker.
    pub brokers: Vec<BrokerPlan>,
    /// How long things fail.
    pub faults_for: Duration,
    /// The longest time something stays broken.
    pub outage: Duration,
    /// Old segments go.
    pub retention: bool,
    /// Between two messages of a producer, at most.
    pub pause_between_sends: Duration,
    /// Bodies have up to so many bytes.
    pub body_bytes_max: u64,
    /// Whether this seed's disks lie.
    pub canary: bool,
}

/// One broker of a seed.
#[derive(Clone, Debug)]
pub struct BrokerPlan {
    /// When a message counts as stored.
    pub flush: FlushMode,
    /// Event loops.
    pub cores: usize,
    /// What its machine does.
    pub faults: Faults,
    /// Bytes of a segment.
    pub segment_size: u64,
    /// How often an asynchronous log is made durable.
    pub flush_interval: Duration,
    /// Its slave, if it has one.
    pub slave: Option<SlavePlan>,
}

/// The slave of a broker, and what its master does with it.
#[derive(Clone, Debug)]
pub struct SlavePlan {
    /// The master is a SYNC_MASTER.
    pub synchronous: bool,
    /// While things still fail, the master and its disk go for ever, and everything is read from the slave.
    pub master_is_lost: bool,
    /// When a message counts as stored on the slave.
    pub flush: FlushMode,
    /// Event loops.
    pub cores: usize,
    /// What its machine does.
    pub faults: Faults,
    /// How often an asynchronous log is made durable.
    pub flush_interval: Duration,
    /// It and its connections are well, so that its master loses nothing, not even by a power cut while it flushes asynchronously.
    pub calm: bool,
}

impl BrokerPlan {
    /// Whether its medium may take away what was safe.
    #[must_use]
    pub fn damaged(&self) -> bool {
        DAMAGE.iter().any(|kind| self.faults.get(*kind) > 0)
    }
}

impl SlavePlan {
    fn new(seed: u64, number: u64, swarm: impl Fn(u64, &[FaultKind]) -> Faults) -> SlavePlan {
        // Numbers of their own: a seed is the same world without slaves.
        let mut rng = fastrand_of(seed ^ (number + 1) << 50);
        let faults = swarm(seed ^ (number + 5) << 40, &[&ANYWHERE[..], &SERVERS[..]].concat());
        let sync_errors = faults.get(FaultKind::SyncError) / 4;
        let synchronous = rng.below(3) > 0;
        SlavePlan {
            synchronous,
            master_is_lost: synchronous && rng.below(2) == 0,
            flush: if rng.below(2) == 0 {
                FlushMode::Sync
            } else {
                FlushMode::Async
            },
            cores: 1 + rng.below_usize(3),
            faults: faults.with(FaultKind::SyncError, sync_errors),
            flush_interval: Duration::from_millis(50 << rng.below(4)),
            calm: false,
        }
    }
}

impl Plan {
    /// What a seed does.
    #[must_use]
    pub fn new(seed: u64, options: &Options) -> Plan {
        let mut rng = fastrand_of(seed);
        let canary = options.canary && seed % CANARY_EVERY == CANARY_EVERY - 1;
        let without = |mut faults: Faults| {
            for kind in &options.off {
                faults.set(*kind, 0);
            }
            faults
        };
        let swarm = |seed, allowed: &[FaultKind]| without(Faults::swarm(seed, allowed));
        let damaged_broker = (rng.below(6) == 0).then(|| rng.below(2));
        let mut brokers = Vec::new();
        for number in 0..2_u64 {
            let mut allowed = [&ANYWHERE[..], &SERVERS[..]].concat();
            // Nobody mends a damaged log from its copy yet.
            let damaged = damaged_broker == Some(number) && !options.replicated;
            if damaged {
                allowed.extend(DAMAGE);
            }
            let mut faults = swarm(seed ^ (number + 1) << 40, &allowed);
            if damaged && rng.below(2) == 0 && !options.off.contains(&FaultKind::BitRot) {
                // Reads of files are rare, since most come from memory.
                faults.set(FaultKind::BitRot, MILLION / 50);
            }
            if canary {
                faults = faults
                    .with(FaultKind::LyingSync, MILLION)
                    .with(FaultKind::DroppedWrite, MILLION)
                    .with(FaultKind::PowerCut, MILLION / 4);
            }
            // A log that makes durable what it writes meets such an error too often to get on.
            let sync_errors = faults.get(FaultKind::SyncError) / 4;
            brokers.push(BrokerPlan {
                flush: if canary || rng.below(2) == 0 {
                    FlushMode::Sync
                } else {
                    FlushMode::Async
                },
                cores: 1 + rng.below_usize(3),
                faults: faults.with(FaultKind::SyncError, sync_errors),
                segment_size: 64 << 10 << rng.below(3),
                flush_interval: Duration::from_millis(50 << rng.below(4)),
                slave: options.replicated.then(|| SlavePlan::new(seed, number, swarm)),
            });
        }
        let mut plan = Plan {
            seed,
            clients: swarm(seed ^ 3 << 40, &ANYWHERE),
            name_servers: swarm(seed ^ 4 << 40, &[&ANYWHERE[..], &SERVERS[..]].concat()),
            brokers,
            faults_for: Duration::from_millis((3_000 + rng.below(5_000)) * options.length_percent / 100),
            outage: Duration::from_millis(100 << rng.below(6)),
            // A slave that lacks what its master has deleted must be made anew by people.
            retention: rng.below(4) == 0 && !options.replicated,
            pause_between_sends: Duration::from_millis(4 << rng.below(5)),
            body_bytes_max: 100 << rng.below(7),
            canary,
        };
        if options.replicated && rng.below(3) == 0 {
            plan.calm_slaves();
        }
        plan
    }

    /// Nothing happens to slaves or between them and their masters. Masters die as before, by power cuts above all.
    fn calm_slaves(&mut self) {
        let between = [FaultKind::Partition, FaultKind::OneWayPartition, FaultKind::Pause];
        for faults in [&mut self.clients, &mut self.name_servers] {
            between.iter().for_each(|kind| faults.set(*kind, 0));
        }
        for broker in &mut self.brokers {
            between.iter().for_each(|kind| broker.faults.set(*kind, 0));
            if let Some(slave) = &mut broker.slave {
                slave.faults = Faults::none();
                slave.calm = slave.synchronous;
            }
        }
    }
}

/// Numbers from a seed, apart from those of the simulation.
struct Draws(u64);

fn fastrand_of(seed: u64) -> Draws {
    Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x706c_616e)
}

impl Draws {
    /// splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn below_usize(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_same_plan_whatever_is_switched_off() {
        let all = Plan::new(7, &Options::default());
        let off = Options {
            off: kinds().into_iter().collect(),
            ..Options::default()
        };
        let none = Plan::new(7, &off);
        assert_eq!(none.clients, Faults::none());
        assert_eq!(
            (all.brokers[0].flush, all.brokers[1].segment_size, all.outage),
            (none.brokers[0].flush, none.brokers[1].segment_size, none.outage)
        );
    }

    #[test]
    fn only_some_seeds_are_canaries_and_only_when_asked() {
        let options = Options {
            canary: true,
            ..Options::default()
        };
        let count = (0..500).filter(|seed| Plan::new(*seed, &options).canary).count();
        assert_eq!(count, 10);
        assert!(!Plan::new(CANARY_EVERY - 1, &Options::default()).canary);
    }
}
