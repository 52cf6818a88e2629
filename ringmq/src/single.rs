//! `ringmq up` without a layout: a name server and a broker in one process, for a first look.
//!
//! In order: the configuration is made from the options and checked; the name server starts, on a thread of its own; the
//! broker starts, on its cores; a client sends one message through both and reads it back; a line that begins with `ready`
//! is printed. SIGTERM or SIGINT stops the broker, then the name server. The data stays, and is found again the next time.
//! Both listen on the loopback alone unless `--host` names another address: nothing here asks who a client is.

use crate::layout::{SEGMENT_SIZE, listen_on};
use crate::up::Options;
use crate::{Failure, first_message};
use broker::config::{BrokerConfig, Machine};
use broker::program::{self, BAD_CONFIGURATION, Look, START_FAILED};
use broker::start::{self, complain, say};
use remoting::config_table::{ConfigError, Origin, Settings};
use runtime::probe::{IoPath, Refusal};
use runtime::sync::Notify;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

const BROKER_NAME: &str = "broker-a";

/// Runs until a signal.
///
/// # Errors
/// What keeps the name server or the broker from starting.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let started = runtime::Instant::now();
    let config = broker_config(options)?;
    start::log_to_standard_error();
    let name_server = NameServerThread::start(options)?;
    let words = Words::new(options, &config);
    let ended = start::prepare(config).and_then(|prepared| {
        prepared.run(move |broker| {
            let words = words.clone();
            async move {
                runtime::spawn(start::stop_on_signal(Arc::clone(&broker)));
                broker.ready().await;
                match first_message::send(&words.name_server, BROKER_NAME, &words.broker).await {
                    Ok(()) => say(&words.ready(started.elapsed())),
                    Err(problem) => give_up(&problem),
                }
            }
        })
    });
    name_server.stop();
    ended.map_err(Failure::from)
}

fn give_up(problem: &str) -> ! {
    complain(&format!("ringmq: the first message did not come through: {problem}\n"));
    std::process::exit(START_FAILED.into());
}

fn broker_config(options: &Options) -> Result<BrokerConfig, Failure> {
    let (host, port) = (options.host.to_string(), options.port.to_string());
    let store = options.data.join("broker").to_string_lossy().into_owned();
    let name_server = SocketAddr::new(options.host, options.namesrv_port).to_string();
    let settings = [
        ("--host", "brokerIP1", host.as_str()),
        ("--host", "bindAddress", &listen_on(options.host)),
        ("--port", "listenPort", &port),
        ("--data", "storePathRootDir", &store),
        ("--namesrv-port", "namesrvAddr", &name_server),
        ("up", "brokerName", BROKER_NAME),
        ("up", "mappedFileSizeCommitLog", SEGMENT_SIZE),
    ];
    match program::configure(None, &settings, &Machine::here(), Look::Patiently) {
        // That a loopback address is for this machine alone is known to who asked for a first look.
        Ok((config, _findings)) => Ok(config),
        Err(findings) => Err(Failure {
            text: program::complaint("ringmq", &findings),
            code: BAD_CONFIGURATION,
        }),
    }
}

fn name_server_settings(options: &Options) -> Result<Settings, ConfigError> {
    let mut settings = namesrv::config::TABLE.defaults();
    let folder = options.data.join("namesrv");
    let path = |name| folder.join(name).to_string_lossy().into_owned();
    for (option, key, value) in [
        ("--namesrv-port", "listenPort", options.namesrv_port.to_string()),
        ("--host", "bindAddress", listen_on(options.host)),
        ("--data", "kvConfigPath", path("kvConfig.json")),
        ("--data", "configStorePath", path("namesrv.properties")),
    ] {
        settings.set(key, &value, Origin::Argument(option))?;
    }
    Ok(settings)
}

/// A name server on a thread of its own.
struct NameServerThread {
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
}

impl NameServerThread {
    fn start(options: &Options) -> Result<NameServerThread, String> {
        let settings = name_server_settings(options).map_err(|error| error.to_string())?;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let (started, outcome) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("namesrv".to_owned())
            .spawn(move || serve_names(settings, &stopped, &started))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(NameServerThread { stop, thread }),
            Ok(Err(problem)) => Err(problem),
            Err(_ended) => Err("the name server ended at its start".to_owned()),
        }
    }

    fn stop(self) {
        self.stop.notify_one();
        if self.thread.join().is_err() {
            complain("ringmq: the name server did not end well\n");
        }
    }
}

fn serve_names(settings: Settings, stopped: &Notify, started: &mpsc::Sender<Result<(), String>>) {
    let work = async {
        let server = namesrv::NameServer::start(settings, None, |name| std::env::var(name).ok())
            .await
            .map_err(|error| error.to_string())?;
        // Whoever waits for it has not gone away.
        let _heard = started.send(Ok(()));
        stopped.notified().await;
        server.stop().await;
        Ok::<(), String>(())
    };
    let blocking = IoPath::Blocking(Refusal::Configured);
    let ended = runtime::core::run_here(&blocking, work).map_err(|error| format!("cannot make an event loop: {error}"));
    if let Err(problem) = ended.flatten() {
        let _heard = started.send(Err(problem));
    }
}

/// What is told to people.
#[derive(Clone, Debug)]
struct Words {
    name_server: String,
    broker: String,
    data: String,
    cluster: String,
}

impl Words {
    fn new(options: &Options, config: &BrokerConfig) -> Words {
        Words {
            name_server: SocketAddr::new(options.host, options.namesrv_port).to_string(),
            broker: config.broker_address(),
            data: options.data.display().to_string(),
            cluster: config.broker_cluster_name.clone(),
        }
    }

    fn ready(&self, elapsed: Duration) -> String {
        let Words {
            name_server,
            broker,
            data,
            cluster,
        } = self;
        let seconds = elapsed.as_secs_f64();
        format!(
            "ready in {seconds:.3} s: a message went through (name server {name_server}, broker {broker}, data in {data})\n\
             \n\
             What next, with RocketMQ's own tools and clients:\n\
             \x20 mqadmin clusterList -n {name_server}\n\
             \x20 mqadmin updateTopic -n {name_server} -c {cluster} -t orders -r 8 -w 8\n\
             \x20 mqadmin sendMessage -n {name_server} -t orders -p hello\n\
             \x20 Java: producer.setNamesrvAddr(\"{name_server}\")\n\
             \n\
             Stop with Ctrl-C. The data stays in {data}.\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::PathBuf;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, clap::Error> {
        Command::try_parse_from(std::iter::once("up").chain(arguments.iter().copied())).map(|command| command.options)
    }

    #[test]
    fn the_standard_ports_and_the_loopback_are_the_defaults() {
        let options = options(&[]).unwrap();
        assert_eq!(
            (options.namesrv_port, options.port, options.host.to_string().as_str()),
            (9876, 10911, "127.0.0.1")
        );
        assert_eq!(listen_on(options.host), "127.0.0.1");
        assert_eq!(listen_on("192.0.2.1".parse().unwrap()), "0.0.0.0");
    }

    #[test]
    fn ports_that_are_none_are_refused() {
        for bad in [
            ["--port", "0"],
            ["--port", "2"],
            ["--port", "70000"],
            ["--namesrv-port", "x"],
            ["--host", "here"],
        ] {
            assert!(options(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn name_server_and_broker_keep_their_data_in_one_directory() {
        let options = options(&[
            "--data",
            "/tmp/ringmq-up-test",
            "--namesrv-port",
            "25976",
            "--port",
            "25941",
        ])
        .unwrap();
        let settings = name_server_settings(&options).unwrap();
        assert_eq!(
            settings.text("kvConfigPath"),
            "/tmp/ringmq-up-test/namesrv/kvConfig.json"
        );
        assert_eq!(settings.text("listenPort"), "25976");
        let config = broker_config(&options).unwrap();
        assert_eq!(config.store_path_root_dir, PathBuf::from("/tmp/ringmq-up-test/broker"));
        assert_eq!(config.name_servers(), ["127.0.0.1:25976"]);
        assert_eq!(config.broker_address(), "127.0.0.1:25941");
    }

    #[test]
    fn the_first_line_begins_with_ready_and_the_commands_have_the_addresses() {
        let options = options(&["--port", "25951", "--namesrv-port", "25976"]).unwrap();
        let words = Words {
            name_server: "127.0.0.1:25976".to_owned(),
            broker: "127.0.0.1:25951".to_owned(),
            data: options.data.display().to_string(),
            cluster: "DefaultCluster".to_owned(),
        };
        let text = words.ready(Duration::from_millis(120));
        assert!(text.starts_with("ready in 0.120 s: "));
        assert!(text.contains("mqadmin clusterList -n 127.0.0.1:25976\n"));
    }
}
