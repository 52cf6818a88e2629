//! What happens to the processes and hosts, drawn from a seed.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::harness::{Process, Waits};
use tests::servers_on_hosts::{Rehearsal, name_servers};

/// The longest time that something stays broken.
const OUTAGE_MAX: Duration = Duration::from_secs(4);
const SERVERS: [u8; 3] = [1, 2, 3];

/// One process, and how it is started.
struct Service {
    name: &'static str,
    host: u8,
    process: Option<Process>,
    paused: bool,
}

/// What is mended, and when.
enum Mending {
    Start(usize),
    Resume(usize),
    Reconnect(u8),
}

pub(crate) struct Nemesis<'a> {
    servers: &'a Rehearsal,
    services: Vec<Service>,
    cut_off: Vec<u8>,
    waits: Waits,
    later: Vec<(Instant, Mending)>,
    counts: BTreeMap<String, u32>,
}

const SERVICES: [(&str, u8); 7] = [
    ("namesrv-1", 1),
    ("namesrv-2", 2),
    ("namesrv-3", 3),
    ("broker-1", 2),
    ("broker-2", 3),
    ("broker-1-s", 3),
    ("broker-2-s", 2),
];

impl<'a> Nemesis<'a> {
    /// Starts everything.
    pub(crate) fn new(servers: &'a Rehearsal, seed: u64) -> Nemesis<'a> {
        let mut nemesis = Nemesis {
            servers,
            services: Vec::new(),
            cut_off: Vec::new(),
            // Neighbouring seeds would begin alike.
            waits: Waits::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            later: Vec::new(),
            counts: BTreeMap::new(),
        };
        for (name, host) in SERVICES {
            if name.starts_with("broker") {
                servers.write(host, &file(name), &configuration(name));
            }
            let mut process = Process::start(name, &mut command(servers, name, host));
            process.await_line("`boot success`", Duration::from_secs(60), |line| {
                line.contains("boot success")
            });
            nemesis.services.push(Service {
                name,
                host,
                process: Some(process),
                paused: false,
            });
        }
        nemesis
    }

    /// Breaks something every now and then.
    pub(crate) fn rage(&mut self, length: Duration, interval: Duration) {
        let end = Instant::now() + length;
        let mut next = Instant::now();
        while Instant::now() < end {
            if Instant::now() >= next {
                self.break_something();
                // On average it is the interval.
                next = Instant::now() + self.waits.wait(interval * 2);
            }
            self.mend_what_is_due(Instant::now());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn break_something(&mut self) {
        let mend = Instant::now() + Duration::from_millis(50) + self.waits.wait(OUTAGE_MAX);
        let kind = self.waits.below(3);
        if kind == 2 {
            let host = SERVERS[self.draw(SERVERS.len())];
            if !self.cut_off.contains(&host) {
                self.servers.hosts.cut_off(host);
                self.cut_off.push(host);
                self.later.push((mend, Mending::Reconnect(host)));
                self.count("a host cut off");
            }
            return;
        }
        let which = self.draw(self.services.len());
        let service = &mut self.services[which];
        let what = match service.name.split('-').collect::<Vec<_>>().as_slice() {
            ["namesrv", _] => "a name server",
            [_, _, "s"] => "a slave",
            _ => "a master",
        };
        match service.process.take() {
            Some(process) if kind == 0 => {
                process.kill();
                service.paused = false;
                self.later.push((mend, Mending::Start(which)));
                self.count(&format!("{what} killed"));
            }
            Some(process) if !service.paused => {
                process.pause();
                service.process = Some(process);
                service.paused = true;
                self.later.push((mend, Mending::Resume(which)));
                self.count(&format!("{what} paused"));
            }
            other => service.process = other,
        }
    }

    fn draw(&mut self, bound: usize) -> usize {
        let drawn = self.waits.below(u64::try_from(bound).expect("a few"));
        usize::try_from(drawn).expect("a few")
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_insert(0) += 1;
    }

    fn mend_what_is_due(&mut self, now: Instant) {
        let (due, later) = std::mem::take(&mut self.later)
            .into_iter()
            .partition(|(when, _what)| *when <= now);
        self.later = later;
        for (_when, what) in due {
            self.mend(&what);
        }
    }

    fn mend(&mut self, what: &Mending) {
        match *what {
            Mending::Start(which) => {
                let service = &mut self.services[which];
                let started = Process::start(service.name, &mut command(self.servers, service.name, service.host));
                service.process = Some(started);
            }
            Mending::Resume(which) => {
                let service = &mut self.services[which];
                service.paused = false;
                if let Some(process) = &service.process {
                    process.resume();
                }
            }
            Mending::Reconnect(host) => {
                self.servers.hosts.reconnect(host);
                self.cut_off.retain(|cut| *cut != host);
            }
        }
    }

    /// Everything runs again and is connected.
    pub(crate) fn mend_everything(&mut self) {
        self.mend_what_is_due(Instant::now() + OUTAGE_MAX * 2);
    }

    /// What happened, how often.
    pub(crate) fn figures(&self) -> String {
        let words: Vec<String> = self
            .counts
            .iter()
            .map(|(what, count)| format!("{count} x {what}"))
            .collect();
        format!("{} events: {}", self.counts.values().sum::<u32>(), words.join(", "))
    }

    /// # Errors
    /// When one of the processes has ended by itself.
    pub(crate) fn check_processes(&mut self) -> Result<(), String> {
        for service in &mut self.services {
            let running = service.process.as_mut().is_some_and(Process::is_running);
            if !running {
                let lines = service
                    .process
                    .take()
                    .map(|process| process.finish(Duration::from_secs(1)).1);
                return Err(format!(
                    "{} does not run:\n{}",
                    service.name,
                    lines.unwrap_or_default().join("\n")
                ));
            }
        }
        Ok(())
    }
}

fn file(name: &str) -> String {
    format!("{name}.properties")
}

fn command(servers: &Rehearsal, name: &str, host: u8) -> Command {
    if name.starts_with("namesrv") {
        return servers.command(host, "mqnamesrv");
    }
    let mut command = servers.command(host, "mqbroker");
    command.args(["-c", &file(name), "-n", &name_servers(&SERVERS)]);
    command
}

/// Segments stay however full the machine's disk is: what is missing in the end was lost.
fn configuration(name: &str) -> String {
    let (master, role, id, port) = match name.strip_suffix("-s") {
        Some(master) => (master, "SLAVE", 1, 10_931),
        None => (name, "ASYNC_MASTER", 0, 10_911),
    };
    format!(
        "brokerClusterName={}\nbrokerName={master}\nbrokerId={id}\nbrokerRole={role}\nlistenPort={port}\n\
         storePathRootDir=store-{name}\nmappedFileSizeCommitLog=16777216\ncores=1\nshards=2\nautoCreateTopicEnable=false\n\
         registerNameServerPeriod=10000\ncleanFileForciblyEnable=false\n",
        simulation::cluster::CLUSTER
    )
}
