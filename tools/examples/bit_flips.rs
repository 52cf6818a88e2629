//! How much of what can rot in a message is noticed: flips one bit after another, by field, in a store, and asks `verify` each time;
//! with Apache's jars it asks the one command of its mqadmin that reads files, `dumpCompactionLog`, about the same bits.
//!
//! ```text
//! bit_flips make DIR BYTES                            a store of ours with messages of 1 KiB
//! bit_flips flip DIR SAMPLES [--apache-lib LIB_DIR]   DIR may be of either kind, and is as before afterwards; nobody else may use it
//! ```
#![expect(clippy::print_stdout, reason = "what is found is printed")]

use engine::{Hooks, NewMessage, Shard, StoreOptions, prepare_store};
use protocol::message::record::RecordView;
use protocol::model::{QueueId, ShardId, tag_hash};
use runtime::probe::{IoPath, Refusal};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use tools::store::findings::Finding;
use tools::store::open::Store;
use tools::store::scan::Item;
use tools::store::verify::{Watcher, verify_shard};
use tools::store::verify_apache::verify_apache;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Messages that Apache's command has to print behind the flipped one until it counts as passed by.
const PASSED_BY: usize = 200;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["make", directory, bytes] => bytes
            .parse()
            .map_err(Into::into)
            .and_then(|bytes| make(Path::new(directory), bytes)),
        ["flip", directory, samples] => samples
            .parse()
            .map_err(Into::into)
            .and_then(|n| flip(Path::new(directory), n, None)),
        ["flip", directory, samples, "--apache-lib", lib] => samples
            .parse()
            .map_err(Into::into)
            .and_then(|n| flip(Path::new(directory), n, Some(lib))),
        _ => Err("usage: bit_flips make DIR BYTES | flip DIR SAMPLES [--apache-lib LIB_DIR]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(directory: &Path, bytes: u64) -> Result<()> {
    runtime::core::run_here(&IoPath::Blocking(Refusal::Configured), async {
        let options = StoreOptions {
            segment_size: 256 << 20,
            ..StoreOptions::new(directory, 1)
        };
        let layout = prepare_store(&options).await?;
        let shard = Shard::open(&layout, ShardId::ZERO, Hooks::default()).await?.0;
        let body = [b'x'; 1024];
        let mut number = 0_u32;
        while shard.physical_bounds().1.position() < bytes {
            let mut last = None;
            for _ in 0..256 {
                let (key, queue_id) = (format!("key-{number}"), number % 8);
                let properties = format!("KEYS\u{1}{key}\u{2}TAGS\u{1}paid\u{2}UNIQ_KEY\u{1}{number:032X}\u{2}");
                let unique = format!("{number:032X}");
                let message = NewMessage {
                    queue: shard.queue("Orders", queue_id)?,
                    topic: "Orders",
                    queue_id: QueueId::new(queue_id).ok_or("a queue")?,
                    flag: 0,
                    sys_flag: 0,
                    born_timestamp: 1,
                    born_host: "127.0.0.1:1000".parse()?,
                    store_host: "127.0.0.1:10911".parse()?,
                    reconsume_times: 0,
                    prepared_transaction_offset: 0,
                    body: &body,
                    properties: &properties,
                    tag_hash: tag_hash(Some("paid")),
                    keys: &[&unique, &key],
                    in_consume_queue: true,
                };
                last = Some(shard.append(&message)?.batch);
                number += 1;
            }
            if let Some(batch) = last {
                shard.committed(batch).await?;
            }
        }
        shard.close().await?;
        println!("{number} messages");
        Ok(())
    })?
}

/// Where a field is in a record.
fn fields(record: &RecordView<'_>) -> Vec<(&'static str, Range<usize>)> {
    let fixed = [
        ("size", 4),
        ("magic", 4),
        ("body CRC", 4),
        ("queue id", 4),
        ("flag", 4),
        ("queue offset", 8),
        ("physical offset", 8),
        ("sysFlag", 4),
        ("born timestamp", 8),
        ("born host", 8),
        ("store timestamp", 8),
        ("store host", 8),
        ("reconsume times", 4),
        ("prepared transaction", 8),
        ("body length", 4),
        ("body", record.body.len()),
        ("topic length", 1),
        ("topic", record.topic.len()),
        ("properties length", 2),
        ("properties", record.properties.len()),
    ];
    let mut at = 0;
    let places = fixed.into_iter().map(|(name, size)| {
        let range = at..at + size;
        at += size;
        (name, range)
    });
    places.filter(|(_, range)| !range.is_empty()).collect()
}

/// A message that is flipped about in.
struct Sample {
    position: u64,
    fields: Vec<(&'static str, Range<usize>)>,
    /// Unique id of the message before it.
    before: String,
}

fn samples(store: &Store, count: usize) -> Result<Vec<Sample>> {
    let mut scan = store.scan(ShardId::ZERO)?;
    let mut all = Vec::new();
    let mut random = Random(7);
    // A sample of all messages without knowing how many there are.
    let (mut seen, mut before) = (0_usize, String::new());
    while scan
        .next(&mut |position, item| {
            let Item::Message(bytes) = item else { return Ok(()) };
            let Ok(record) = RecordView::decode(bytes) else {
                return Ok(());
            };
            seen += 1;
            let unique = record.property("UNIQ_KEY").unwrap_or_default().to_owned();
            let sample = Sample {
                position,
                fields: fields(&record),
                before: std::mem::replace(&mut before, unique),
            };
            if all.len() < count {
                all.push(sample);
            } else if let Some(place) = all.get_mut(random.below(seen)) {
                *place = sample;
            }
            Ok(())
        })?
        .is_none()
    {}
    println!("{seen} messages in {} bytes of log", scan.position());
    Ok(all)
}

/// A generator of splitmix64: the same bits at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        usize::try_from((number ^ (number >> 27)) >> 33).unwrap_or(0) % end.max(1)
    }
}

fn flip(directory: &Path, count: usize, apache_lib: Option<&str>) -> Result<()> {
    let store = Store::find(directory, &[])?;
    if findings(&store)? > 0 {
        return Err("the store is damaged already".into());
    }
    let samples = samples(&store, count)?;
    let names: Vec<&str> = samples
        .first()
        .map(|sample| sample.fields.iter().map(|(name, _)| *name).collect())
        .unwrap_or_default();
    let mut random = Random(42);
    println!("{:<22} {:>12} {:>18}", "FIELD", "mqstore", "dumpCompactionLog");
    for name in names {
        let (mut ours, mut apache) = (0, 0);
        for sample in &samples {
            let Some((_, range)) = sample.fields.iter().find(|(found, _)| *found == name) else {
                continue;
            };
            let at = sample.position + (range.start + random.below(range.len())) as u64;
            let mask = 1_u8 << random.below(8);
            let (path, offset) = place(&store, at)?;
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset)?;
            file.write_all_at(&[byte[0] ^ mask], offset)?;
            let found = findings(&store);
            let theirs = apache_lib.map(|lib| apache_notices(lib, &path, &sample.before));
            file.write_all_at(&byte, offset)?;
            ours += usize::from(found? > 0);
            apache += usize::from(theirs.transpose()?.unwrap_or(false));
        }
        let of = samples.len();
        let theirs = if apache_lib.is_some() {
            format!("{apache} of {of}")
        } else {
            "not asked".to_owned()
        };
        println!("{name:<22} {:>12} {theirs:>18}", format!("{ours} of {of}"));
    }
    Ok(())
}

/// The file that a position of the log is in, and where.
fn place(store: &Store, position: u64) -> Result<(PathBuf, u64)> {
    let log = match store {
        Store::Own(files) => files.log(ShardId::ZERO)?,
        Store::Apache(store) => store.log()?,
    };
    let path = log.path_of(position).ok_or("no segment is there")?;
    Ok((path, position - log.base_of(position)))
}

struct Count(u64);

impl Watcher for Count {
    fn found(&mut self, _finding: &Finding) -> std::io::Result<()> {
        self.0 += 1;
        Ok(())
    }

    fn at(&mut self, _shard: ShardId, _min: u64, _position: u64, _end: u64) {}
}

fn findings(store: &Store) -> Result<u64> {
    let mut count = Count(0);
    match store {
        Store::Own(files) => _ = verify_shard(files, ShardId::ZERO, &mut count)?,
        Store::Apache(store) => _ = verify_apache(store, &mut count)?,
    }
    Ok(count.0)
}

/// Whether Apache's command says anything of a flipped message: an error, or nothing at all of what lies behind it. It reads the
/// file from its begin and prints a line for each message.
fn apache_notices(lib: &str, segment: &Path, before: &str) -> Result<bool> {
    // It opens files for writing, so it is given a copy of the part that matters.
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join(segment.file_name().ok_or("no name")?);
    std::fs::copy(segment, &copy)?;
    drop(File::open(&copy)?);
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", &format!("{lib}/*")])
        .arg("org.apache.rocketmq.tools.command.MQAdminStartup")
        .args(["dumpCompactionLog", "-f"])
        .arg(&copy)
        .env("ROCKETMQ_HOME", directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
    let (mut behind, mut error, mut met) = (0, false, false);
    for line in lines {
        let line = line?;
        error |= line.contains("Exception") || line.contains("rror");
        if met && line.contains("queueOffset") {
            behind += 1;
        }
        met |= line.contains(before);
        if behind > PASSED_BY {
            break;
        }
    }
    let _gone = child.kill();
    child.wait()?;
    Ok(error || behind <= PASSED_BY)
}
