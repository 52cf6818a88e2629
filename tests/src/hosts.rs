//! Hosts of a rehearsal: network namespaces on one bridge, with addresses that exist only inside them.
//!
//! The bridge is in a namespace of its own, so that nothing of this machine's network changes. All goes with the value.
//! A host can be cut off: its port at the bridge passes nothing on, and nobody is told, as with a cable that was pulled at the
//! far end of a switch.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Some hosts on one network.
#[derive(Debug)]
pub struct Hosts {
    prefix: String,
    count: u8,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Hosts {
    /// So many hosts: 10.0.0.1, 10.0.0.2...
    ///
    /// # Errors
    /// Why this machine cannot have any.
    pub fn new(count: u8) -> Result<Hosts, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("network namespaces need root".to_owned());
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let hosts = Hosts {
            prefix: format!("ringmq-{}-{number}", std::process::id()),
            count,
        };
        hosts.make()?;
        Ok(hosts)
    }

    fn make(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "bridge", "up"])?;
        for host in 1..=self.count {
            let (name, port) = (self.name(host), port(host));
            ip(&["netns", "add", &name])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", "bridge", "up"])?;
            let address = format!("{}/24", address(host));
            ip(&["-n", &name, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            // Brokers that are not told an address take the one of the default route.
            ip(&["-n", &name, "route", "add", "default", "dev", "eth0"])?;
        }
        Ok(())
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn name(&self, host: u8) -> String {
        format!("{}-{host}", self.prefix)
    }

    /// What to put before a command that is to run on a host.
    pub fn prefix(&self, host: u8) -> Vec<String> {
        ["ip", "netns", "exec", &self.name(host)].map(str::to_owned).to_vec()
    }

    /// A program on a host.
    pub fn command(&self, host: u8, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(host)]).arg(program);
        command.env_remove("NAMESRV_ADDR");
        command
    }

    /// Takes the network away from a host, without a word to anybody: its link stays up. (Closing the bridge's port would not do: the
    /// kernel opens it again when it hears, up to a second late, that the link is up.)
    pub fn cut_off(&self, host: u8) {
        self.set_port(host, &["nomaster"]);
    }

    /// Gives it back.
    pub fn reconnect(&self, host: u8) {
        self.set_port(host, &["master", "bridge"]);
    }

    fn set_port(&self, host: u8, how: &[&str]) {
        let (switch, port) = (self.switch(), port(host));
        let set = ip(&[&["-n", &switch, "link", "set", &port], how].concat());
        set.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Moves this thread to a host; the threads that it starts are there too.
    pub fn enter(&self, host: u8) {
        enter(&self.prefix(host));
    }
}

/// As [`Hosts::enter`], by what [`Hosts::prefix`] gave.
pub fn enter(prefix: &[String]) {
    let name = prefix.last().expect("a prefix names a host");
    let path = format!("/run/netns/{name}");
    let space = File::open(&path).unwrap_or_else(|e| panic!("cannot open {path}: {e}"));
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
        .unwrap_or_else(|e| panic!("cannot enter {path}: {e}"));
}

/// The address of a host.
pub fn address(host: u8) -> String {
    format!("10.0.0.{host}")
}

fn port(host: u8) -> String {
    format!("port{host}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let shown = || format!("ip {}", arguments.join(" "));
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("{}: {error}", shown()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}: {}",
        shown(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in (1..=self.count).map(|host| self.name(host)).chain([self.switch()]) {
            if let Err(error) = ip(&["netns", "delete", &name])
                && !error.contains("No such file")
            {
                eprintln!("a namespace is left behind: {error}");
            }
        }
    }
}

#[cfg(test)]
mod unit {
    use super::{Hosts, address};
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    #[test]
    fn hosts_reach_each_other_until_one_is_cut_off() {
        let hosts = match Hosts::new(2) {
            Ok(hosts) => hosts,
            Err(why) => return println!("skipped: {why}"),
        };
        let to: SocketAddr = format!("{}:4000", address(2)).parse().expect("an address");
        let connect = || TcpStream::connect_timeout(&to, Duration::from_millis(300));
        std::thread::scope(|scope| {
            let listening = scope.spawn(|| {
                hosts.enter(2);
                TcpListener::bind(to).expect("the address is of this host")
            });
            let listener = listening.join().expect("it listens");
            let client = scope.spawn(|| {
                hosts.enter(1);
                connect()
                    .and_then(|mut s| s.write_all(b"x"))
                    .expect("they reach each other");
                hosts.cut_off(2);
                assert!(connect().is_err(), "nothing passes");
                hosts.reconnect(2);
                connect().expect("they reach each other again");
            });
            let mut got = [0];
            let (mut accepted, _peer) = listener.accept().expect("somebody connects");
            accepted.read_exact(&mut got).expect("a byte comes");
            assert_eq!(&got, b"x");
            // The listener stays until then.
            client.join().expect("the other host is content");
        });
    }
}
