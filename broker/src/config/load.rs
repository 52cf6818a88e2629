//! Reading a configuration: defaults, environment, file, command line, in this order, so that the later ones hold.

use super::dead_keys::DEAD;
use super::finding::{Finding, Severity};
use super::machine_defaults::Machine;
use super::rules;
use super::table;
use super::used_keys::BrokerConfig;
use remoting::config_table::{ConfigError, Key, Origin, Settings};
use std::path::Path;

/// Where the values come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The file of `-c`: its path as given, and its bytes.
    pub file: Option<(&'a Path, &'a [u8])>,
    /// Options of the command line that stand for keys: option, key, value.
    pub options: &'a [(&'static str, &'static str, &'a str)],
    /// What defaults depend on.
    pub machine: &'a Machine,
}

impl BrokerConfig {
    /// Reads and checks a configuration, as far as that can be done without looking at the machine (see `preflight`).
    /// With it come the notices and warnings about what it says.
    ///
    /// # Errors
    /// Everything that stops the start, and the notices and warnings as well.
    pub fn load(sources: &Sources<'_>) -> Result<(BrokerConfig, Vec<Finding>), Vec<Finding>> {
        let mut findings = Vec::new();
        let config = read(sources, &mut findings).and_then(|settings| finish(settings, &mut findings));
        match config {
            Some(config) if !stops(&findings) => Ok((config, findings)),
            _ => Err(findings),
        }
    }
}

fn stops(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Stop)
}

fn read(sources: &Sources<'_>, findings: &mut Vec<Finding>) -> Option<Settings> {
    let mut errors = Vec::new();
    let mut settings = table().defaults();
    errors.extend(sources.machine.set_defaults(&mut settings).err());
    if let Some((path, bytes)) = sources.file {
        let file = path.display().to_string();
        match settings.read_file(&file, &decode(bytes)) {
            Ok(notices) => {
                findings.extend(
                    notices
                        .into_iter()
                        .map(|notice| Finding::new(severity(&notice), notice)),
                );
            }
            Err(found) => errors.extend(found),
        }
        errors.extend(settings.set("brokerConfigPath", &file, Origin::Argument("-c")).err());
    }
    for (option, key, value) in sources.options {
        errors.extend(settings.set(key, value, Origin::Argument(option)).err());
    }
    findings.extend(combine(errors));
    (!stops(findings)).then_some(settings)
}

/// Who sets a key that has no effect in RocketMQ either believes in something that is not so, such as paths of a slave of its own.
fn severity(notice: &str) -> Severity {
    let is_about = |key: &Key| {
        notice
            .strip_prefix(key.name)
            .is_some_and(|rest| rest.starts_with(" in "))
    };
    if DEAD.iter().any(is_about) {
        Severity::Warning
    } else {
        Severity::Notice
    }
}

/// Fills in what follows from other keys, and checks what no key can be checked for alone.
fn finish(mut settings: Settings, findings: &mut Vec<Finding>) -> Option<BrokerConfig> {
    if settings.text("brokerIP2").is_empty() {
        let address = settings.text("brokerIP1").to_owned();
        findings.extend(settings.set("brokerIP2", &address, Origin::Default).err().map(stop));
    }
    let ha_port = settings.int("listenPort").saturating_add(1);
    if settings.int("haListenPort") == 0 && ha_port <= i64::from(u16::MAX) {
        let port = ha_port.to_string();
        findings.extend(settings.set("haListenPort", &port, Origin::Default).err().map(stop));
    }
    expand_path(&mut settings, "storePathRootDir");
    expand_path(&mut settings, "storePathCommitLog");
    let config = match BrokerConfig::from_settings(settings) {
        Ok(config) => config,
        Err(key) => {
            findings.push(Finding::new(
                Severity::Stop,
                format_args!("{key} has a kind that its field cannot hold"),
            ));
            return None;
        }
    };
    findings.extend(rules::check(&config));
    Some(config)
}

/// RocketMQ would make a directory of the name `~`; nobody means that.
fn expand_path(settings: &mut Settings, key: &str) {
    if let Some(path) = settings.path(key, |name| std::env::var(name).ok()) {
        let origin = settings.origin(key).clone();
        // The key is of the table and takes any path.
        let _notice = settings.set(key, &path, origin);
    }
}

/// Java reads a properties file as ISO 8859-1; people write UTF-8.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_not_utf8) => bytes.iter().copied().map(char::from).collect(),
    }
}

fn stop(error: ConfigError) -> Finding {
    Finding::new(Severity::Stop, error)
}

/// A file for a feature that is not built has several keys that speak of it; one line that begins with the chief one says
/// more than five.
fn combine(errors: Vec<ConfigError>) -> Vec<Finding> {
    let (mut not_built, other): (Vec<ConfigError>, Vec<ConfigError>) = errors
        .into_iter()
        .partition(|error| matches!(error, ConfigError::NotBuilt { .. }));
    not_built.sort_by_key(|error| match error {
        ConfigError::NotBuilt { key, .. } => CHIEF.iter().position(|chief| chief == key).unwrap_or(CHIEF.len()),
        _ => CHIEF.len(),
    });
    let mut not_built = not_built.into_iter();
    let Some(first) = not_built.next() else {
        return other.into_iter().map(stop).collect();
    };
    let rest: Vec<String> = not_built
        .filter_map(|error| match error {
            ConfigError::NotBuilt { key, value, origin, .. } => Some(format!("{key}={value} in {origin}")),
            _ => None,
        })
        .collect();
    let mut text = first.to_string();
    if !rest.is_empty() {
        text.push_str("; nor can ");
        text.push_str(&rest.join(", "));
    }
    std::iter::once(Finding::new(Severity::Stop, text))
        .chain(other.into_iter().map(stop))
        .collect()
}

/// The keys that switch a feature on, the ones that say most first.
const CHIEF: [&str; 7] = [
    "brokerConfigPaths",
    "enableControllerMode",
    "enableDLegerCommitLog",
    "authenticationEnabled",
    "authorizationEnabled",
    "aclEnable",
    "isBrokerContainer",
];
