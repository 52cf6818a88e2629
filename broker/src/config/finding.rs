//! What is wrong with a configuration, and how to mend it: one line for each.

use remoting::config_table::{Origin, Settings};
use std::fmt;

/// Whether a broker may start in spite of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It may; this is what holds.
    Notice,
    /// It may, but somebody should look.
    Warning,
    /// It must not.
    Stop,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Stop => "stop",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        })
    }
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether a start is possible.
    pub severity: Severity,
    /// One line: setting, where it was written, what is wrong, fix.
    pub text: String,
}

impl Finding {
    /// A finding in these words.
    #[must_use]
    pub fn new(severity: Severity, text: impl fmt::Display) -> Finding {
        Finding {
            severity,
            text: one_line(&text.to_string()),
        }
    }

    /// A finding about one key: `what` goes on from `key=value in FILE line N`, `fix` says what to write instead.
    #[must_use]
    pub fn about(
        settings: &Settings,
        severity: Severity,
        key: &str,
        what: impl fmt::Display,
        fix: impl fmt::Display,
    ) -> Finding {
        let value = settings.text(key);
        let origin = match settings.origin(key) {
            Origin::Default => " (the default)".to_owned(),
            origin @ (Origin::Argument(_) | Origin::Environment(_)) => format!(" by {origin}"),
            origin => format!(" in {origin}"),
        };
        Finding::new(severity, format_args!("{key}={value}{origin} {what}; fix: {fix}"))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value may hold line breaks and escape sequences (by `\n`, `\u001b`); a log line and a terminal must not.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
    }
    line
}
