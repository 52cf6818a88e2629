//! Brokers that are to run beside each other on one machine: what they would take from each other.
//!
//! RocketMQ's sample files of a master and a slave set neither a port nor a path, so that two of them on one machine open
//! the same ports and write into the same directory.

use crate::config::rules::plain;
use crate::config::{BrokerConfig, Finding, Severity};
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What is wrong between any two of these brokers, each with the file that it was read from.
#[must_use]
pub fn judge_together(brokers: &[(&Path, &BrokerConfig)]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (at, (second_file, second)) in brokers.iter().enumerate() {
        for (first_file, first) in brokers.iter().take(at) {
            let pair = Pair {
                files: (first_file, second_file),
                first,
                second,
            };
            pair.names(&mut found);
            pair.ports(&mut found);
            pair.directories(&mut found);
        }
    }
    found
}

struct Pair<'a> {
    files: (&'a Path, &'a Path),
    first: &'a BrokerConfig,
    second: &'a BrokerConfig,
}

impl Pair<'_> {
    /// A finding about a key of the second file.
    fn stop(&self, key: &str, what: impl Display, fix: &str) -> Finding {
        let (first, second) = self.files;
        let finding = Finding::about(&self.second.settings, Severity::Stop, key, what, fix);
        Finding::new(
            Severity::Stop,
            format_args!("{} beside {}: {finding}", second.display(), first.display()),
        )
    }

    fn names(&self, found: &mut Vec<Finding>) {
        let name = |config: &BrokerConfig| {
            (
                config.broker_cluster_name.clone(),
                config.broker_name.clone(),
                config.broker_id,
            )
        };
        if name(self.first) == name(self.second) {
            let what = format_args!(
                "with brokerId={} is the other one's name too: name servers would know only one of them",
                self.second.broker_id
            );
            found.push(self.stop("brokerName", what, "give every master a brokerName of its own"));
        }
    }

    fn ports(&self, found: &mut Vec<Finding>) {
        let taken = [
            (self.first.listen_port, "its listenPort"),
            (self.first.vip_port(), "its listenPort - 2"),
            (self.first.ha_listen_port, "its haListenPort"),
        ];
        let wanted = [
            ("listenPort", self.second.listen_port, ""),
            ("listenPort", self.second.vip_port(), " for the port two below it"),
            ("haListenPort", self.second.ha_listen_port, ""),
        ];
        for (port, whose) in taken {
            for (key, same, why) in wanted {
                if port == same {
                    found.push(self.stop(
                        key,
                        format_args!("needs port {port}{why}, which is {whose}"),
                        "set listenPorts that are at least 4 apart, and leave haListenPort out",
                    ));
                }
            }
        }
    }

    fn directories(&self, found: &mut Vec<Finding>) {
        let mut shown: Vec<(&str, PathBuf)> = Vec::new();
        for (taken_by, taken) in directories(self.first) {
            for (key, wanted) in directories(self.second) {
                let what = if wanted == taken {
                    format!("is its {taken_by} too")
                } else if wanted.starts_with(&taken) {
                    format!("lies inside its {taken_by}={}", taken.display())
                } else if taken.starts_with(&wanted) {
                    format!("has its {taken_by}={} inside it", taken.display())
                } else {
                    continue;
                };
                // A commitlog inside its own root would say the same once more.
                if shown.iter().any(|(_key, path)| wanted.starts_with(path)) {
                    continue;
                }
                found.push(self.stop(key, what, "give every broker directories of its own"));
                shown.push((key, wanted));
            }
        }
    }
}

/// The directories that a broker writes into.
fn directories(config: &BrokerConfig) -> Vec<(&'static str, PathBuf)> {
    let mut directories = vec![("storePathRootDir", plain(&config.store_path_root_dir))];
    if let Some(commitlog) = config.commitlog_directory() {
        directories.push(("storePathCommitLog", plain(&commitlog)));
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Machine, Sources};

    fn config(text: &str) -> BrokerConfig {
        let machine = Machine {
            cpus: 2,
            host_name: "host".to_owned(),
            home: PathBuf::from("/home/mq"),
            address: None,
            namesrv_addr: None,
            rocketmq_home: None,
        };
        let file = Some((Path::new("x.properties"), text.as_bytes()));
        let sources = Sources {
            file,
            options: &[],
            machine: &machine,
        };
        BrokerConfig::load(&sources).unwrap().0
    }

    fn found(first: &str, second: &str) -> Vec<String> {
        let (first, second) = (config(first), config(second));
        let brokers = [
            (Path::new("a.properties"), &first),
            (Path::new("b.properties"), &second),
        ];
        judge_together(&brokers).iter().map(ToString::to_string).collect()
    }

    const A: &str = "brokerName=broker-a\nlistenPort=10911\nstorePathRootDir=/data/a";

    #[test]
    fn brokers_with_names_ports_and_directories_of_their_own_get_on() {
        assert!(found(A, "brokerName=broker-b\nlistenPort=10921\nstorePathRootDir=/data/b").is_empty());
        assert!(found(A, "brokerName=broker-b\nlistenPort=10915\nstorePathRootDir=/data/ab").is_empty());
    }

    #[test]
    fn sample_files_that_set_neither_port_nor_path_meet_in_both() {
        let found = found("brokerName=broker-a", "brokerName=broker-b");
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found[0].starts_with("b.properties beside a.properties: listenPort=10911 (the default) needs port 10911"),
            "{found:?}"
        );
        assert!(
            found[3].contains("storePathRootDir=/home/mq/store (the default) is its storePathRootDir too; fix: "),
            "{found:?}"
        );
    }

    #[test]
    fn what_two_brokers_take_from_each_other_is_named_with_line_and_key() {
        for (second, wanted) in [
            (
                "listenPort=10913\nstorePathRootDir=/b",
                "listenPort=10913 in x.properties line 2 needs port 10911 for the port two below",
            ),
            (
                "listenPort=10914\nstorePathRootDir=/b",
                "listenPort=10914 in x.properties line 2 needs port 10912 for the port two below it, which is its haListenPort",
            ),
            (
                "listenPort=10909\nstorePathRootDir=/b",
                "needs port 10909, which is its listenPort - 2",
            ),
            (
                "listenPort=20911\nstorePathRootDir=/data/a/slave",
                "line 3 lies inside its storePathRootDir=/data/a;",
            ),
            (
                "listenPort=20911\nstorePathRootDir=/data",
                "has its storePathRootDir=/data/a inside it",
            ),
            (
                "listenPort=20911\nstorePathRootDir=/data/b/../a",
                "is its storePathRootDir too",
            ),
            (
                "listenPort=20911\nstorePathRootDir=/b\nstorePathCommitLog=/data/a/commitlog",
                "storePathCommitLog=/data/a/commitlog in x.properties line 4 lies inside its storePathRootDir",
            ),
        ] {
            let found = found(A, &format!("brokerName=broker-b\n{second}"));
            assert_eq!(found.len(), 1, "{second}: {found:?}");
            assert!(found[0].contains(wanted), "{second}: {found:?}");
        }
        let twice = found(A, "brokerName=broker-a\nlistenPort=20911\nstorePathRootDir=/b");
        assert!(
            twice[0].contains("brokerName=broker-a in x.properties line 1 with brokerId=0"),
            "{twice:?}"
        );
    }
}
