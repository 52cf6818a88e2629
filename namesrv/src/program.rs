//! The program `mqnamesrv`: arguments and configuration, then the name server until it is told to stop.
//!
//! Exit codes: 0 after a stop, `-h`, `-p` and `-m`; 1 for arguments that do not parse; 255 when it cannot start.

use crate::NameServer;
use crate::config::TABLE;
use clap::Parser;
use remoting::config_table::Settings;
use runtime::probe::{IoPath, Refusal};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The RingMQ name server.
#[derive(Debug, Parser)]
#[command(name = "mqnamesrv", version, about, after_help = EXAMPLES)]
struct Arguments {
    /// Configuration file, in the form of Java's properties
    #[arg(short = 'c', long = "configFile", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Print every configuration key with its value, and end
    #[arg(short = 'p', long = "printConfigItem")]
    print_config: bool,
    /// Print the important configuration keys with their values, and end
    #[arg(short = 'm', long = "printImportantConfig")]
    print_important: bool,
    /// Name server addresses: accepted, since all RocketMQ programs take it; a name server needs nothing of the others
    #[arg(short = 'n', long = "namesrvAddr", value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    /// Print the reference of all configuration keys, and end
    #[arg(long)]
    config_reference: bool,
}

const EXAMPLES: &str = "\
Examples:
  mqnamesrv                                 on port 9876
  mqnamesrv -c namesrv.conf                 a file with listenPort=9877, for one
  mqnamesrv -c namesrv.conf -p              what holds, and nothing is started

Name servers do not know each other: give brokers and clients the addresses of all, parted by ;";

/// A name server writes a small file now and then.
const BLOCKING: IoPath = IoPath::Blocking(Refusal::Configured);
const CANNOT_START: u8 = 255;
const BAD_ARGUMENTS: u8 = 1;

/// Runs it, from its arguments (the first is its name) to its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way, too.
            let code = if error.use_stderr() {
                ExitCode::from(BAD_ARGUMENTS)
            } else {
                ExitCode::SUCCESS
            };
            let _closed_pipe = error.print();
            return code;
        }
    };
    let settings = match settings(&arguments) {
        Ok(settings) => settings,
        Err(problems) => {
            problems.iter().for_each(|problem| complain(problem));
            return ExitCode::from(CANNOT_START);
        }
    };
    if arguments.config_reference {
        say(&TABLE.reference());
    } else if arguments.print_config {
        say(&settings.to_text());
    } else if arguments.print_important {
        say(&settings.important_text());
    } else {
        return serve(settings, arguments.config_file);
    }
    ExitCode::SUCCESS
}

fn settings(arguments: &Arguments) -> Result<Settings, Vec<String>> {
    let mut settings = TABLE.defaults();
    if let Some(file) = &arguments.config_file {
        let shown = file.display().to_string();
        let text = read(file).map_err(|error| vec![format!("cannot read {shown}: {error}")])?;
        let notices = settings
            .read_file(&shown, &text)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        notices.iter().for_each(|notice| complain(notice));
    }
    Ok(settings)
}

fn read(file: &Path) -> io::Result<String> {
    let bytes = runtime::core::run_here(&BLOCKING, runtime::file::read(file)).flatten()?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn serve(settings: Settings, config_file: Option<PathBuf>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .init();
    if let Err(error) = runtime::machine::raise_open_files() {
        tracing::warn!(%error, "cannot have more files open than at the start");
    }
    let ran = runtime::core::run_here(&BLOCKING, async {
        // Listened for while the server starts: who hears that it serves may stop it at once.
        let terminated = runtime::spawn(runtime::signal::terminated());
        let server = NameServer::start(settings, config_file, |name| std::env::var(name).ok())
            .await
            .map_err(|error| error.to_string())?;
        // It has been asked at least once then, and its handlers are there.
        runtime::yield_now().await;
        say(&format!(
            "The Name Server boot success. serializeType=JSON, address {}\n",
            server.address()
        ));
        runtime::service_manager::ready(&format!("serves at {}", server.address()));
        let signal = match terminated.await {
            Some(signal) => signal.map_err(|error| format!("cannot wait for signals: {error}"))?,
            None => return Err("nobody waits for signals any more".to_owned()),
        };
        tracing::info!(signal, "the name server stops");
        runtime::service_manager::stopping();
        server.stop().await;
        Ok::<(), String>(())
    });
    match ran
        .map_err(|error| format!("cannot make an event loop: {error}"))
        .flatten()
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            complain(&problem);
            ExitCode::from(CANNOT_START)
        }
    }
}

fn say(text: &str) {
    // Nobody may be reading any more, which is no reason to end.
    let mut out = std::io::stdout();
    let _closed_pipe = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn complain(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr(), "mqnamesrv: {text}");
}
