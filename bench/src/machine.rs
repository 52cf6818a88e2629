//! Where a figure comes from: hardware, kernel, the commit of this tool, the versions of the brokers.

use client::{Admin, Client};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;

/// The commit this tool was built from, as the build found it.
pub const COMMIT: &str = env!("MQBENCH_COMMIT");

/// The machine that the generator runs on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// Bytes of memory, 0 if they cannot be read.
    pub memory_bytes: u64,
    /// Name and release of the kernel.
    pub kernel: String,
    /// Instruction set.
    pub architecture: &'static str,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Machine {
            processor: processor(&read("/proc/cpuinfo")),
            cpus: runtime::core::allowed_cpus().len(),
            memory_bytes: runtime::machine::memory().unwrap_or(0),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            architecture: std::env::consts::ARCH,
        }
    }
}

fn processor(cpuinfo: &str) -> String {
    let name = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    name.unwrap_or_else(|| "unknown".to_owned())
}

/// The version that each master of the cluster tells of itself, by address. Empty if they do not tell.
#[must_use]
pub fn brokers(namesrv: &str) -> BTreeMap<String, String> {
    let asked = runtime::core::run_here(&crate::run::no_files(), async {
        let mut versions = BTreeMap::new();
        let Ok(client) = Client::new(namesrv) else {
            return versions;
        };
        let admin = Admin::new(&client);
        let Ok(cluster) = admin.cluster_info().await else {
            return versions;
        };
        let brokers = cluster.broker_addr_table.values();
        for master in brokers.filter_map(|broker| broker.broker_addrs.get(&0)) {
            if let Some(version) = admin.runtime_info(master).await.ok().and_then(version_of) {
                versions.insert(master.clone(), version);
            }
        }
        versions
    });
    asked.unwrap_or_default()
}

fn version_of(mut figures: BTreeMap<String, String>) -> Option<String> {
    figures.remove("brokerVersionDesc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cpus_and_a_kernel() {
        let machine = Machine::here();
        assert!(machine.cpus > 0 && machine.kernel.len() > "Linux ".len(), "{machine:?}");
    }

    #[test]
    fn the_processor_is_named_as_it_names_itself() {
        assert_eq!(
            processor("processor\t: 0\nmodel name\t: Fast One @ 3 GHz\n"),
            "Fast One @ 3 GHz"
        );
        assert_eq!(processor("processor : 0"), "unknown");
    }
}
