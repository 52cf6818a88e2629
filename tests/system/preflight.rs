//! Broken configurations of 63 kinds, each taken from what people ran into: refused or told before anything starts, in less
//! than a tenth of a second, with file, line, key, value and fix. The control asks Apache's broker about the same files.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tests::harness::{FlushMode, PortBlock, Process, Separate, binary};
use tests::preflight::{Case, Staged, corpus, since_began};

const LIMIT: Duration = Duration::from_millis(100);
/// A machine that does other things meanwhile may slow down one try.
const TRIES: u32 = 5;

/// Why a case cannot be tried here.
fn lack(case: &Case) -> Option<&'static str> {
    let root = rustix::process::geteuid().is_root();
    match case.machine.as_str() {
        "small-disk" | "read-only" if !root => Some("mounting needs root"),
        "no-io-uring" if Command::new("python3").arg("--version").output().is_err() => Some("there is no python3"),
        _ => None,
    }
}

/// What our programs say of a case, and how long the quickest of several tries took.
fn ask(staged: &Staged) -> (Result<String, String>, Duration) {
    let files = staged.files();
    let files: Vec<&str> = files
        .iter()
        .map(|file| file.to_str().expect("a path of a test"))
        .collect();
    let command = match files.as_slice() {
        [one] => staged.command(&binary("mqbroker"), &["--check", "-c", one]),
        many => staged.command(&binary("ringmq"), &[&["check"], many].concat()),
    };
    let mut command = command;
    let mut quickest = Duration::MAX;
    loop {
        let output = command
            .output()
            .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let Some(took) = since_began(&errors) else {
            panic!("{command:?} did not start: {errors}");
        };
        quickest = quickest.min(took);
        let text = format!("{}{errors}", String::from_utf8_lossy(&output.stdout));
        let verdict = staged.judge(&text).and_then(|line| {
            let stops = output.status.code() == Some(253);
            match stops == line.starts_with("stop: ") {
                true => Ok(line),
                false => Err(format!("it ended with {}: {line}", output.status)),
            }
        });
        if verdict.is_err() || quickest < LIMIT || took > LIMIT * TRIES {
            return (verdict, quickest);
        }
    }
}

#[test]
fn every_broken_configuration_is_told_in_time_with_place_and_fix() {
    let servers = Separate::start(FlushMode::Async);
    let port = PortBlock::free().broker;
    let (mut wrong, mut slowest) = (Vec::new(), Duration::ZERO);
    let mut told: BTreeMap<String, u32> = BTreeMap::new();
    let cases = corpus();
    assert!(cases.len() >= 60, "the corpus has {} cases", cases.len());
    for case in &cases {
        if let Some(why) = lack(case) {
            println!("skipped {}: {why}", case.name);
            continue;
        }
        let (verdict, took) = ask(&Staged::new(case, &servers.ports.namesrv_address(), port));
        slowest = slowest.max(took);
        match verdict {
            Ok(line) => {
                println!("{:40} {:5} ms  {line}", case.name, took.as_millis());
                *told.entry(case.expect.clone()).or_insert(0) += 1;
            }
            Err(problem) => wrong.push(format!("{}: {problem}", case.name)),
        }
        if took >= LIMIT {
            wrong.push(format!("{}: took {took:?}", case.name));
        }
    }
    println!("{} cases: {told:?}, the slowest took {slowest:?}", cases.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// What Apache's broker makes of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Apache {
    /// It starts and says nothing of what is wrong.
    AcceptedInSilence,
    /// It ends, and its output has neither key nor value.
    EndedWithoutAWord,
    /// It ends and names the key or the value.
    RefusedByName,
    /// It has neither started nor ended: on a busy machine that says nothing.
    Undecided,
}

const JVM_LIMIT: Duration = Duration::from_secs(180);

fn apache(jars: &str, home: &std::path::Path, staged: &Staged) -> (Apache, String) {
    let java = std::env::var_os("JAVA").unwrap_or_else(|| "/usr/bin/java".into());
    let home_option = format!("-Duser.home={}", home.display());
    let classes = format!("{jars}/*");
    let mut first = None;
    let files = staged.files();
    for (at, file) in files.iter().enumerate() {
        let file = file.to_str().expect("a path of a test");
        let arguments = [
            "-Xmx320m",
            "-XX:+UseSerialGC",
            "-XX:MaxDirectMemorySize=512m",
            "-XX:TieredStopAtLevel=1",
            &home_option,
            "-cp",
            &classes,
            "org.apache.rocketmq.broker.BrokerStartup",
            "-c",
            file,
        ];
        let mut command = staged.command(java.as_ref(), &arguments);
        command
            .env("ROCKETMQ_HOME", home)
            .env("HOME", home)
            .stdin(Stdio::null());
        if at + 1 < files.len() {
            let mut broker = Process::start("BrokerStartup", &mut command);
            broker.await_line("`boot success`", JVM_LIMIT, |line| line.contains("boot success"));
            first = Some(broker);
            continue;
        }
        return outcome(staged, &mut command);
    }
    drop(first);
    unreachable!("a case has a file")
}

fn outcome(staged: &Staged, command: &mut Command) -> (Apache, String) {
    let log = staged.dir().join("apache.out");
    let file = std::fs::File::create(&log).expect("a log can be written");
    let errors = file.try_clone().expect("a handle can be copied");
    let mut child = command
        .stdout(file)
        .stderr(errors)
        .spawn()
        .expect("Java can be started");
    let end = Instant::now() + JVM_LIMIT;
    let outcome = loop {
        let ended = child.try_wait().expect("a child can be waited for");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.contains("boot success") {
            break (Apache::AcceptedInSilence, text);
        }
        if ended.is_some() || Instant::now() > end {
            let named = staged.names(&text);
            let what = if named {
                Apache::RefusedByName
            } else {
                Apache::EndedWithoutAWord
            };
            break (what, text);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // An error means that it has ended already.
    drop(child.kill());
    drop(child.wait());
    outcome
}

/// At length, by hand: `RINGMQ_TEST_APACHE_LIB=DIR cargo test --release -p tests --test preflight -- --ignored --nocapture`.
#[test]
#[ignore = "a control of minutes that needs Apache's jars"]
fn apache_is_asked_the_same() {
    let jars = std::env::var("RINGMQ_TEST_APACHE_LIB").expect("RINGMQ_TEST_APACHE_LIB is the folder of Apache's jars");
    let data = tempfile::tempdir().expect("a temporary folder");
    // A name server of ours serves both.
    let up = tests::harness::Up::start(data.path(), PortBlock::free());
    let mut counts: BTreeMap<Apache, Vec<String>> = BTreeMap::new();
    for case in corpus() {
        if let Some(why) = lack(&case) {
            println!("skipped {}: {why}", case.name);
            continue;
        }
        let home = tempfile::tempdir().expect("a temporary folder");
        let staged = Staged::new(&case, &up.ports.namesrv_address(), PortBlock::free().broker);
        let (what, text) = apache(&jars, home.path(), &staged);
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        println!("{:40} {what:?}  {last}", case.name);
        counts.entry(what).or_default().push(case.name.clone());
    }
    for (what, names) in &counts {
        println!("{what:?}: {}", names.len());
    }
}
