//! Changing the configuration of a running broker: RocketMQ's request to update it, by an allow-list.

use super::finding::{Finding, Severity};
use super::rules;
use super::used_keys::BrokerConfig;
use remoting::config_table::{ConfigError, Origin};
use remoting::properties_file::{self, SyntaxError};

/// Why a change was not made. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// A key that is unknown or cannot change, or a value that is none.
    #[error("{0}")]
    Refused(#[from] ConfigError),
    /// A key that the configuration itself protects.
    #[error("{key} is protected by configBlackList; change it in the configuration file and start again")]
    Protected {
        /// The key.
        key: &'static str,
    },
    /// Values that do not fit each other.
    #[error("{0}")]
    Unfit(String),
}

/// A change that may be made.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The configuration after it.
    pub config: BrokerConfig,
    /// What changes: keys with their new texts. Empty when all are as they were.
    pub changes: Vec<(&'static str, String)>,
    /// Which of them have no effect, and what holds instead.
    pub notices: Vec<String>,
}

impl BrokerConfig {
    /// What the configuration would be after a change, given as the text of a properties file. The change is made by putting
    /// the new configuration in place of this one, and lasts if [`Updated::write_back`] is written to the file.
    ///
    /// # Errors
    /// When any key of it may not be changed while the broker runs, or has a value that cannot be used.
    pub fn update(&self, text: &str) -> Result<Updated, UpdateError> {
        let mut settings = self.settings.clone();
        let (mut changes, mut notices) = (Vec::new(), Vec::new());
        for (key, value) in settings.check_update(text)? {
            if key.secret && value.bytes().all(|byte| byte == b'*') {
                // As it was shown: a whole configuration that is sent back does not change what nobody could see.
                continue;
            }
            if self
                .config_black_list
                .split(';')
                .any(|protected| protected.trim() == key.name)
            {
                return Err(UpdateError::Protected { key: key.name });
            }
            notices.extend(settings.set(key.name, &value, Origin::Update)?);
            changes.push((key.name, value));
        }
        let config = BrokerConfig::from_settings(settings)
            .map_err(|key| UpdateError::Unfit(format!("{key} has a value that its field cannot hold")))?;
        match rules::check(&config)
            .into_iter()
            .find(|finding| finding.severity == Severity::Stop)
        {
            Some(Finding { text, .. }) => Err(UpdateError::Unfit(text)),
            None => Ok(Updated {
                config,
                changes,
                notices,
            }),
        }
    }
}

impl Updated {
    /// The text of the configuration file after the change: the lines of changed keys are replaced where they stand, all else,
    /// comments too, stays as it is.
    ///
    /// # Errors
    /// When the file has been changed since, and is no properties file any more.
    pub fn write_back(&self, file: &str) -> Result<String, SyntaxError> {
        self.changes.iter().try_fold(file.to_owned(), |text, (key, value)| {
            properties_file::with_value(&text, key, value)
        })
    }
}
