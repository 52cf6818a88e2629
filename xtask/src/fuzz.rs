//! `cargo xtask fuzz`: builds the fuzz program with the coverage passes of stable Rust, and runs libFuzzer on each target.

use crate::run;
use clap::Args;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

/// What the compiler has to add for libFuzzer: counters, and the operands of comparisons. Plain flags of LLVM, no nightly.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Seconds after which one input counts as a hang.
const INPUT_SECONDS_MAX: u32 = 10;
const MEMORY_MIB_MAX: u32 = 1024;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this target; may be given again.
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Time in all, shared evenly.
    #[arg(long, value_name = "SECONDS", conflicts_with = "runs")]
    seconds: Option<u64>,
    /// Inputs in all; targets that build a world for each input take a thousandth of the others' share.
    #[arg(long, value_name = "INPUTS")]
    runs: Option<u64>,
    /// Run one target on this one file: a find, again.
    #[arg(long, value_name = "FILE", requires = "target")]
    replay: Option<PathBuf>,
    /// Print the targets.
    #[arg(long)]
    list: bool,
    /// Put what adds coverage into the corpus that is checked in (`fuzz/corpus`), and drop there what adds none.
    #[arg(long)]
    merge: bool,
}

/// A target, as the fuzz program lists it.
#[derive(Clone, Debug)]
struct Target {
    name: String,
    input_max: String,
    share: u64,
}

/// The program, and where it may write.
struct Fuzzer {
    program: PathBuf,
    /// Inputs found in earlier runs: one folder a target.
    grown: PathBuf,
    /// Inputs that broke a claim, and the logs.
    finds: PathBuf,
}

/// Builds, then runs what the options say. Fails if any input broke a claim.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let fuzzer = Fuzzer::build()?;
    let mut targets = fuzzer.list()?;
    if options.list {
        targets.iter().for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    if !options.target.is_empty() {
        if let Some(unknown) = options
            .target
            .iter()
            .find(|name| targets.iter().all(|target| target.name != **name))
        {
            return Err(format!("{unknown} is no target; --list lists them"));
        }
        targets.retain(|target| options.target.contains(&target.name));
    }
    if let Some(file) = &options.replay {
        return targets.iter().try_for_each(|target| fuzzer.replay(target, file));
    }
    if options.merge {
        return targets.iter().try_for_each(|target| fuzzer.merge(target));
    }
    fuzzer.run_all(&targets, options)
}

impl Fuzzer {
    fn build() -> Result<Fuzzer, String> {
        let host = host()?;
        let arguments = [
            "build",
            "--profile",
            "fuzz",
            "--package",
            "fuzz",
            "--features",
            "libfuzzer",
            "--target",
            &host,
        ];
        // With --target the flags hold for the program and not for build scripts and macros, which have no libFuzzer to link.
        run::check_with("cargo", &arguments, &[("RUSTFLAGS", COVERAGE)])?;
        let target_directory = run::target();
        Ok(Fuzzer {
            program: target_directory.join(host).join("fuzz/fuzz"),
            grown: target_directory.join("fuzz-corpus"),
            finds: target_directory.join("fuzz-finds"),
        })
    }

    fn list(&self) -> Result<Vec<Target>, String> {
        let output = Command::new(&self.program).env("FUZZ_ASK", "list").output();
        let output = output.map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let target = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Target {
                name: words.next()?,
                input_max: words.next()?,
                share: words.next()?.parse().ok()?,
            })
        };
        Ok(text.lines().filter_map(target).collect())
    }

    fn command(&self, target: &Target) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("FUZZ_TARGET", &target.name)
            .arg(format!("-max_len={}", target.input_max))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}/{}-", self.finds.display(), target.name))
            .stdin(Stdio::null());
        command
    }

    fn replay(&self, target: &Target, file: &Path) -> Result<(), String> {
        let status = self.command(target).arg(file).status();
        let status = status.map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        status
            .success()
            .then_some(())
            .ok_or(format!("{} breaks a claim of {}", file.display(), target.name))
    }

    fn merge(&self, target: &Target) -> Result<(), String> {
        let kept = corpus(target);
        let smaller = self.grown.join(format!("{}.merged", target.name));
        let _absent = fs::remove_dir_all(&smaller);
        for directory in [&kept, &smaller] {
            fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let status = self
            .command(target)
            .arg("-merge=1")
            .args([&smaller, &kept, &self.grown.join(&target.name)])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(format!("the corpora of {} cannot be merged", target.name));
        }
        let replaced = fs::remove_dir_all(&kept).and_then(|()| fs::rename(&smaller, &kept));
        replaced.map_err(|error| format!("{}: {error}", kept.display()))
    }

    /// Two at once on two processors, and so on; prints inputs tried by target and in all.
    fn run_all(&self, targets: &[Target], options: &Options) -> Result<(), String> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let shares: u64 = targets.iter().map(|target| target.share).sum();
        let seconds = options.seconds.unwrap_or(60) * jobs as u64 / targets.len() as u64;
        let waiting = Mutex::new(targets.iter());
        let outcomes = Mutex::new((0_u64, Vec::new()));
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    let next = || waiting.lock().ok()?.next();
                    while let Some(target) = next() {
                        let limit = match options.runs {
                            Some(runs) => format!("-runs={}", (runs * target.share).div_ceil(shares)),
                            None => format!("-max_total_time={}", seconds.max(1)),
                        };
                        let outcome = self.run_one(target, &limit);
                        let Ok(mut outcomes) = outcomes.lock() else { return };
                        match outcome {
                            Ok(inputs) => outcomes.0 += inputs,
                            Err(problem) => outcomes.1.push(problem),
                        }
                    }
                });
            }
        });
        let (inputs, problems) = outcomes.into_inner().map_err(|error| error.to_string())?;
        println!(
            "{inputs} inputs tried, {} targets, {} broken",
            targets.len(),
            problems.len()
        );
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.join("\n"))
        }
    }

    /// The number of inputs tried.
    fn run_one(&self, target: &Target, limit: &str) -> Result<u64, String> {
        let grown = self.grown.join(&target.name);
        for directory in [&grown, &self.finds] {
            fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        }
        let seeded = self.command(target).env("FUZZ_ASK", &grown).status();
        if !seeded.is_ok_and(|status| status.success()) {
            return Err(format!(
                "{}: its seeds cannot be written to {}",
                target.name,
                grown.display()
            ));
        }
        let log = self.finds.join(format!("{}.log", target.name));
        let output = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let kept = corpus(target);
        let status = self
            .command(target)
            .args([limit, "-print_final_stats=1"])
            .arg(&grown)
            .args(kept.is_dir().then_some(&kept))
            .stdout(Stdio::null())
            .stderr(output)
            .status()
            .map_err(|error| format!("cannot run {}: {error}", self.program.display()))?;
        let text = fs::read(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let text = String::from_utf8_lossy(&text);
        if !status.success() {
            return Err(self.explain(target, &text));
        }
        let inputs = statistic(&text, "number_of_executed_units");
        let rate = statistic(&text, "average_exec_per_sec");
        let slowest = statistic(&text, "slowest_unit_time_sec");
        let peak = statistic(&text, "peak_rss_mb");
        println!(
            "{:<20} {inputs:>10} inputs, {rate:>7} a second, slowest {slowest} s, at most {peak} MiB",
            target.name
        );
        Ok(inputs)
    }

    /// Why a run failed, and how to see it again.
    fn explain(&self, target: &Target, log: &str) -> String {
        let telling =
            |line: &&str| line.contains("panicked") || line.contains("ERROR") || line.contains("Test unit written");
        let lines: Vec<&str> = log.lines().filter(telling).collect();
        let input = log
            .rsplit_once("Test unit written to ")
            .and_then(|(_, rest)| rest.lines().next());
        format!(
            "{}: {}\nagain: cargo xtask fuzz --target {} --replay {}; the log is in {}",
            target.name,
            lines.join("; "),
            target.name,
            input.unwrap_or("FILE"),
            self.finds.display()
        )
    }
}

/// The inputs that are checked in.
fn corpus(target: &Target) -> PathBuf {
    run::workspace().join("fuzz/corpus").join(&target.name)
}

fn statistic(log: &str, name: &str) -> u64 {
    let line = log.lines().find(|line| line.contains(name));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_default()
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}
