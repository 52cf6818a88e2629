//! Clients of other languages: built once through their own package clients into the target folder, then run against a cluster.
//!
//! Each prints `PASS name (ms)` or `FAIL name: reason` for each scenario and ends with `TOTAL passed=N failed=M ms=T`.

use super::{Process, clients_dir, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

const BUILD_LIMIT: Duration = Duration::from_secs(900);
const RUN_LIMIT: Duration = Duration::from_secs(400);

/// The version of the wheel that carries the C++ client's library.
const CPP_WHEEL: &str = "rocketmq==0.4.4";

/// One build at a time, whatever test asks for it.
static BUILDING: Mutex<()> = Mutex::new(());

/// What one client's run printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub passed: Vec<String>,
    pub failed: Vec<String>,
    /// Whether it came to its end.
    pub complete: bool,
}

impl Report {
    fn of(lines: &[String]) -> Report {
        let mut report = Report::default();
        for line in lines {
            if let Some(rest) = line.strip_prefix("PASS ") {
                report.passed.push(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("FAIL ") {
                report.failed.push(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("TOTAL ") {
                let counts = format!("passed={} failed={} ", report.passed.len(), report.failed.len());
                report.complete = rest.starts_with(&counts);
            }
        }
        report
    }

    /// Panics unless every scenario passed and there were at least so many: a run of nothing is no proof.
    pub fn assert_all_passed(&self, least: usize) {
        assert!(
            self.failed.is_empty(),
            "{} failed:\n{}",
            self.failed.len(),
            self.failed.join("\n")
        );
        assert!(
            self.complete,
            "the run broke off after {} scenarios: {:?}",
            self.passed.len(),
            self.passed
        );
        assert!(
            self.passed.len() >= least,
            "{} scenarios ran, at least {least} are known: {:?}",
            self.passed.len(),
            self.passed
        );
    }
}

/// A client program, built and ready to run.
#[derive(Debug)]
pub struct Client {
    name: &'static str,
    program: PathBuf,
    leading: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Client {
    /// The scenarios in Java; `serializer` is the client's own setting for headers, JSON or ROCKETMQ.
    pub fn java(serializer: &str) -> Client {
        Client::java_program("ringmq.interop.Main", &["all", "--serializer", serializer])
    }

    /// The published mqadmin, driven by the table in `tests/mqadmin`.
    pub fn mqadmin() -> Client {
        let table = workspace().join("tests/mqadmin/commands.txt");
        Client::java_program("ringmq.interop.Mqadmin", &[&table.display().to_string()])
    }

    /// The sender of the kill loops, which records what it sends and reads.
    pub fn load(topic: &str, recording: &Path) -> Client {
        let recording = recording.display().to_string();
        Client::java_program("ringmq.interop.Load", &["--topic", topic, "--recording", &recording])
    }

    /// What a broker holds when it is moved: `write`, `read` or `count`.
    pub fn moving(mode: &str) -> Client {
        Client::java_program("ringmq.interop.Moving", &[mode])
    }

    /// Producers and a push consumer with the client's own retries.
    pub fn scene(topic: &str) -> Client {
        Client::java_program("ringmq.interop.Scene", &["--topic", topic])
    }

    /// The published mqadmin with a command line of its own.
    pub fn mqadmin_command(arguments: &[&str]) -> Client {
        Client::java_program("org.apache.rocketmq.tools.command.MQAdminStartup", arguments)
    }

    /// The same, run by another program: one that puts it elsewhere.
    pub fn within(mut self, prefix: &[String]) -> Client {
        let (first, rest) = prefix.split_first().expect("a prefix is a program");
        let mut leading = rest.to_vec();
        leading.push(self.program.display().to_string());
        leading.append(&mut self.leading);
        Client {
            program: first.into(),
            leading,
            ..self
        }
    }

    fn java_program(class: &str, arguments: &[&str]) -> Client {
        let out = build_java();
        let home = clients_dir().join("home");
        fs::create_dir_all(&home).unwrap_or_else(|e| panic!("cannot create {}: {e}", home.display()));
        let classpath = format!("{}/interop.jar:{}/lib/*", out.display(), out.display());
        // The first compiler is enough for runs of seconds and halves their CPU.
        let mut leading: Vec<String> = ["-XX:TieredStopAtLevel=1", "-Xmx768m"].map(str::to_owned).to_vec();
        leading.push(format!("-Duser.home={}", home.display()));
        leading.extend(["-cp".to_owned(), classpath, class.to_owned()]);
        leading.extend(arguments.iter().map(|a| (*a).to_owned()));
        Client {
            name: "java",
            program: "java".into(),
            leading,
            environment: Vec::new(),
        }
    }

    pub fn go() -> Client {
        let sources = workspace().join("tests/go");
        let program = clients_dir().join("ringmq-go-clients");
        build_once("Go clients", &sources, &program, || {
            let mut go = Command::new("go");
            go.current_dir(&sources).arg("build").arg("-o").arg(&program).arg(".");
            vec![go]
        });
        Client {
            name: "go",
            program,
            leading: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub fn rust() -> Client {
        let sources = workspace().join("tests/rust_client");
        let target = clients_dir().join("rust");
        let program = target.join("debug/rust_client");
        build_once("Rust client", &sources, &program, || {
            let mut cargo = Command::new("cargo");
            cargo
                .args(["build", "--quiet", "--locked", "--manifest-path"])
                .arg(sources.join("Cargo.toml"))
                .env("CARGO_TARGET_DIR", &target);
            vec![cargo]
        });
        Client {
            name: "rust",
            program,
            leading: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub fn cpp() -> Client {
        let script = workspace().join("tests/cpp/clients.py");
        let venv = clients_dir().join("venv");
        let stamp = venv.join("installed");
        build_once("C++ client", &script, &stamp, || {
            let mut make = Command::new("python3");
            make.arg("-m").arg("venv").arg(&venv);
            let mut install = Command::new(venv.join("bin/pip"));
            install.args(["install", "--quiet", "--disable-pip-version-check", CPP_WHEEL]);
            let mut mark = Command::new("touch");
            mark.arg(&stamp);
            vec![make, install, mark]
        });
        let library = find_dir(&venv.join("lib"), "rocketmq").join(".libs");
        Client {
            name: "cpp",
            program: venv.join("bin/python"),
            leading: vec![script.display().to_string()],
            environment: vec![
                ("LD_LIBRARY_PATH", library.display().to_string()),
                ("HOME", clients_dir().join("home").display().to_string()),
            ],
        }
    }

    /// Starts it against the cluster.
    pub fn start(&self, namesrv: &str) -> Process {
        self.start_with(&["--namesrv", namesrv])
    }

    /// Starts it with these arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Process {
        let home = clients_dir().join("home");
        fs::create_dir_all(&home).unwrap_or_else(|e| panic!("cannot create {}: {e}", home.display()));
        let mut command = Command::new(&self.program);
        command
            .args(&self.leading)
            .args(arguments)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            // Some of mqadmin's commands write files where they run.
            .current_dir(home);
        Process::start(self.name, &mut command)
    }

    /// Runs it to its end.
    pub fn run(&self, namesrv: &str) -> Report {
        let (status, lines) = self.start(namesrv).finish(RUN_LIMIT);
        let report = Report::of(&lines);
        assert!(
            report.complete,
            "{} ended with {status} before its TOTAL line; its output:\n{}",
            self.name,
            lines.join("\n")
        );
        report
    }
}

fn build_java() -> PathBuf {
    build_maven("Java clients", "tests/java", "java", "interop.jar")
}

/// Builds a module of ours in Java and returns the folder that its jar and the jars it needs (`lib/`) are in.
pub fn build_maven(what: &'static str, module: &str, name: &str, jar: &str) -> PathBuf {
    let sources = workspace().join(module);
    let out = clients_dir().join(name);
    build_once(what, &sources, &out.join(jar), || {
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "-f"])
            .arg(sources.join("pom.xml"))
            .arg(format!("-Dbuild.dir={}", out.display()))
            .arg("package");
        vec![maven]
    });
    out
}

/// Runs the commands unless `made` is newer than every source.
fn build_once(what: &'static str, sources: &Path, made: &Path, commands: impl FnOnce() -> Vec<Command>) {
    // A build that failed has said so in its own test; the next one tries again.
    let _one = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if modified(made).is_some_and(|made| newest(sources) <= made) {
        return;
    }
    for mut command in commands() {
        let (status, lines) = Process::start(what, &mut command).finish(BUILD_LIMIT);
        assert!(
            status.success(),
            "{what}: {command:?} ended with {status}:\n{}",
            lines.join("\n")
        );
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

/// The youngest file under a path. What a build leaves beside its sources does not count.
fn newest(path: &Path) -> SystemTime {
    if !path.is_dir() {
        return modified(path).unwrap_or_else(|| panic!("{} is not there", path.display()));
    }
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    entries
        .map(|entry| entry.unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display())))
        .filter(|entry| entry.file_name() != "target")
        .map(|entry| newest(&entry.path()))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The first folder of that name below another.
fn find_dir(under: &Path, name: &str) -> PathBuf {
    let mut waiting = vec![under.to_path_buf()];
    while let Some(dir) = waiting.pop() {
        let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("cannot read {}: {e}", dir.display()));
        for entry in entries.flatten().filter(|e| e.path().is_dir()) {
            if entry.file_name() == name {
                return entry.path();
            }
            waiting.push(entry.path());
        }
    }
    panic!("no folder {name} under {}", under.display());
}

#[cfg(test)]
mod unit {
    use super::Report;

    fn report(text: &str) -> Report {
        Report::of(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_run_that_passed_is_counted() {
        let report = report("noise\nPASS a (3)\nPASS b (4)\nTOTAL passed=2 failed=0 ms=7");
        assert_eq!(report.passed, ["a (3)", "b (4)"]);
        report.assert_all_passed(2);
    }

    #[test]
    #[should_panic(expected = "b: why")]
    fn a_failed_scenario_fails_the_test_with_its_reason() {
        report("PASS a (3)\nFAIL b: why\nTOTAL passed=1 failed=1 ms=7").assert_all_passed(1);
    }

    #[test]
    #[should_panic(expected = "broke off")]
    fn a_run_without_its_last_line_fails_the_test() {
        report("PASS a (3)").assert_all_passed(1);
    }

    #[test]
    #[should_panic(expected = "at least 5")]
    fn a_run_of_too_few_scenarios_fails_the_test() {
        report("PASS a (3)\nTOTAL passed=1 failed=0 ms=7").assert_all_passed(5);
    }
}
