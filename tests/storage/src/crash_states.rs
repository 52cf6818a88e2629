//! Runs workloads and looks at what crashes may leave of them: each state is recovered, checked, recovered again after the
//! worst power cut, and some recoveries are cut short themselves.

use crate::examine::{Examined, examine};
use crate::fates;
use crate::history::{End, Expectation};
use crate::stale;
use crate::workload::{Life, live, options};
use engine::{FlushMode, StoreOptions, WritePath};
use runtime::sim::{CrashPoint, DiskImage, Fate, FaultKind, Faults, MILLION, Moment};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lives of one store; each begins with what a crash left of the one before.
const LIVES: u64 = 3;
/// States of one life that are looked at.
const STATES_OF_LIFE: usize = 200;
/// Of so many recoveries one is cut short as well, and one finds an old batch behind the log's end.
const CUT_SHORT: u64 = 3;
/// Message numbers of one life.
const NUMBERS_OF_LIFE: u32 = 10_000;

/// How disks of the workloads behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disks {
    /// Every fourth seed has syncs that fail.
    Honest,
    /// Syncs do nothing: the check must find it.
    Lying,
}

/// One state: of this seed, in this life, so many down its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateId {
    pub(crate) seed: u64,
    pub(crate) life: u64,
    pub(crate) number: usize,
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.seed, self.life, self.number)
    }
}

impl std::str::FromStr for StateId {
    type Err = String;

    fn from_str(text: &str) -> Result<StateId, String> {
        let wrong = || format!("{text:?} is no state: one is SEED:LIFE:NUMBER");
        let mut parts = text.split(':').map(|part| part.parse::<u64>().map_err(|_| wrong()));
        let mut next = || parts.next().unwrap_or_else(|| Err(wrong()));
        Ok(StateId {
            seed: next()?,
            life: next()?,
            number: usize::try_from(next()?).map_err(|_| wrong())?,
        })
    }
}

/// How much of a seed is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    All,
    /// Until something is wrong.
    #[cfg(feature = "museum")]
    FirstFailure,
    Only(StateId),
}

impl Extent {
    fn includes(self, id: StateId, totals: &Totals) -> bool {
        match self {
            Extent::All => true,
            #[cfg(feature = "museum")]
            Extent::FirstFailure => totals.failures.is_empty(),
            Extent::Only(only) => only == id && totals.failures.is_empty(),
        }
    }
}

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    /// States by kind.
    pub(crate) states: BTreeMap<&'static str, u64>,
    /// Messages that had to be there, over all states.
    pub(crate) sure: u64,
    /// Messages that were there.
    pub(crate) found: u64,
    /// States in which something that was not sure to be there is gone.
    pub(crate) shortened: u64,
    pub(crate) failures: Vec<String>,
}

impl Totals {
    pub(crate) fn count(&self) -> u64 {
        self.states.values().sum()
    }

    pub(crate) fn add(&mut self, other: Totals) {
        self.seeds += other.seeds;
        for (kind, count) in other.states {
            *self.states.entry(kind).or_default() += count;
        }
        self.sure += other.sure;
        self.found += other.found;
        self.shortened += other.shortened;
        self.failures.extend(other.failures);
    }

    fn state(&mut self, kind: &'static str) {
        *self.states.entry(kind).or_default() += 1;
    }
}

/// A crash of a life: when, and what is left of what was not durable.
#[derive(Clone, Debug)]
struct Crash {
    point: usize,
    /// `None`: the process is killed.
    fates: Option<Vec<Fate>>,
}

impl Crash {
    fn end(&self) -> End {
        match self.fates {
            None => End::Killed,
            Some(_) => End::PowerCut,
        }
    }

    fn disk(&self, life: &Life) -> DiskImage {
        let point = &life.points[self.point].at;
        match &self.fates {
            None => point.killed(),
            Some(fates) => point.cut(fates),
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fates {
            None => write!(f, "killed at moment {}", self.point),
            Some(fates) => write!(f, "power cut at moment {}, unsynced changes {fates:?}", self.point),
        }
    }
}

/// Looks at the states of one seed, or at one of them.
pub(crate) fn run_seed(seed: u64, disks: Disks, extent: Extent) -> Totals {
    let mut totals = Totals {
        seeds: 1,
        ..Totals::default()
    };
    let flush = if seed.is_multiple_of(2) {
        FlushMode::Sync
    } else {
        FlushMode::Async
    };
    // Both flush modes in both ways of writing.
    let options = StoreOptions {
        write_path: if seed % 16 >= 8 {
            WritePath::Buffered
        } else {
            WritePath::Auto
        },
        ..options(flush)
    };
    let faults = match disks {
        Disks::Lying => Faults::none().with(FaultKind::LyingSync, MILLION),
        Disks::Honest if seed % 8 >= 6 => Faults::none().with(FaultKind::SyncError, MILLION / 50),
        Disks::Honest => Faults::none(),
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let mut start: (Option<DiskImage>, Expectation) = (None, Expectation::default());
    for life_number in 0..LIVES {
        let first = u32::try_from(life_number).unwrap_or(0) * NUMBERS_OF_LIFE + 1;
        let (disk, baseline) = start;
        let lived = catch(|| live(random.u64(..), disk, baseline, &options, &faults, first));
        let life = match lived {
            Ok(life) => life,
            Err(reason) => {
                totals
                    .failures
                    .push(format!("seed {seed}, life {life_number}: {reason}"));
                return totals;
            }
        };
        let crashes = crashes(&life, &mut random);
        for (number, crash) in crashes.iter().enumerate() {
            let id = StateId {
                seed,
                life: life_number,
                number,
            };
            let salt = random.u64(..);
            if extent.includes(id, &totals) {
                let check = || check_state(&life, crash, &options, (flush, &faults), salt, &mut totals);
                if let Err(reason) = catch(check) {
                    totals.failures.push(format!("state {id} ({crash}): {reason}"));
                }
            }
        }
        let next = &crashes[random.usize(..crashes.len())];
        let expectation = life.history.expectation(life.points[next.point].events);
        start = (Some(next.disk(&life)), expectation.after(end_of(next, flush, &faults)));
    }
    totals
}

/// After a failed sync the kernel forgets what it has not written: a kill in async flush mode may then lose it.
fn end_of(crash: &Crash, flush: FlushMode, faults: &Faults) -> End {
    let forgets = faults.get(FaultKind::SyncError) > 0 && flush == FlushMode::Async;
    if forgets { End::PowerCut } else { crash.end() }
}

/// The crashes of a life that are looked at, all different.
fn crashes(life: &Life, random: &mut fastrand::Rng) -> Vec<Crash> {
    let mut found = Vec::new();
    let last = life.points.len() - 1;
    for (point, moment) in life.points.iter().enumerate() {
        match moment.at.moment {
            Moment::Changed if point < last => found.push(Crash { point, fates: None }),
            _ => {
                let fates = fates::all(&moment.at.unsynced(), random);
                found.extend(fates.into_iter().map(|fates| Crash {
                    point,
                    fates: Some(fates),
                }));
            }
        }
    }
    random.shuffle(&mut found);
    found.truncate(STATES_OF_LIFE);
    found
}

fn check_state(
    life: &Life,
    crash: &Crash,
    options: &StoreOptions,
    (flush, faults): (FlushMode, &Faults),
    salt: u64,
    totals: &mut Totals,
) -> Result<(), String> {
    let mut random = fastrand::Rng::with_seed(salt);
    let expectation = life.history.expectation(life.points[crash.point].events);
    let end = end_of(crash, flush, faults);
    let cuts_short = random.u64(..CUT_SHORT) == 0;
    let kind = match crash.end() {
        End::Killed => "killed",
        End::PowerCut => "power cut",
    };
    let first = examine(crash.disk(life), options, cuts_short, false)?;
    totals.state(kind);
    totals.found += first.contents.messages.len() as u64;
    totals.shortened += u64::from(first.contents.messages.len() < expectation.messages.len());
    totals.sure += check(&expectation, end, &first)?;
    // What a recovery has shown stays, whatever a power cut takes now.
    let again = examine(first.left.cut(&[]), options, false, true).map_err(in_second)?;
    totals.state("power cut after recovery");
    if again.contents != first.contents {
        return Err(format!(
            "a second recovery finds something else: {}",
            first.contents.difference(&again.contents)
        ));
    }
    if random.u64(..CUT_SHORT) == 0 {
        old_batch(&first, options, totals).map_err(|error| format!("with an old batch behind the end: {error}"))?;
    }
    if cuts_short && let Some((disk, how)) = cut_short(&first.moments, &mut random) {
        // The first recovery may have been cut short with the power.
        let third = examine(disk, options, false, false).map_err(|error| format!("after {how}: {error}"))?;
        totals.state("power cut during recovery");
        check(&expectation, End::PowerCut, &third).map_err(|error| format!("after {how}: {error}"))?;
    }
    Ok(())
}

/// Bytes of an older end of the log are no continuation, however sound they are.
fn old_batch(first: &Examined, options: &StoreOptions, totals: &mut Totals) -> Result<(), String> {
    let mut disk = first.left.killed();
    if !stale::plant(&mut disk, first.contents.min, first.contents.end)? {
        return Ok(());
    }
    let found = examine(disk, options, false, false)?;
    totals.state("old batch behind the end");
    if found.contents == first.contents {
        return Ok(());
    }
    Err(format!(
        "something else is found: {}",
        first.contents.difference(&found.contents)
    ))
}

fn in_second(error: String) -> String {
    format!("in the second recovery: {error}")
}

fn check(expectation: &Expectation, end: End, examined: &Examined) -> Result<u64, String> {
    let contents = &examined.contents;
    expectation.check(end, contents.min, &contents.messages, &contents.metadata)
}

/// A recovery that ends before it has ended.
fn cut_short(moments: &[CrashPoint], random: &mut fastrand::Rng) -> Option<(DiskImage, String)> {
    let at = random.usize(..moments.len().max(1));
    let point = moments.get(at)?;
    let all = fates::all(&point.unsynced(), random);
    let fates = random.choice(all)?;
    let how = format!("a power cut at moment {at} of the recovery, unsynced changes {fates:?}");
    Some((point.cut(&fates), how))
}

/// An engine that panics is a finding too.
pub(crate) fn catch<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}
