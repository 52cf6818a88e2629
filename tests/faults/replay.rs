//! Power cuts at any point of a disk's life, through a real ext4 and with the real broker: a disk that remembers its writes
//! lies under a broker in sync flush; afterwards it is shown as it would have been when power went at many moments, with
//! unflushed writes kept, dropped and torn. The broker starts on each, and everything acknowledged before must be there.
//!
//! The control is a disk that lies about its last flushes: if nothing were missing then, the check would see nothing.

use crate::Plan;
use checker::{Class, Report};
use std::path::Path;
use std::time::{Duration, Instant};
use tests::disks::{Ext4, Fate, Journal, Loop, RecordedDisk, Recording};
use tests::harness::{FlushMode, Separate, Setup, Waits, seed};
use tests::load::{History, Load, Options, check, read_back};

/// Small, as it is written anew for each state; large enough that no retention by disk use begins.
const DISK_SIZE: usize = 160 << 20;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Flushes that the lying disk of the control forgets: more than a batch of each shard needs.
const IGNORED_FLUSHES: usize = 40;
/// States of one recording: a new one shows the disk other moments.
const STATES_OF_ONE: usize = 120;

pub(crate) fn run(plan: &Plan) {
    let wanted = plan.choose(8, 520);
    let (seed, begin) = (seed(), Instant::now());
    let mut waits = Waits::new(seed);
    let mut honest = Totals::default();
    let mut lying = Totals::default();
    let (mut harmed, mut unflushed) = (0, 0);
    // A long run ends with its time, and says how far it came.
    let end = plan.end();
    let is_over = |states: usize| states >= wanted || (states >= 8 && end.is_some_and(|end| Instant::now() >= end));
    while !is_over(honest.states) {
        let dir = in_memory();
        let mut stage = Stage::set(dir.path());
        let (recording, history) = stage.record(plan.choose(800, 4_000), &mut waits);
        let states = STATES_OF_ONE.min(wanted - honest.states);
        for cut in cuts(&recording, &history, states, &mut waits) {
            let mut writes = 0;
            let image = recording.after_power_cut(cut, 0, || {
                writes += 1;
                fate(&mut waits)
            });
            let verdict = stage.show(&image, &history, recording.at(cut));
            harmed += usize::from(writes > 0);
            unflushed += writes;
            if !verdict.is_ok() {
                let kept = keep(&image, seed);
                panic!("power cut before operation {cut}, seed {seed}: {verdict}; the disk is kept as {kept}");
            }
            honest.add(verdict);
            if is_over(honest.states) {
                break;
            }
        }
        if lying.states == 0 {
            for cut in cuts(&recording, &history, plan.choose(2, 6), &mut waits) {
                let image = recording.after_power_cut(cut, IGNORED_FLUSHES, || Fate::Dropped);
                lying.add(stage.show(&image, &history, recording.at(cut)));
            }
        }
    }
    println!(
        "  power cuts through ext4={} {}; states with unflushed writes={harmed}, such writes={unflushed}; {:.0?} in all, {:.0?} a state; seed {seed}",
        honest.states,
        honest.verdict,
        begin.elapsed(),
        begin.elapsed() / u32::try_from(honest.states + lying.states).unwrap()
    );
    println!(
        "  control, a disk that lies about {IGNORED_FLUSHES} flushes: states={} of which {} lost something, {} messages of {} acknowledged",
        lying.states,
        lying.with_loss,
        lying.verdict.count(Class::Lost),
        lying.verdict.acknowledged
    );
    assert_eq!(
        lying.with_loss, lying.states,
        "the control must lose: the check sees nothing"
    );
}

/// Keeps a disk for those who look into a failure: no seed brings back the same writes.
fn keep(image: &[u8], seed: u64) -> String {
    let path = std::env::temp_dir().join(format!("ringmq-power-cut-{seed}.img"));
    match std::fs::write(&path, image) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("nothing: {error}"),
    }
}

#[derive(Default)]
struct Totals {
    states: usize,
    with_loss: usize,
    verdict: Report,
}

impl Totals {
    fn add(&mut self, verdict: Report) {
        self.states += 1;
        self.with_loss += usize::from(verdict.count(Class::Lost) > 0);
        self.verdict.add(verdict);
    }
}

/// A folder in memory, if there is one: images are written whole for each state.
fn in_memory() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("ringmq-replay-");
    let made = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir());
    made.expect("a temporary folder can be made")
}

/// Moments after the load's first acknowledgements, in order.
fn cuts(recording: &Recording, history: &History, count: usize, waits: &mut Waits) -> Vec<usize> {
    let settled = history.acknowledged(None).nth(100).expect("more was acknowledged").at;
    let first = (0..recording.len()).find(|&at| recording.at(at) > settled);
    let first = first.expect("the load goes on after its first messages");
    let span = u64::try_from(recording.len() - first).unwrap();
    let mut cuts: Vec<usize> = (0..count)
        .map(|_| first + usize::try_from(waits.below(span)).unwrap())
        .collect();
    cuts.sort_unstable();
    cuts
}

fn fate(waits: &mut Waits) -> Fate {
    match waits.below(4) {
        0 => Fate::Kept,
        1 => Fate::Dropped,
        _ => Fate::Torn(waits.below(u64::MAX)),
    }
}

/// Name server and broker, and the place where the broker's disk is mounted.
struct Stage<'a> {
    dir: &'a Path,
    servers: Separate,
    namesrv: String,
    disk: Option<(Ext4, Loop, RecordedDisk)>,
}

impl Stage<'_> {
    fn set(dir: &Path) -> Stage<'_> {
        let recorded = RecordedDisk::mount(&dir.join("fuse"), DISK_SIZE);
        let device = Loop::of(recorded.file(), true);
        let disk = Ext4::make(device.device(), &dir.join("mnt"), Journal::With);
        // Segments of one MiB, so that new ones are begun under way.
        let setup = Setup::new(FlushMode::Sync)
            .store(&disk.path().join("store"))
            .line("maxMessageSize=65536")
            .line("mappedFileSizeCommitLog=1048576");
        let servers = Separate::with(&setup);
        Stage {
            dir,
            namesrv: servers.ports.namesrv_address(),
            servers,
            disk: Some((disk, device, recorded)),
        }
    }

    /// A broker under load on the disk, killed at the end.
    fn record(&mut self, messages: u64, waits: &mut Waits) -> (Recording, History) {
        let (_, _, recorded) = self.disk.as_ref().expect("the disk is there");
        recorded.record();
        let load = Load::start(&self.namesrv, &Options::new("replay"));
        load.await_more(messages + waits.below(messages), ANSWER_LIMIT);
        let recording = recorded.recording();
        let history = load.stop();
        self.servers.kill_broker();
        self.disk = None;
        (recording, history)
    }

    /// Starts the broker on an image and holds what it gives out against what was acknowledged until then.
    fn show(&mut self, image: &[u8], history: &History, until: Instant) -> Report {
        let file = self.dir.join("image");
        std::fs::write(&file, image).unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        let device = Loop::of(&file, false);
        let disk = Ext4::mount(device.device(), &self.dir.join("mnt"));
        self.servers.start_broker();
        let received = match read_back(&self.namesrv, &history.topic) {
            Ok(received) => received,
            // A disk that lies may lose the topic too: then all of its messages are gone.
            Err(problem) if problem.starts_with("no route") => Vec::new(),
            Err(problem) => panic!("{problem}"),
        };
        self.servers.kill_broker();
        drop(disk);
        check(history, Some(until), &received)
    }
}
