//! The program `mqbroker` up to the start of the broker: arguments, configuration, preflight, and what is printed.
//!
//! Options are those of RocketMQ's mqbroker, and `--check` and `--config-reference`. Exit codes: 0 after a stop and for what
//! only prints; 1 for arguments that do not parse; 253 for a configuration or machine with which no broker should start; 255
//! when a start fails later. RocketMQ's are -1 and -3 in the same places, which shells show as 255 and 253.

use crate::config::{self, BrokerConfig, Finding, Machine, Severity, Sources};
use crate::preflight;
use clap::Parser;
use runtime::probe::{IoPath, Refusal};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments that do not parse.
pub const BAD_ARGUMENTS: u8 = 1;
/// A configuration or machine with which no broker should start.
pub const BAD_CONFIGURATION: u8 = 253;
/// A start that failed.
pub const START_FAILED: u8 = 255;

/// A message broker that RocketMQ's clients and tools use as they are.
#[derive(Debug, Parser)]
#[command(name = "mqbroker", version, about, after_help = EXAMPLES)]
struct Arguments {
    /// Name servers, host:port, several separated by ;
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    /// Configuration: a properties file with RocketMQ's keys
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Print every key with the value that holds, and start nothing
    #[arg(short = 'p', long = "printConfigItem")]
    print_all: bool,
    /// Print the important keys with the values that hold, and start nothing
    #[arg(short = 'm', long = "printImportantConfig")]
    print_important: bool,
    /// Say what is wrong with the configuration and the machine, and start nothing
    #[arg(long)]
    check: bool,
    /// Print the reference of all keys as Markdown, and start nothing
    #[arg(long)]
    config_reference: bool,
    /// Refused: the proxy is not built yet
    #[arg(long, hide = true)]
    enable_proxy: bool,
}

const EXAMPLES: &str = "\
Examples:
  mqbroker -n 127.0.0.1:9876
  mqbroker -c conf/2m-noslave/broker-a.properties -n '10.0.0.1:9876;10.0.0.2:9876'
  mqbroker -c broker.conf --check

Memory: each shard (one a core) takes at most tailCacheBytes + coldCacheBytes + 144 MiB, by default 208 MiB;
the broker says the sum when it starts. docs/config.md has the rest.";

/// What the program is to do.
#[derive(Debug)]
pub enum Task {
    /// Print something and end.
    End(Ending),
    /// Start a broker, after these notices and warnings have been logged.
    Start(Box<BrokerConfig>, Vec<Finding>),
}

/// The last words of a program that starts nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// For standard output.
    pub output: String,
    /// For standard error.
    pub errors: String,
    /// Exit code.
    pub code: u8,
}

impl Ending {
    fn output(output: String) -> Task {
        Task::End(Ending {
            output,
            ..Ending::default()
        })
    }

    fn error(code: u8, errors: String) -> Task {
        Task::End(Ending {
            errors,
            code,
            ..Ending::default()
        })
    }
}

/// Finds out what to do from the arguments (the first is the program's name) and the machine.
pub fn task(arguments: impl IntoIterator<Item = OsString>, machine: &Machine) -> Task {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return Ending::error(BAD_ARGUMENTS, error.render().to_string()),
        Err(help) => return Ending::output(help.render().to_string()),
    };
    if arguments.enable_proxy {
        let line = "mqbroker: --enable-proxy cannot be honoured: the gRPC proxy is not built yet; fix: leave it out, and use \
                    clients of the remoting protocol\n";
        return Ending::error(BAD_ARGUMENTS, line.to_owned());
    }
    if arguments.config_reference {
        return Ending::output(config::reference());
    }
    let option = arguments
        .namesrv_addr
        .as_deref()
        .map(|addresses| ("-n", "namesrvAddr", addresses));
    let look = if arguments.print_all || arguments.print_important {
        Look::Not
    } else if arguments.check {
        Look::AtOnce
    } else {
        Look::Patiently
    };
    let configured = configure(arguments.config_file.as_deref(), option.as_slice(), machine, look);
    if arguments.check {
        return checked(configured);
    }
    match configured {
        Ok((config, _findings)) if arguments.print_all => Ending::output(config.effective_text()),
        Ok((config, _findings)) if arguments.print_important => Ending::output(config.important_text()),
        Ok((config, findings)) => Task::Start(Box::new(config), findings),
        Err(findings) => Ending::error(BAD_CONFIGURATION, complaint("mqbroker", &findings)),
    }
}

/// A configuration with the notices and warnings about it, or what keeps a broker from starting with it.
pub type Configured = Result<(BrokerConfig, Vec<Finding>), Vec<Finding>>;

/// Whether the machine is looked at, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Only the configuration is.
    Not,
    /// As it is.
    AtOnce,
    /// As it is when those who are just ending have ended: for a start.
    Patiently,
}

impl Look {
    fn patience(self) -> Option<Duration> {
        match self {
            Look::Not => None,
            Look::AtOnce => Some(Duration::ZERO),
            Look::Patiently => Some(runtime::machine::PORT_PATIENCE),
        }
    }
}

/// Reads a configuration and, if asked to, has a look at the machine. Opens nothing.
///
/// # Errors
/// Everything that would keep a broker from starting, and the notices and warnings.
pub fn configure(
    file: Option<&Path>,
    options: &[(&'static str, &'static str, &str)],
    machine: &Machine,
    look: Look,
) -> Configured {
    let blocking = IoPath::Blocking(Refusal::Configured);
    let work = async {
        let bytes = match file {
            Some(path) => Some(
                runtime::file::read(path)
                    .await
                    .map_err(|error| vec![unreadable(path, &error)])?,
            ),
            None => None,
        };
        let file = file.zip(bytes.as_deref());
        let (mut config, mut findings) = BrokerConfig::load(&Sources { file, options, machine })?;
        if let Some(patience) = look.patience() {
            findings.extend(preflight::check(&config, patience).await);
            findings.extend(preflight::resolve_addresses(&mut config));
        }
        if findings.iter().any(|finding| finding.severity == Severity::Stop) {
            return Err(findings);
        }
        Ok((config, findings))
    };
    match runtime::core::run_here(&blocking, work) {
        Ok(configured) => configured,
        Err(error) => Err(vec![Finding::new(
            Severity::Stop,
            format_args!("cannot make an event loop: {error}"),
        )]),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    let text = format!(
        "{} cannot be read: {error}; fix: give -c the path of a properties file",
        path.display()
    );
    Finding::new(Severity::Stop, text)
}

/// What stops a start, a line each.
#[must_use]
pub fn complaint(program: &str, findings: &[Finding]) -> String {
    let stops = findings.iter().filter(|finding| finding.severity == Severity::Stop);
    stops.map(|finding| format!("{program}: {finding}\n")).collect()
}

/// What `--check` says.
fn checked(configured: Configured) -> Task {
    let (mut output, findings, code) = match configured {
        Ok((config, findings)) => {
            let line = format!(
                "a broker can start: {} at {}, data in {}\n",
                config.broker_name,
                config.broker_address(),
                config.store_path_root_dir.display()
            );
            (line, findings, 0)
        }
        Err(findings) => ("a broker cannot start\n".to_owned(), findings, BAD_CONFIGURATION),
    };
    let mut lines: Vec<&Finding> = findings.iter().collect();
    lines.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in lines {
        output.push_str(&format!("{}: {finding}\n", finding.severity));
    }
    Task::End(Ending {
        output,
        errors: String::new(),
        code,
    })
}

/// Logs what need not stop a start.
pub fn log(findings: &[Finding]) {
    for finding in findings {
        match finding.severity {
            Severity::Notice => tracing::info!("{finding}"),
            Severity::Warning | Severity::Stop => tracing::warn!("{finding}"),
        }
    }
    for variable in ["JAVA_OPT", "JAVA_OPT_EXT", "RMQ_NUMA_NODE", "BROKER_MEM"] {
        if std::env::var_os(variable).is_some() {
            tracing::warn!("environment variable {variable} has no effect: there is no JVM");
        }
    }
}

/// The line that RocketMQ's broker prints when it serves, and that scripts wait for.
#[must_use]
pub fn boot_line(config: &BrokerConfig) -> String {
    let line = format!(
        "The broker[{}, {}] boot success. serializeType=JSON",
        config.broker_name,
        config.broker_address()
    );
    match config.namesrv_addr.as_deref() {
        Some(addresses) => format!("{line} and name server is {addresses}\n"),
        None => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("mqbroker-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        /// A file with these lines, for a broker on the loopback with its data in this folder.
        fn file(&self, lines: &str) -> String {
            let path = self.0.join("broker.conf");
            let root = self.0.join("store");
            let text = format!(
                "brokerIP1=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort=25911\nmappedFileSizeCommitLog=16777216\nstorePathRootDir={}\n{lines}\n",
                root.display()
            );
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _left_behind = std::fs::remove_dir_all(&self.0);
        }
    }

    fn run(arguments: &[&str]) -> Task {
        let machine = Machine {
            cpus: 2,
            host_name: "host".to_owned(),
            home: std::env::temp_dir(),
            address: None,
            namesrv_addr: None,
            rocketmq_home: None,
        };
        task(
            std::iter::once("mqbroker")
                .chain(arguments.iter().copied())
                .map(OsString::from),
            &machine,
        )
    }

    #[track_caller]
    fn ends(arguments: &[&str]) -> Ending {
        match run(arguments) {
            Task::End(ending) => ending,
            Task::Start(config, _findings) => panic!("{arguments:?} starts {}", config.broker_name),
        }
    }

    #[test]
    fn help_and_printing_end_with_0() {
        assert!(ends(&["-h"]).output.contains("-c, --configFile <FILE>"));
        let all = ends(&["-p", "-n", "127.0.0.1:9876"]);
        assert_eq!((all.code, all.errors.as_str()), (0, ""));
        assert!(all.output.contains("\nnamesrvAddr=127.0.0.1:9876\n") && all.output.contains("\nlistenPort=10911\n"));
        let important = ends(&["-m"]);
        assert_eq!(important.code, 0);
        assert!(important.output.contains("listenPort=10911\n") && !important.output.contains("traceOn"));
        assert!(
            ends(&["--config-reference"])
                .output
                .starts_with("# Configuration of the broker")
        );
    }

    #[test]
    fn arguments_that_do_not_parse_end_with_1() {
        assert_eq!(ends(&["-x"]).code, BAD_ARGUMENTS);
        assert_eq!(ends(&["-c"]).code, BAD_ARGUMENTS);
        let proxy = ends(&["--enable-proxy", "-n", "127.0.0.1:9876"]);
        assert_eq!(proxy.code, BAD_ARGUMENTS);
        assert_eq!(proxy.errors.lines().count(), 1);
        assert!(proxy.errors.contains("not built yet"));
    }

    #[test]
    fn a_bad_configuration_ends_with_253_and_a_line_for_each_problem() {
        let folder = Folder::new("bad");
        let file = folder.file("brokerIp1=10.0.0.1\nfileReservedTime=48h");
        let ending = ends(&["-c", &file]);
        assert_eq!((ending.code, ending.output.as_str()), (BAD_CONFIGURATION, ""));
        let lines: Vec<&str> = ending.errors.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains("line 6") && line.contains("brokerIP1"))
        );
        assert!(
            lines
                .iter()
                .any(|line| line.contains("line 7") && line.contains("is not a number"))
        );
        assert_eq!(ends(&["-c", &file, "-p"]).code, BAD_CONFIGURATION);
        let missing = ends(&["-c", "/nowhere/broker.conf"]);
        assert_eq!(missing.code, BAD_CONFIGURATION);
        assert!(missing.errors.contains("/nowhere/broker.conf cannot be read"));
        assert_eq!(ends(&["-n", "nonsense"]).code, BAD_CONFIGURATION);
    }

    #[test]
    fn a_check_says_all_there_is_and_starts_nothing() {
        let folder = Folder::new("check");
        let good = ends(&["--check", "-c", &folder.file("sendMessageThreadPoolNums=16")]);
        assert_eq!(good.code, 0, "{}", good.output);
        assert!(good.output.starts_with("a broker can start: host at 127.0.0.1:25911"));
        assert!(
            good.output.contains("notice: sendMessageThreadPoolNums")
                && good.output.contains("warning: brokerIP1=127.0.0.1")
        );
        let bad = ends(&["--check", "-c", &folder.file("aclEnable=true")]);
        assert_eq!(bad.code, BAD_CONFIGURATION);
        assert!(
            bad.output.starts_with("a broker cannot start\nstop: aclEnable=true"),
            "{}",
            bad.output
        );
        assert!(!folder.0.join("store").exists());
    }

    #[test]
    fn a_start_waits_for_a_port_that_is_just_given_up_and_a_check_does_not() {
        let folder = Folder::new("port");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let file = folder.file("");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("listenPort=25911", &format!("listenPort={port}"))).unwrap();
        let check = ends(&["--check", "-c", &file]);
        assert!(check.output.contains(&format!("listenPort={port}")), "{}", check.output);
        let ending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(taken);
        });
        assert!(matches!(run(&["-c", &file]), Task::Start(..)));
        ending.join().unwrap();
    }

    #[test]
    fn a_good_configuration_starts_and_the_boot_line_is_rocketmqs() {
        let folder = Folder::new("good");
        let Task::Start(config, _findings) = run(&["-c", &folder.file("brokerName=broker-a"), "-n", "127.0.0.1:9876"])
        else {
            panic!("does not start");
        };
        assert_eq!(
            boot_line(&config),
            "The broker[broker-a, 127.0.0.1:25911] boot success. serializeType=JSON and name server is 127.0.0.1:9876\n"
        );
        let Task::Start(config, _findings) = run(&["-c", &folder.file("brokerName=broker-a")]) else {
            panic!("does not start");
        };
        assert_eq!(
            boot_line(&config),
            "The broker[broker-a, 127.0.0.1:25911] boot success. serializeType=JSON\n"
        );
    }
}
