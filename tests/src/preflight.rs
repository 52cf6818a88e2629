//! The corpus of broken configurations in `tests/preflight`, and what a broker says of each.
//!
//! A case is a file: `issue` (whose trouble it was), `machine` (what is prepared), `expect` (stop, warning or notice), `where`
//! (file and line, or `-`), `says` and `fix` (words of the finding), then the configuration files, each after `== NAME`.
//! `{DIR}`, `{NAMESRV}`, `{PORT}`, `{TAKEN}` and `{PORT+n}` stand for what a run has.

use crate::harness::workspace;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// One broken configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub issue: String,
    pub machine: String,
    pub expect: String,
    place: String,
    says: String,
    fix: String,
    files: Vec<(String, String)>,
}

/// All of them, by name.
pub fn corpus() -> Vec<Case> {
    let folder = workspace().join("tests/preflight");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut cases: Vec<Case> = entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "case"))
        .map(|path| {
            let name = path.file_stem().expect("a file has a name").to_string_lossy();
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            Case::parse(&name, &text)
        })
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

impl Case {
    fn parse(name: &str, text: &str) -> Case {
        let mut case = Case {
            name: name.to_owned(),
            ..Case::default()
        };
        let (head, files) = text.split_once("\n== ").expect("a case has files");
        for line in head.lines() {
            let (key, value) = line.split_once(": ").expect("a line of the head is `key: value`");
            let field = match key {
                "issue" => &mut case.issue,
                "machine" => &mut case.machine,
                "expect" => &mut case.expect,
                "where" => &mut case.place,
                "says" => &mut case.says,
                "fix" => &mut case.fix,
                other => panic!("{name}: what is {other}?"),
            };
            value.clone_into(field);
        }
        for file in files.split("\n== ") {
            let (name, text) = file.split_once('\n').expect("a file has a name and lines");
            case.files.push((name.to_owned(), text.to_owned()));
        }
        case
    }
}

/// A case with its files written and its machine prepared.
#[derive(Debug)]
pub struct Staged {
    case: Case,
    dir: TempDir,
    namesrv: String,
    port: u16,
    taken: u16,
    _listener: Option<TcpListener>,
}

/// Before the program itself: what it was told to say when it began, in nanoseconds since 1970.
const BEGAN: &str = "BEGAN ";

const NO_IO_URING: &str = r#"
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
# Load the number of the system call; io_uring_setup (425) is answered with EPERM, all others go on.
lines = struct.pack("HBBI" * 4, 0x20, 0, 0, 0, 0x15, 0, 1, 425, 0x06, 0, 0, 0x00050001, 0x06, 0, 0, 0x7FFF0000)
memory = ctypes.create_string_buffer(lines)
program = struct.pack("HxxxxxxP", 4, ctypes.addressof(memory))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
print("BEGAN", time.time_ns(), file=sys.stderr, flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"#;

impl Staged {
    /// Prepares a case, for a broker on `port` with this name server.
    pub fn new(case: &Case, namesrv: &str, port: u16) -> Staged {
        let dir = tempfile::Builder::new()
            .prefix("preflight-")
            .tempdir()
            .expect("a temporary folder can be made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let taken = listener.local_addr().expect("a listener has an address").port();
        let staged = Staged {
            case: case.clone(),
            namesrv: namesrv.to_owned(),
            port,
            taken,
            _listener: (case.machine == "listener").then_some(listener),
            dir,
        };
        for (name, text) in &case.files {
            staged.write(name, &staged.fill(text));
        }
        match case.machine.as_str() {
            "file" => staged.write("file", "no directory"),
            "store-of-tomorrow" => {
                std::fs::create_dir(staged.dir.path().join("store")).expect("a folder can be made");
                staged.write("store/store.json", "{}");
                let file = std::fs::File::options()
                    .append(true)
                    .open(staged.dir.path().join("store/store.json"));
                let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
                file.and_then(|file| file.set_modified(tomorrow))
                    .expect("a file's time can be set");
            }
            "small-disk" | "read-only" => {
                std::fs::create_dir(staged.dir.path().join("disk")).expect("a folder can be made");
            }
            _ => {}
        }
        staged
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }

    fn fill(&self, text: &str) -> String {
        let text = text
            .replace("{DIR}", &self.dir.path().display().to_string())
            .replace("{NAMESRV}", &self.namesrv);
        [("PORT", self.port), ("TAKEN", self.taken)]
            .iter()
            .fold(text, |text, (name, port)| {
                let text = (1..=4).fold(text, |text, n| {
                    text.replace(&format!("{{{name}+{n}}}"), &(port + n).to_string())
                });
                text.replace(&format!("{{{name}-2}}"), &(port - 2).to_string())
                    .replace(&format!("{{{name}}}"), &port.to_string())
            })
    }

    /// The configuration files, in their order.
    pub fn files(&self) -> Vec<PathBuf> {
        self.case
            .files
            .iter()
            .map(|(name, _)| self.dir.path().join(name))
            .collect()
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The program on a machine as the case wants it. Standard error has the time of its start.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let disk = self.dir.path().join("disk").display().to_string();
        let mount = |options: &str| format!("mount -t tmpfs -o {options} none {disk}");
        let (mut command, prepare) = match self.case.machine.as_str() {
            "small-disk" => (within("unshare", &["--mount", "sh", "-c"]), mount("size=1m")),
            "read-only" => (within("unshare", &["--mount", "sh", "-c"]), mount("ro")),
            "few-files" => (within("sh", &["-c"]), "ulimit -n 256".to_owned()),
            "no-io-uring" => {
                let mut python = within("python3", &["-c", NO_IO_URING]);
                python.arg(program).args(arguments);
                return python;
            }
            _ => (within("sh", &["-c"]), ":".to_owned()),
        };
        command
            .arg(format!(
                "{prepare} && echo {BEGAN}$(date +%s%N) >&2 && exec \"$0\" \"$@\""
            ))
            .arg(program)
            .args(arguments);
        command
    }

    /// Whether a text has the key or the value that is wrong.
    pub fn names(&self, text: &str) -> bool {
        let says = self.fill(&self.case.says);
        let words = says.split(['=', ' ', ',']).filter(|word| word.len() > 3);
        words.into_iter().any(|word| text.contains(word))
    }

    /// The line of the output that says what is expected, and what is missing in it.
    pub fn judge(&self, output: &str) -> Result<String, String> {
        let (says, fix) = (self.fill(&self.case.says), self.fill(&self.case.fix));
        let level = format!("{}: ", self.case.expect);
        let found = output
            .lines()
            .find(|line| line.starts_with(&level) && line.contains(&says));
        let Some(line) = found else {
            return Err(format!("no {level}with {says:?} in:\n{output}"));
        };
        let place = match self.case.place.split_once(' ') {
            Some((file, number)) => format!("{file} line {number}"),
            None => String::new(),
        };
        for wanted in [place, fix] {
            if !line.contains(&wanted) {
                return Err(format!("{line:?} does not say {wanted:?}"));
            }
        }
        Ok(line.to_owned())
    }
}

fn within(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("NAMESRV_ADDR");
    command
}

/// How long the program ran that ended now, from what it said at its start.
pub fn since_began(errors: &str) -> Option<Duration> {
    let began: u64 = errors
        .lines()
        .find_map(|line| line.strip_prefix(BEGAN))?
        .trim()
        .parse()
        .ok()?;
    let began = SystemTime::UNIX_EPOCH + Duration::from_nanos(began);
    SystemTime::now().duration_since(began).ok()
}

#[cfg(test)]
mod unit {
    use super::{Case, Staged};

    const CASE: &str = "issue: x#1\nmachine: none\nexpect: stop\nwhere: a.conf 2\nsays: listenPort={PORT+1}\nfix: mend\n== a.conf\nx=1\nlistenPort={PORT+1}\n== b.conf\ny={DIR}\n";

    #[test]
    fn a_case_has_its_files_with_everything_filled_in() {
        let case = Case::parse("01-x", CASE);
        let staged = Staged::new(&case, "127.0.0.1:1", 1000);
        let read = |at: usize| std::fs::read_to_string(&staged.files()[at]).unwrap_or_default();
        assert_eq!(read(0), "x=1\nlistenPort=1001");
        assert_eq!(read(1), format!("y={}\n", staged.dir().display()));
    }

    #[test]
    fn a_finding_must_say_level_place_value_and_fix() {
        let staged = Staged::new(&Case::parse("01-x", CASE), "127.0.0.1:1", 1000);
        let good = "stop: listenPort=1001 in /d/a.conf line 2 is bad; fix: mend it";
        assert_eq!(staged.judge(&format!("x\n{good}\n")), Ok(good.to_owned()));
        for (word, without) in [
            ("stop", "warning"),
            ("1001", "1002"),
            ("line 2", "line 3"),
            ("mend", "cry"),
        ] {
            assert!(staged.judge(&good.replace(word, without)).is_err(), "{without}");
        }
    }
}
