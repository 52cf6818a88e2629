//! Defaults that depend on the machine.

use remoting::config_table::{ConfigError, Origin, Settings};
use std::net::IpAddr;
use std::path::PathBuf;

/// What defaults depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPUs that this process may use.
    pub cpus: usize,
    /// The host's name.
    pub host_name: String,
    /// The user's home directory.
    pub home: PathBuf,
    /// The address that others reach this machine by, as far as one can tell from here.
    pub address: Option<IpAddr>,
    /// The environment's `NAMESRV_ADDR`.
    pub namesrv_addr: Option<String>,
    /// The environment's `ROCKETMQ_HOME`.
    pub rocketmq_home: Option<String>,
}

impl Machine {
    /// The machine and the environment that this process runs in.
    #[must_use]
    pub fn here() -> Machine {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Machine {
            cpus: runtime::core::allowed_cpus().len(),
            host_name: runtime::machine::host_name(),
            home: variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from),
            address: runtime::machine::default_address(),
            namesrv_addr: variable("NAMESRV_ADDR"),
            rocketmq_home: variable("ROCKETMQ_HOME"),
        }
    }

    /// Puts the defaults of this machine in place.
    pub(super) fn set_defaults(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let address = self
            .address
            .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
        let store = self.home.join("store").to_string_lossy().into_owned();
        settings.set("brokerName", &self.broker_name(), Origin::Default)?;
        settings.set("brokerIP1", &address, Origin::Default)?;
        settings.set("storePathRootDir", &store, Origin::Default)?;
        for (key, threads) in THREADS {
            settings.set(key, &threads(self.cpus).to_string(), Origin::Default)?;
        }
        for (key, variable, value) in [
            ("namesrvAddr", "NAMESRV_ADDR", &self.namesrv_addr),
            ("rocketmqHome", "ROCKETMQ_HOME", &self.rocketmq_home),
        ] {
            if let Some(value) = value {
                settings.set(key, value, Origin::Environment(variable))?;
            }
        }
        Ok(())
    }

    /// The host's name, as far as it can be the name of a broker: dots are replaced.
    fn broker_name(&self) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = self.host_name.chars().map(|c| if allowed(c) { c } else { '_' });
        let name: String = name.take(127).collect();
        if name.is_empty() {
            "DEFAULT_BROKER".to_owned()
        } else {
            name
        }
    }
}

type FromCpus = fn(usize) -> usize;

/// How RocketMQ's BrokerConfig and NettyClientConfig size their thread pools from the number of CPUs. They are shown, not used.
const THREADS: [(&str, FromCpus); 9] = [
    ("sendMessageThreadPoolNums", |cpus| cpus.min(4)),
    ("putMessageFutureThreadPoolNums", |cpus| cpus.min(4)),
    ("pullMessageThreadPoolNums", |cpus| 16 + 2 * cpus),
    ("litePullMessageThreadPoolNums", |cpus| 16 + 2 * cpus),
    ("processReplyMessageThreadPoolNums", |cpus| 16 + 2 * cpus),
    ("queryMessageThreadPoolNums", |cpus| 8 + cpus),
    ("heartbeatThreadPoolNums", |cpus| cpus.min(32)),
    ("endTransactionThreadPoolNums", |cpus| {
        (8 + 2 * cpus).max(4 * cpus.min(4))
    }),
    ("clientCallbackExecutorThreads", |cpus| cpus),
];
