//! The letters of Apache's benchmark `producer.sh` that are not mqbench's own options under the same letter.
//!
//! `-n -t -w -s -q -l -p` are: name servers, topic, senders, size, quantity, tags, property size. The rest is translated
//! here, so that a script for `producer.sh` runs after its first word is replaced.

use crate::error::Error;
use crate::options::Options;
use clap::{ArgAction, Args};

/// Letters that take `true` or `false`, as Apache's do, and the delay's level.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "As Apache's producer.sh has them")]
pub struct Letters {
    /// Messages get a key: the second they are made in.
    #[arg(short = 'k', value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    pub key_enable: bool,
    /// Many requests under way instead of one for each sender.
    #[arg(short = 'y', value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    pub async_enable: bool,
    /// Messages are delayed, by the level of -e.
    #[arg(short = 'd', value_name = "BOOL", action = ArgAction::Set, default_value_t = false)]
    pub delay_enable: bool,
    /// The level of -d.
    #[arg(short = 'e', value_name = "LEVEL", default_value_t = 1)]
    pub enabled_delay_level: u8,
    /// Message trace: only false.
    #[arg(short = 'm', value_name = "BOOL", action = ArgAction::Set, default_value_t = false, hide = true)]
    pub trace_enable: bool,
    /// Access control: only false.
    #[arg(short = 'a', value_name = "BOOL", action = ArgAction::Set, default_value_t = false, hide = true)]
    pub acl_enable: bool,
    /// Compression: only false.
    #[arg(short = 'c', value_name = "BOOL", action = ArgAction::Set, default_value_t = false, hide = true)]
    pub compress_enable: bool,
}

/// Requests under way on each connection with `-y true`.
const ASYNC_DEPTH: usize = 64;
/// Keys that Apache's key of seconds has in a run of some minutes.
const KEYS: u64 = 256;

impl Letters {
    /// Puts what the letters mean into the options.
    ///
    /// # Errors
    /// A letter that asks for what mqbench does not do, with what it does instead.
    pub fn apply(&self, options: &mut Options) -> Result<(), Error> {
        let refused = [
            (
                self.trace_enable,
                "-m true: mqbench sends no message traces; leave it out",
            ),
            (
                self.acl_enable,
                "-a true: mqbench has no access keys; use a broker without access control",
            ),
            (
                self.compress_enable,
                "-c true: mqbench sends bodies as they are; --compressible SHARE makes what others can compress",
            ),
        ];
        if let Some((_asked, why)) = refused.iter().find(|(asked, _why)| *asked) {
            return Err(Error::Arguments((*why).to_owned()));
        }
        if self.key_enable && options.messages.keys == 0 {
            options.messages.keys = KEYS;
        }
        if self.async_enable && options.depth == 1 {
            options.depth = ASYNC_DEPTH;
        }
        if self.delay_enable {
            options.messages.delay_level = self.enabled_delay_level;
        }
        Ok(())
    }
}

/// Apache's options of two letters behind one dash, which no parser of ours takes, become long ones.
pub fn translate(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    arguments
        .into_iter()
        .map(|argument| match argument.as_str() {
            "-ri" => "--report-interval".to_owned(),
            _ => argument,
        })
        .collect()
}
