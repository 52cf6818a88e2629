//! The first process: starts workers, reads what they print, and gives the verdict.

use crate::arguments::Arguments;
use crate::worker::{BEGIN, END, FAILED};
use simulation::totals::{COVERAGE_SEEDS, TOTALS, Totals};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What one worker process came to.
#[derive(Debug, Default)]
struct Work {
    totals: Totals,
    /// Seeds that failed, and why.
    failures: Vec<(u64, String)>,
    /// The seed at which it died, if it did.
    died_at: Option<u64>,
}

/// Plays all seeds and prints what they did.
///
/// # Errors
/// When a seed failed, or too much was never come by.
pub(crate) fn play(arguments: &Arguments) -> Result<(), String> {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let jobs = arguments.jobs.unwrap_or(cpus).clamp(1, arguments.seeds.max(1));
    let start = Instant::now();
    let works: Vec<Result<Work, String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|place| scope.spawn(move || keep_working(arguments, place, jobs, start)))
            .collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(work) => work,
            Err(_panic) => Err("a thread that watches a worker has panicked".to_owned()),
        });
        joined.collect()
    });
    let (mut totals, mut failures) = (Totals::default(), Vec::new());
    for work in works {
        let work = work?;
        totals.add_line(&work.totals.to_line());
        failures.extend(work.failures);
    }
    failures.sort_unstable();
    let seconds = start.elapsed().as_secs_f64();
    println!("{totals}");
    println!(
        "{:.1} s, {:.0} seeds in 10 minutes, {jobs} processes",
        seconds,
        rate(totals.get("seeds"), seconds)
    );
    for (seed, why) in &failures {
        println!("{}\n{why}", replay(arguments, *seed));
    }
    verdict(arguments, &totals, failures.len())
}

fn verdict(arguments: &Arguments, totals: &Totals, failures: usize) -> Result<(), String> {
    if failures > 0 {
        return Err(format!("{failures} of {} seeds failed", totals.get("seeds")));
    }
    let missing = totals.missing();
    if totals.get("seeds") >= COVERAGE_SEEDS && arguments.option_words().is_empty() && !missing.is_empty() {
        return Err(format!(
            "these were never come by, so nothing was tested of them: {}",
            missing.join(", ")
        ));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(seeds: u64, seconds: f64) -> f64 {
    seeds as f64 / seconds * 600.0
}

/// How to see a failure again.
fn replay(arguments: &Arguments, seed: u64) -> String {
    let options: String = arguments.option_words().iter().map(|word| format!(" {word}")).collect();
    let twice = if arguments.twice { " --twice" } else { "" };
    format!(
        "seed {seed} FAILED at commit {}: cargo xtask sim --from {seed} --seeds 1{twice}{options}",
        commit()
    )
}

fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Runs workers until the seeds of this place are played: one that died is followed by another, behind its last seed.
fn keep_working(arguments: &Arguments, place: u64, jobs: u64, start: Instant) -> Result<Work, String> {
    let mut all = Work::default();
    let end = arguments.from.saturating_add(arguments.seeds);
    let mut from = arguments.from.saturating_add(place);
    while from < end {
        let left = arguments
            .minutes
            .map(|minutes| minutes - start.elapsed().as_secs_f64() / 60.0);
        if left.is_some_and(|minutes| minutes <= 0.0) {
            break;
        }
        let work = worker(arguments, from, end, jobs, left)?;
        all.totals.add_line(&work.totals.to_line());
        all.failures.extend(work.failures);
        let Some(died_at) = work.died_at else { break };
        all.totals.count("seeds", 1);
        all.totals.count("failed", 1);
        all.failures.push((
            died_at,
            "its process died: the panic is above, on standard error".to_owned(),
        ));
        from = died_at.saturating_add(jobs);
    }
    Ok(all)
}

/// Runs one worker process to its end.
fn worker(arguments: &Arguments, from: u64, end: u64, jobs: u64, minutes: Option<f64>) -> Result<Work, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new(program);
    command.args(["--from", &from.to_string(), "--seeds", &(end - from).to_string()]);
    command
        .args(["--worker", &jobs.to_string()])
        .args(arguments.option_words());
    if let Some(minutes) = minutes {
        command.args(["--minutes", &minutes.to_string()]);
    }
    command.args(arguments.twice.then_some("--twice"));
    command.args(arguments.log.then_some("--log"));
    let mut child = command
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start a worker: {error}"))?;
    let mut work = Work::default();
    let (mut at, mut finished) = (from, false);
    if let Some(output) = child.stdout.take() {
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        while let Some(line) = lines.next() {
            if let Some(seed) = number_after(&line, BEGIN) {
                at = seed;
            } else if let Some(seed) = number_after(&line, FAILED) {
                let why: Vec<String> = lines.by_ref().take_while(|line| line != END).collect();
                work.failures.push((seed, why.join("\n")));
            } else if let Some(counts) = line.strip_prefix(TOTALS) {
                work.totals.add_line(counts);
                finished = true;
            }
        }
    }
    child
        .wait()
        .map_err(|error| format!("cannot wait for a worker: {error}"))?;
    work.died_at = (!finished).then_some(at);
    Ok(work)
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    line.strip_prefix(word)?.trim().parse().ok()
}
