//! Which services a cluster has: names, ports, folders, and the configuration file of each.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Masters that one command may start: beyond that nobody would want one machine.
const MASTERS_MAX: u16 = 9;
/// A broker listens on its port L, on L - 2 (VIP channel) and on L + 1 (for slaves).
const PORT_STEP: u16 = 20;
/// Bytes of a segment: a cluster on one machine should not take a gigabyte for each shard.
pub(crate) const SEGMENT_SIZE: &str = "134217728";

/// How many brokers of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) masters: u16,
    /// Whether each master has a slave.
    pub(crate) slaves: bool,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Layout, String> {
        let wanted = || format!("{text} is no layout; try 2m2s (two masters, a slave each) or 2m-noslave");
        let (masters, rest) = text.split_once('m').ok_or_else(wanted)?;
        let masters: u16 = masters.parse().map_err(|_not_a_number| wanted())?;
        if masters == 0 || masters > MASTERS_MAX {
            return Err(format!(
                "{text} has {masters} masters; 1 to {MASTERS_MAX} can be started"
            ));
        }
        if rest == "-noslave" {
            return Ok(Layout { masters, slaves: false });
        }
        let slaves: u16 = rest.strip_suffix('s').and_then(|n| n.parse().ok()).ok_or_else(wanted)?;
        if slaves != masters {
            return Err(format!(
                "{text} has {slaves} slaves; each master has one: {masters}m{masters}s"
            ));
        }
        Ok(Layout { masters, slaves: true })
    }
}

/// Where a cluster is to be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Absolute.
    pub(crate) data: PathBuf,
    pub(crate) host: IpAddr,
    /// Of the first name server; the next ones follow.
    pub(crate) namesrv_port: u16,
    /// Of the first broker; the next ones follow in steps of 20.
    pub(crate) port: u16,
    pub(crate) name_servers: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    NameServer,
    Master,
    Slave,
}

impl Kind {
    pub(crate) fn is_broker(self) -> bool {
        self != Kind::NameServer
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Master,
    Slave,
}

/// A service as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Of it alone: configuration, log, data.
    pub(crate) folder: PathBuf,
    /// What its configuration file says if there is none yet.
    pub(crate) configuration: String,
}

impl Planned {
    pub(crate) fn configuration_file(&self) -> PathBuf {
        self.folder.join(match self.kind {
            Kind::NameServer => "namesrv.conf",
            Kind::Master | Kind::Slave => "broker.conf",
        })
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}

/// Plans every service, name servers first.
///
/// # Errors
/// Ports that there are not.
pub(crate) fn plan(layout: Layout, place: &Place) -> Result<Vec<Planned>, String> {
    let mut services = Vec::new();
    let mut addresses = Vec::new();
    for number in 0..place.name_servers {
        let port = port(place.namesrv_port, number, "--namesrv-port")?;
        addresses.push(SocketAddr::new(place.host, port).to_string());
        services.push(name_server(place, number, port));
    }
    let roles: &[Role] = if layout.slaves {
        &[Role::Master, Role::Slave]
    } else {
        &[Role::Master]
    };
    let mut further = 0;
    for &role in roles {
        for number in 0..layout.masters {
            let port = port(place.port, further, "--port")?;
            services.push(broker(place, (number, role), port, &addresses.join(";")));
            further += PORT_STEP;
        }
    }
    Ok(services)
}

fn port(first: u16, further: u16, option: &str) -> Result<u16, String> {
    first
        .checked_add(further)
        .ok_or_else(|| format!("{option} {first} leaves no room: a service would need port {first} + {further}"))
}

const HEAD: &str = "# Written by `ringmq up`, once: edit it as you like.\n";

fn name_server(place: &Place, number: u16, port: u16) -> Planned {
    let name = format!("namesrv-{}", number + 1);
    let folder = place.data.join(&name);
    let mut text = HEAD.to_owned();
    let listen = listen_on(place.host);
    let kv = folder.join("kvConfig.json");
    let store = folder.join("namesrv.properties");
    // Writing to a string does not fail.
    let _written = write!(
        text,
        "listenPort={port}\nbindAddress={listen}\nkvConfigPath={}\nconfigStorePath={}\n",
        kv.display(),
        store.display()
    );
    Planned {
        name,
        kind: Kind::NameServer,
        folder,
        configuration: text,
    }
}

fn broker(place: &Place, (number, role): (u16, Role), port: u16, name_servers: &str) -> Planned {
    let letter = char::from(b'a' + u8::try_from(number).unwrap_or(0));
    let broker_name = format!("broker-{letter}");
    // RocketMQ's sample files are named so.
    let (name, kind, id, role) = match role {
        Role::Master => (broker_name.clone(), Kind::Master, 0, "ASYNC_MASTER"),
        Role::Slave => (format!("{broker_name}-s"), Kind::Slave, 1, "SLAVE"),
    };
    let folder = place.data.join(&name);
    let mut text = HEAD.to_owned();
    let (host, listen) = (place.host, listen_on(place.host));
    let _written = write!(
        text,
        "brokerClusterName=DefaultCluster\nbrokerName={broker_name}\nbrokerId={id}\nbrokerRole={role}\nflushDiskType=ASYNC_FLUSH\n\
         deleteWhen=04\nfileReservedTime=48\nnamesrvAddr={name_servers}\nbrokerIP1={host}\nbindAddress={listen}\nlistenPort={port}\n\
         storePathRootDir={}\nmappedFileSizeCommitLog={SEGMENT_SIZE}\n",
        folder.join("store").display()
    );
    Planned {
        name,
        kind,
        folder,
        configuration: text,
    }
}

/// What to listen on so that clients reach `host`: for a loopback address nothing more.
pub(crate) fn listen_on(host: IpAddr) -> String {
    if host.is_loopback() {
        host.to_string()
    } else {
        "0.0.0.0".to_owned()
    }
}

/// The data directory as an absolute path: services are started from anywhere.
///
/// # Errors
/// When there is no working directory.
pub(crate) fn absolute(data: &Path) -> Result<PathBuf, String> {
    std::path::absolute(data).map_err(|error| format!("{} cannot be made absolute: {error}", data.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            data: PathBuf::from("/data"),
            host: IpAddr::from([127, 0, 0, 1]),
            namesrv_port: 9876,
            port: 10911,
            name_servers: 2,
        }
    }

    #[test]
    fn layouts_are_read_and_what_cannot_be_started_is_said() {
        let layout = |masters, slaves| Ok(Layout { masters, slaves });
        assert_eq!("2m-noslave".parse(), layout(2, false));
        assert_eq!("9m-noslave".parse(), layout(9, false));
        assert_eq!("3m3s".parse(), layout(3, true));
        let refused = |text: &str| text.parse::<Layout>().unwrap_err();
        assert!(refused("2m4s").contains("each master has one: 2m2s"));
        assert!(refused("0m-noslave").contains("has 0 masters"));
        for rubbish in ["", "m", "2", "2m", "twom-noslave", "2m-slave", "2mxs", "-1m-noslave"] {
            assert!(refused(rubbish).contains("is no layout"), "{rubbish}");
        }
    }

    #[test]
    fn services_of_a_plan_share_no_port_and_no_folder_and_know_all_name_servers() {
        let services = plan("2m2s".parse().unwrap(), &place()).unwrap();
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "namesrv-1",
                "namesrv-2",
                "broker-a",
                "broker-b",
                "broker-a-s",
                "broker-b-s"
            ]
        );
        let line = |service: &Planned, key: &str| {
            let mut lines = service.configuration.lines();
            lines
                .find_map(|line| line.strip_prefix(key).map(str::to_owned))
                .unwrap()
        };
        let mut ports: Vec<u16> = Vec::new();
        for service in &services {
            let port: u16 = line(service, "listenPort=").parse().unwrap();
            ports.extend(match service.kind {
                Kind::NameServer => vec![port],
                Kind::Master | Kind::Slave => vec![port - 2, port, port + 1],
            });
            assert_eq!(service.folder, Path::new("/data").join(&service.name));
        }
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all, "{ports:?}");
        assert_eq!(line(&services[4], "namesrvAddr="), "127.0.0.1:9876;127.0.0.1:9877");
        assert_eq!(line(&services[4], "brokerName="), "broker-a");
        assert_eq!(line(&services[4], "brokerId="), "1");
        assert_eq!(line(&services[4], "storePathRootDir="), "/data/broker-a-s/store");
    }

    #[test]
    fn ports_end_at_65535() {
        let late = Place {
            port: 65_530,
            ..place()
        };
        assert!(plan("1m-noslave".parse().unwrap(), &late).is_ok());
        assert!(
            plan("1m1s".parse().unwrap(), &late)
                .unwrap_err()
                .contains("--port 65530")
        );
    }
}
