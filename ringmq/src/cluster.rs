//! A cluster on this machine, each service a process of its own: started, watched, stopped.
//!
//! In order: configuration files are written where there are none; all of them are read and checked, also against each other,
//! before anything starts; name servers, then brokers; a message through every master; then `ready` and the list of services.

use crate::layout::{self, Kind, Layout, Place, Planned};
use crate::services::{self, Cluster, Service};
use crate::{Failure, check, first_message, status};
use broker::config::{BrokerConfig, BrokerRole, Severity};
use broker::program::{self, BAD_CONFIGURATION, Look};
use broker::start::{complain, say};
use runtime::probe::{IoPath, Refusal};
use runtime::sync::{Either, mpsc, race};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a service may take from its start to "boot success": a store is walked over, on however slow a disk.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// Options of `ringmq down`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DownOptions {
    /// The data directory that `ringmq up` was given
    #[arg(long, value_name = "DIR", default_value = "ringmq-data")]
    data: PathBuf,
}

/// Starts what does not run yet, and stays until a signal unless `detach` is set.
///
/// # Errors
/// What keeps a service from starting.
pub(crate) fn up(layout: Layout, place: &Place, detach: bool) -> Result<(), Failure> {
    let begun = Instant::now();
    let planned = layout::plan(layout, place)?;
    write_configurations(&planned)?;
    let known = Cluster::load(&place.data)?.unwrap_or_default();
    let mut cluster = Cluster {
        name_servers: String::new(),
        services: known.services.into_iter().filter(Service::is_running).collect(),
    };
    let to_start = configured(&planned, &cluster, true)?;
    cluster.name_servers = to_start.name_servers.join(";");
    let mut children = Vec::new();
    let started = start(&to_start, place, &mut cluster, &mut children)
        .and_then(|()| first_messages(&to_start, &cluster.name_servers));
    if let Err(problem) = started {
        services::stop(&own(&cluster, &children));
        return Err(problem.into());
    }
    say(&ready(&cluster, &place.data, begun.elapsed(), detach));
    if detach {
        return Ok(());
    }
    watch(&cluster, children)
}

/// # Errors
/// Nothing was started, or a service does not end.
pub(crate) fn down(options: &DownOptions) -> Result<(), Failure> {
    let data = layout::absolute(&options.data)?;
    let Some(cluster) = Cluster::load(&data)? else {
        return Err(format!(
            "no cluster was started with {}; --data names another directory",
            data.display()
        )
        .into());
    };
    let left = services::stop(&cluster.services);
    if left.is_empty() {
        say(&format!("stopped: the data stays in {}\n", data.display()));
        return Ok(());
    }
    Err(format!("{} did not end within a minute; look into the logs", left.join(", ")).into())
}

/// Writes the configuration files that are not there yet, and checks all of them, alone and side by side.
///
/// # Errors
/// What would keep a service from starting.
pub(crate) fn prepare(layout: Layout, place: &Place) -> Result<Vec<Planned>, Failure> {
    let planned = layout::plan(layout, place)?;
    write_configurations(&planned)?;
    // Whatever runs here now may be the very services that are to be kept in another way.
    configured(&planned, &Cluster::default(), false)?;
    Ok(planned)
}

fn write_configurations(planned: &[Planned]) -> Result<(), String> {
    for service in planned {
        let file = service.configuration_file();
        let write = || {
            fs::create_dir_all(&service.folder)?;
            let mut made = OpenOptions::new().write(true).create_new(true).open(&file)?;
            io::Write::write_all(&mut made, service.configuration.as_bytes())
        };
        match write() {
            // What people have made of it stays.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => written.map_err(|error| format!("{} cannot be written: {error}", file.display()))?,
        }
    }
    Ok(())
}

/// What is to be started, as its configuration files say.
struct Configured {
    /// Addresses of all name servers, also of those that run.
    name_servers: Vec<String>,
    /// What does not run yet: service and address.
    missing: Vec<(Planned, String)>,
    /// All masters: name and address.
    masters: Vec<(String, String)>,
}

/// Reads all files, and checks them; with `look` also whether the machine is ready for those that do not run yet: ports of
/// the others are taken, by themselves.
fn configured(planned: &[Planned], running: &Cluster, look: bool) -> Result<Configured, Failure> {
    let mut configured = Configured {
        name_servers: Vec::new(),
        missing: Vec::new(),
        masters: Vec::new(),
    };
    let mut findings = Vec::new();
    let mut brokers: Vec<(PathBuf, BrokerConfig)> = Vec::new();
    for service in planned {
        let is_running = running.find(&service.name).is_some();
        let file = service.configuration_file();
        let address = match service.kind {
            Kind::NameServer => {
                let address = name_server_address(&file)?;
                configured.name_servers.push(address.clone());
                address
            }
            Kind::Master | Kind::Slave => {
                let machine = broker::config::Machine::here();
                // A cluster that was killed a moment ago may still hold its ports.
                let look = if look && !is_running {
                    Look::Patiently
                } else {
                    Look::Not
                };
                match program::configure(Some(&file), &[], &machine, look) {
                    Ok((config, said)) => {
                        let address = config.broker_address();
                        findings.extend(said.into_iter().filter(|finding| finding.severity > Severity::Warning));
                        if config.broker_role != BrokerRole::Slave {
                            configured.masters.push((config.broker_name.clone(), address.clone()));
                        }
                        brokers.push((file, config));
                        address
                    }
                    Err(said) => {
                        findings.extend(said);
                        continue;
                    }
                }
            }
        };
        if !is_running {
            configured.missing.push((service.clone(), address));
        }
    }
    findings.extend(check::together(&brokers));
    if findings.iter().any(|finding| finding.severity == Severity::Stop) {
        return Err(Failure {
            text: program::complaint("ringmq", &findings),
            code: BAD_CONFIGURATION,
        });
    }
    Ok(configured)
}

fn name_server_address(file: &Path) -> Result<String, String> {
    let shown = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let mut settings = namesrv::config::TABLE.defaults();
    settings.read_file(&shown, &text).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let host = match settings.text("bindAddress") {
        "0.0.0.0" | "" => "127.0.0.1",
        host => host,
    };
    Ok(format!("{host}:{}", settings.text("listenPort")))
}

fn start(what: &Configured, place: &Place, cluster: &mut Cluster, children: &mut Vec<Child>) -> Result<(), String> {
    for kind in [Kind::NameServer, Kind::Master, Kind::Slave] {
        let mut logs = Vec::new();
        for (service, address) in what.missing.iter().filter(|(service, _)| service.kind == kind) {
            let log = service.log_file();
            let from = log.metadata().map_or(0, |metadata| metadata.len());
            let child = spawn(service, &log)?;
            let pid = child.id();
            cluster.services.push(Service {
                name: service.name.clone(),
                kind,
                address: address.clone(),
                pid,
                started: services::started(pid).unwrap_or(0),
                log: log.clone(),
            });
            // From now on `ringmq down` finds it, whatever becomes of this process.
            cluster.save(&place.data)?;
            children.push(child);
            logs.push((children.len() - 1, service.name.clone(), log, from));
        }
        for (child, name, log, from) in logs {
            if let Some(child) = children.get_mut(child) {
                await_boot(child, &name, &log, from)?;
            }
        }
    }
    Ok(())
}

fn spawn(service: &Planned, log: &Path) -> Result<Child, String> {
    let spawn = || {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg(match service.kind {
                Kind::NameServer => "namesrv",
                Kind::Master | Kind::Slave => "broker",
            })
            .arg("-c")
            .arg(service.configuration_file())
            .env_remove("NAMESRV_ADDR")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C is for this process, which stops them in order; and they stay when it detaches.
            .process_group(0)
            .spawn()
    };
    spawn().map_err(|error| format!("{} cannot be started: {error}", service.name))
}

/// Waits until the log, read from where this start began, says that the service runs.
fn await_boot(child: &mut Child, name: &str, log: &Path, from: u64) -> Result<(), String> {
    let end = Instant::now() + BOOT_LIMIT;
    loop {
        // Asked first: what an ended process has written is all there then.
        let ended = child
            .try_wait()
            .map_err(|error| format!("{name} cannot be waited for: {error}"))?;
        let text = read_from(log, from).map_err(|error| format!("{} cannot be read: {error}", log.display()))?;
        if text.contains("boot success") {
            return Ok(());
        }
        if let Some(status) = ended {
            return Err(format!("{name} did not start ({status}):\n{}", last_lines(&text)));
        }
        if Instant::now() >= end {
            return Err(format!(
                "{name} has not started within {} s; its log, {}, ends with\n{}",
                BOOT_LIMIT.as_secs(),
                log.display(),
                last_lines(&text)
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read_from(log: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_lines(text: &str) -> String {
    const LINES: usize = 10;
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default()
        .join("\n")
}

fn first_messages(what: &Configured, name_servers: &str) -> Result<(), String> {
    let work = async {
        for (name, address) in &what.masters {
            let sent = first_message::send(name_servers, name, address).await;
            sent.map_err(|problem| format!("the first message did not come through {name}: {problem}"))?;
        }
        Ok(())
    };
    run_here(work)
}

fn run_here(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let blocking = IoPath::Blocking(Refusal::Configured);
    let ran = runtime::core::run_here(&blocking, work);
    ran.map_err(|error| format!("cannot make an event loop: {error}"))
        .flatten()
}

fn ready(cluster: &Cluster, data: &Path, took: Duration, detach: bool) -> String {
    let masters = cluster
        .services
        .iter()
        .filter(|service| service.kind == Kind::Master)
        .count();
    let name_servers = &cluster.name_servers;
    let end = if detach {
        "It runs on: `ringmq status` shows it, `ringmq down` stops it"
    } else {
        "Ctrl-C stops it"
    };
    format!(
        "ready in {:.3} s: a message went through each of {masters} masters (name servers {name_servers})\n\n{}\n\
         {end}. Configurations, logs and data are in {}.\n",
        took.as_secs_f64(),
        status::table(&cluster.services),
        data.display()
    )
}

/// The services of this cluster that are children of this process.
fn own(cluster: &Cluster, children: &[Child]) -> Vec<Service> {
    let is_own = |service: &&Service| children.iter().any(|child| child.id() == service.pid);
    cluster.services.iter().filter(is_own).cloned().collect()
}

/// Stays until a signal, then stops the services that this process started; says so when one of them ends before.
fn watch(cluster: &Cluster, children: Vec<Child>) -> Result<(), Failure> {
    let own = own(cluster, &children);
    let (sender, mut ends) = mpsc::unbounded_channel();
    for mut child in children {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let pid = child.id();
            if let Ok(status) = child.wait() {
                // Nobody listens any more when this process ends.
                let _heard = sender.send((pid, status));
            }
        });
    }
    run_here(async {
        let mut signal = std::pin::pin!(runtime::signal::terminated());
        loop {
            match race(signal.as_mut(), ends.recv()).await {
                Either::First(came) => {
                    return came
                        .map(drop)
                        .map_err(|error| format!("cannot wait for signals: {error}"));
                }
                Either::Second(Some((pid, status))) => tell_end(&own, pid, status),
                // There is a sender as long as this function runs.
                Either::Second(None) => return Ok(()),
            }
        }
    })?;
    drop(sender);
    let left = services::stop(&own);
    if left.is_empty() {
        return Ok(());
    }
    Err(format!("{} did not end within a minute; look into the logs", left.join(", ")).into())
}

fn tell_end(services: &[Service], pid: u32, status: ExitStatus) {
    if let Some(service) = services.iter().find(|service| service.pid == pid) {
        complain(&format!(
            "ringmq: {} has ended ({status}); its log is {}; `ringmq up` with the same arguments starts it again\n",
            service.name,
            service.log.display()
        ));
    }
}
