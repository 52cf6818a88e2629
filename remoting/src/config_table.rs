//! Tables of configuration keys: what a program knows of each key, and what follows from it alone.
//!
//! A program declares each key once, as data. Reading and checking files, `-p` and `-m`, the answer to a request for the
//! configuration, updates at run time and the reference text are made from the table, so none of them can forget a key.
//! A file that has a key which nobody knows, or a value that does not parse, stops the start: RocketMQ ignores both silently.

use crate::properties_file::{self, SyntaxError};
use std::fmt;
use std::fmt::Write as _;

/// What values of a key look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within these bounds, both included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number with a fraction within these bounds, both included.
    Float {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// Any text.
    Text,
    /// A file or folder; `~` and `$NAME` at its start stand for the home folder and an environment variable.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `host:port`, several parted by `;`.
    Addresses,
}

impl Kind {
    /// Any whole number of 64 bits.
    pub const LONG: Kind = Kind::Int {
        min: i64::MIN,
        max: i64::MAX,
    };
    /// Zero or more, up to what a Java int holds.
    pub const COUNT: Kind = Kind::Int {
        min: 0,
        max: 2_147_483_647,
    };
    /// A TCP port; 0 lets the system choose.
    pub const PORT: Kind = Kind::Int { min: 0, max: 65_535 };
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => f.write_str("true or false"),
            Kind::Int { min, max } if *min == i64::MIN && *max == i64::MAX => f.write_str("a whole number"),
            Kind::Int { min, max } => write!(f, "a whole number from {min} to {max}"),
            Kind::Float { min, max } => write!(f, "a number from {min} to {max}"),
            Kind::Text => f.write_str("text"),
            Kind::Path => f.write_str("a path"),
            Kind::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Kind::Addresses => f.write_str("host:port, several parted by ;"),
        }
    }
}

/// What a program does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what the help says.
    Used,
    /// Another implementation needs it; what holds here instead.
    Accepted(&'static str),
    /// Any value but the default would promise what is not built; what is missing.
    RefusedUnlessDefault(&'static str),
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As in files.
    pub name: &'static str,
    /// What values look like.
    pub kind: Kind,
    /// As in files. May be empty: not set.
    pub default: &'static str,
    /// What it does here, in a sentence, with the unit.
    pub help: &'static str,
    /// Whether it does anything.
    pub status: Status,
    /// Shown by `-m`.
    pub important: bool,
    /// May be changed while the program runs.
    pub updatable: bool,
    /// Never shown.
    pub secret: bool,
}

impl Key {
    /// A key that is used.
    #[must_use]
    pub const fn used(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Key {
        Key {
            name,
            kind,
            default,
            help,
            status: Status::Used,
            important: false,
            updatable: false,
            secret: false,
        }
    }

    /// A key that is accepted; `instead` says what holds.
    #[must_use]
    pub const fn accepted(name: &'static str, kind: Kind, default: &'static str, instead: &'static str) -> Key {
        Key {
            status: Status::Accepted(instead),
            ..Key::used(name, kind, default, "")
        }
    }

    /// A key of which only the default value is accepted; `missing` says why.
    #[must_use]
    pub const fn refused(name: &'static str, kind: Kind, default: &'static str, missing: &'static str) -> Key {
        Key {
            status: Status::RefusedUnlessDefault(missing),
            ..Key::used(name, kind, default, "")
        }
    }

    /// The same, shown by `-m`.
    #[must_use]
    pub const fn important(self) -> Key {
        Key {
            important: true,
            ..self
        }
    }

    /// The same, and it may be changed while the program runs.
    #[must_use]
    pub const fn updatable(self) -> Key {
        Key {
            updatable: true,
            ..self
        }
    }

    /// The same, never shown.
    #[must_use]
    pub const fn secret(self) -> Key {
        Key { secret: true, ..self }
    }

    /// Checks a value and gives its canonical text. An empty value means not set, and is good for text, paths and addresses.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind `key=value in FILE line N`.
    pub fn check(&self, value: &str) -> Result<String, String> {
        let value = value.trim();
        match self.kind {
            Kind::Bool => match value.to_ascii_lowercase().as_str() {
                word @ ("true" | "false") => Ok(word.to_owned()),
                _ => Err(format!("is not {}", self.kind)),
            },
            Kind::Int { min, max } => match value.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(number.to_string()),
                Ok(_) => Err(format!("is not {}", self.kind)),
                Err(_) => Err("is not a number".to_owned()),
            },
            Kind::Float { min, max } => match value.parse::<f64>() {
                Ok(number) if number >= min && number <= max => Ok(value.to_owned()),
                Ok(_) => Err(format!("is not {}", self.kind)),
                Err(_) => Err("is not a number".to_owned()),
            },
            Kind::Text | Kind::Path => Ok(value.to_owned()),
            Kind::Choice(words) if words.contains(&value) => Ok(value.to_owned()),
            Kind::Choice(_) => Err(format!("is not {}", self.kind)),
            Kind::Addresses => check_addresses(value).map(|()| value.to_owned()),
        }
    }
}

fn check_addresses(value: &str) -> Result<(), String> {
    for address in value.split(';').map(str::trim).filter(|address| !address.is_empty()) {
        let port = address
            .rsplit_once(':')
            .filter(|(host, _port)| !host.is_empty())
            .map(|(_host, port)| port);
        if port
            .and_then(|port| port.parse::<u16>().ok())
            .is_none_or(|port| port == 0)
        {
            return Err(format!(
                "has {address:?}, which is not host:port; several are parted by ;"
            ));
        }
    }
    Ok(())
}

/// A key that is known to be wrong, and what to do about it.
#[derive(Clone, Copy, Debug)]
pub struct DeadKey {
    /// As people write it.
    pub name: &'static str,
    /// What to write instead, or why there is nothing to write.
    pub advice: &'static str,
}

/// All keys of a program.
#[derive(Clone, Copy, Debug)]
pub struct ConfigTable {
    /// The program, for the reference text.
    pub program: &'static str,
    /// Every key, in the order in which they are shown.
    pub keys: &'static [Key],
    /// Keys that old instructions have and no version reads.
    pub dead: &'static [DeadKey],
}

/// Where a value comes from; also the order of precedence, lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// An environment variable.
    Environment(&'static str),
    /// A file, with the line.
    File {
        /// Its path as given.
        file: String,
        /// From 1.
        line: u32,
    },
    /// An argument of the command line.
    Argument(&'static str),
    /// A request while the program runs.
    Update,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the defaults"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::File { file, line } => write!(f, "{file} line {line}"),
            Origin::Argument(name) => write!(f, "argument {name}"),
            Origin::Update => f.write_str("a request to update the configuration"),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is no properties file.
    #[error("{file} {error}")]
    Syntax {
        /// Its path as given.
        file: String,
        /// What and where.
        error: SyntaxError,
    },
    /// No key of that name.
    #[error("{key}={value} in {origin} is not a key of {program}; fix: {}", match nearest {
        Some(key) => format!("did you mean {key}? Otherwise remove the line"),
        None => "remove the line".to_owned(),
    })]
    UnknownKey {
        /// As written.
        key: String,
        /// As written.
        value: String,
        /// Where.
        origin: Origin,
        /// Whose keys were searched.
        program: &'static str,
        /// The key most like it.
        nearest: Option<&'static str>,
    },
    /// A key of old instructions.
    #[error("{key} in {origin} has no effect in any version: {advice}")]
    DeadKey {
        /// As written.
        key: &'static str,
        /// Where.
        origin: Origin,
        /// The fix.
        advice: &'static str,
    },
    /// A value that does not parse or is out of bounds.
    #[error("{key}={value} in {origin} {problem}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// As written.
        value: String,
        /// Where.
        origin: Origin,
        /// What is wrong.
        problem: String,
    },
    /// A value that asks for something that is not built.
    #[error("{key}={value} in {origin} cannot be honoured: {missing}; remove the line or set {key}={default}")]
    NotBuilt {
        /// The key.
        key: &'static str,
        /// As written.
        value: String,
        /// Where.
        origin: Origin,
        /// What is missing.
        missing: &'static str,
        /// The only value that is accepted.
        default: &'static str,
    },
    /// A key that does not change while the program runs.
    #[error("{key} cannot be changed while {program} runs; set it in the configuration file and start again")]
    NotUpdatable {
        /// As written.
        key: String,
        /// Whose key.
        program: &'static str,
    },
}

impl ConfigTable {
    /// The key of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// All keys at their defaults.
    #[must_use]
    pub fn defaults(&self) -> Settings {
        let values = self
            .keys
            .iter()
            .map(|key| (key.default.to_owned(), Origin::Default))
            .collect();
        Settings { table: *self, values }
    }

    /// The key most like `name`, if one is near: what was probably meant.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        let wanted = name.to_ascii_lowercase();
        let bound = 1 + name.len() / 4;
        // Peers may ask for a key of any length; to compare costs both lengths multiplied.
        let may_be_near = |key: &&Key| key.name.len().abs_diff(name.len()) <= bound;
        let near = self
            .keys
            .iter()
            .filter(may_be_near)
            .map(|key| (distance(&wanted, &key.name.to_ascii_lowercase()), key.name));
        near.filter(|(distance, _name)| *distance <= bound)
            .min_by_key(|(distance, _name)| *distance)
            .map(|(_, name)| name)
    }

    /// The reference of all keys, in Markdown.
    #[must_use]
    pub fn reference(&self) -> String {
        let mut text = format!("# Configuration keys of {}\n\n", self.program);
        text.push_str("A file has lines of the form `key=value`. A key that is not listed here, or a value that does not parse, stops the start.\n");
        for key in self.keys {
            let default = if key.default.is_empty() {
                "not set".to_owned()
            } else {
                format!("`{}`", key.default)
            };
            let updatable = if key.updatable {
                "; may be changed at run time"
            } else {
                ""
            };
            // Writing to a string cannot fail.
            let _written = write!(
                text,
                "\n## {}\n\n{}; default {default}{updatable}.\n",
                key.name,
                capital(key.kind)
            );
            let _written = match key.status {
                Status::Used => writeln!(text, "{}", key.help),
                Status::Accepted(instead) => writeln!(text, "Accepted, without effect: {instead}"),
                Status::RefusedUnlessDefault(missing) => writeln!(text, "Only the default is accepted: {missing}"),
            };
        }
        if !self.dead.is_empty() {
            text.push_str("\n# Keys that no version reads\n\n");
            for dead in self.dead {
                let _written = writeln!(text, "- `{}`: {}", dead.name, dead.advice);
            }
        }
        text
    }
}

fn capital(kind: Kind) -> String {
    let text = kind.to_string();
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

/// Characters that are shown of a key that is not known.
const SHOWN_MAX: usize = 200;

/// Number of characters to insert, drop or replace to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&other) {
            let above = *cell;
            left = (diagonal + usize::from(a != *b)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// The value of every key of a table, each checked.
#[derive(Clone, Debug)]
pub struct Settings {
    table: ConfigTable,
    /// Beside the keys of the table.
    values: Vec<(String, Origin)>,
}

impl Settings {
    /// Takes in the text of a configuration file. All that is wrong is returned at once, so that it is mended at once; the
    /// notices say which keys have no effect, and what else is odd.
    ///
    /// # Errors
    /// Unknown and dead keys, values that do not parse.
    pub fn read_file(&mut self, file: &str, text: &str) -> Result<Vec<String>, Vec<ConfigError>> {
        let parsed = properties_file::parse(text).map_err(|error| {
            vec![ConfigError::Syntax {
                file: file.to_owned(),
                error,
            }]
        })?;
        let mut notices: Vec<String> = parsed
            .warnings
            .iter()
            .map(|(line, warning)| format!("{file} line {line}: {warning}"))
            .collect();
        let mut errors = Vec::new();
        let mut lines: Vec<(&str, u32)> = Vec::new();
        for entry in &parsed.entries {
            if let Some((_key, first)) = lines.iter().find(|(key, _line)| *key == entry.key) {
                notices.push(format!(
                    "{file} line {}: {} is also in line {first}; this one holds",
                    entry.line, entry.key
                ));
            }
            lines.push((&entry.key, entry.line));
            let origin = Origin::File {
                file: file.to_owned(),
                line: entry.line,
            };
            match self.set(&entry.key, &entry.value, origin) {
                Ok(notice) => notices.extend(notice),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(notices) } else { Err(errors) }
    }

    /// Sets one key. Returns what holds instead, if the key has no effect.
    ///
    /// # Errors
    /// An unknown or dead key, or a value that does not parse.
    pub fn set(&mut self, key: &str, value: &str, origin: Origin) -> Result<Option<String>, ConfigError> {
        let (known, canonical) = self.check(key, value, &origin)?;
        let notice = match known.status {
            Status::Accepted(instead) => Some(format!("{key} in {origin} has no effect: {instead}")),
            Status::Used | Status::RefusedUnlessDefault(_) => None,
        };
        *self.slot(known.name) = (canonical, origin);
        Ok(notice)
    }

    fn check(&self, key: &str, value: &str, origin: &Origin) -> Result<(&'static Key, String), ConfigError> {
        let Some(known) = self.table.find(key) else {
            return Err(match self.table.dead.iter().find(|dead| dead.name == key) {
                Some(dead) => ConfigError::DeadKey {
                    key: dead.name,
                    origin: origin.clone(),
                    advice: dead.advice,
                },
                None => ConfigError::UnknownKey {
                    key: key.chars().take(SHOWN_MAX).collect(),
                    value: value.trim().chars().take(SHOWN_MAX).collect(),
                    origin: origin.clone(),
                    program: self.table.program,
                    nearest: self.table.nearest(key),
                },
            });
        };
        let value = value.trim();
        if let Status::RefusedUnlessDefault(missing) = known.status {
            let canonical = known.check(value).unwrap_or_default();
            if canonical != known.default {
                let (value, default) = (value.to_owned(), known.default);
                return Err(ConfigError::NotBuilt {
                    key: known.name,
                    value,
                    origin: origin.clone(),
                    missing,
                    default,
                });
            }
        }
        if value.is_empty() && known.default.is_empty() {
            return Ok((known, String::new()));
        }
        known
            .check(value)
            .map(|canonical| (known, canonical))
            .map_err(|problem| ConfigError::BadValue {
                key: known.name,
                value: value.to_owned(),
                origin: origin.clone(),
                problem: match known.default {
                    "" => format!("{problem}; fix: correct it"),
                    default => format!("{problem}; fix: correct it (the default is {default})"),
                },
            })
    }

    /// Checks a change asked for while the program runs, and gives its keys with their canonical values; nothing is changed
    /// yet. A key that already has the value it is asked for passes, so that a whole configuration can be sent back edited.
    ///
    /// # Errors
    /// The first key that is unknown or may not change, or whose value does not parse.
    pub fn check_update(&self, text: &str) -> Result<Vec<(&'static Key, String)>, ConfigError> {
        let parsed = properties_file::parse(text).map_err(|error| ConfigError::Syntax {
            file: Origin::Update.to_string(),
            error,
        })?;
        let mut changes = Vec::new();
        for entry in &parsed.entries {
            let (known, canonical) = self.check(&entry.key, &entry.value, &Origin::Update)?;
            if self.text(known.name) == canonical {
                continue;
            }
            if !known.updatable {
                return Err(ConfigError::NotUpdatable {
                    key: entry.key.clone(),
                    program: self.table.program,
                });
            }
            changes.push((known, canonical));
        }
        Ok(changes)
    }

    /// Where a value comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        &self.get(key).1
    }

    /// A value as text; empty when it is not set.
    ///
    /// # Panics
    /// All getters do if the table does not have the key, or has it with another kind: a mistake in the program.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        &self.get(key).0
    }

    /// A value of kind [`Kind::Bool`].
    #[must_use]
    pub fn bool(&self, key: &str) -> bool {
        self.text(key) == "true"
    }

    /// A value of kind [`Kind::Int`].
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "set() has checked the value, and defaults are checked by a test of each table"
    )]
    pub fn int(&self, key: &str) -> i64 {
        self.text(key)
            .parse()
            .expect("a value of kind Int was checked when it was set")
    }

    /// A value of kind [`Kind::Int`] that a smaller type holds; its bounds in the table must fit that type.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "the bounds in the table are the type's, and a test of each table reads every key"
    )]
    pub fn number<T: TryFrom<i64>>(&self, key: &str) -> T {
        T::try_from(self.int(key))
            .ok()
            .expect("the bounds of the key fit the type it is read as")
    }

    /// A value of kind [`Kind::Float`].
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "set() has checked the value, and defaults are checked by a test of each table"
    )]
    pub fn float(&self, key: &str) -> f64 {
        self.text(key)
            .parse()
            .expect("a value of kind Float was checked when it was set")
    }

    /// A value of kind [`Kind::Path`], with `~` or `$NAME` at its start replaced by what `variable` gives for `HOME` or `NAME`.
    /// `None` when it is not set.
    #[must_use]
    pub fn path(&self, key: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
        let text = self.text(key);
        if text.is_empty() {
            return None;
        }
        let (name, rest) = if let Some(rest) = text.strip_prefix('~') {
            ("HOME", rest)
        } else if let Some(rest) = text.strip_prefix('$') {
            rest.split_at(rest.find('/').unwrap_or(rest.len()))
        } else {
            return Some(text.to_owned());
        };
        variable(name).map(|start| format!("{start}{rest}"))
    }

    /// Every key with its value, in the order of the table; secrets as stars.
    pub fn all(&self) -> impl Iterator<Item = (&'static Key, &str)> {
        let shown = |key: &Key, value| if key.secret { "******" } else { value };
        self.table
            .keys
            .iter()
            .zip(&self.values)
            .map(move |(key, (value, _origin))| (key, shown(key, value.as_str())))
    }

    /// What `-p` prints, and what a request for the configuration is answered with: every key, as a properties file.
    #[must_use]
    pub fn to_text(&self) -> String {
        properties_file::to_text(self.all().map(|(key, value)| (key.name, value)))
    }

    /// What `-m` prints: the important keys.
    #[must_use]
    pub fn important_text(&self) -> String {
        properties_file::to_text(
            self.all()
                .filter(|(key, _value)| key.important)
                .map(|(key, value)| (key.name, value)),
        )
    }

    fn place(&self, key: &str) -> usize {
        let place = self.table.keys.iter().position(|known| known.name == key);
        assert!(place.is_some(), "{key} is not in the table of {}", self.table.program);
        place.unwrap_or_default()
    }

    fn get(&self, key: &str) -> &(String, Origin) {
        &self.values[self.place(key)]
    }

    fn slot(&mut self, key: &str) -> &mut (String, Origin) {
        let place = self.place(key);
        &mut self.values[place]
    }
}

impl ConfigTable {
    /// Mistakes in the table itself: for a test of each program.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (place, key) in self.keys.iter().enumerate() {
            let name = key.name;
            if !key.default.is_empty() && key.check(key.default).as_deref() != Ok(key.default) {
                mistakes.push(format!("{name}: its default {:?} is not {}", key.default, key.kind));
            }
            if key.status == Status::Used && key.help.is_empty() {
                mistakes.push(format!("{name}: no help"));
            }
            if self.keys.iter().skip(place + 1).any(|other| other.name == name) {
                mistakes.push(format!("{name}: twice in the table"));
            }
            if self.dead.iter().any(|dead| dead.name == name) {
                mistakes.push(format!("{name}: dead and alive"));
            }
        }
        mistakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: ConfigTable = ConfigTable {
        program: "mqtest",
        keys: &[
            Key::used("listenPort", Kind::PORT, "10911", "Port.").important(),
            Key::used("brokerName", Kind::Text, "", "Name.").updatable(),
            Key::used("fsync", Kind::Bool, "true", "Whether.").updatable(),
            Key::used("ratio", Kind::Float { min: 0.0, max: 1.0 }, "0.5", "Share."),
            Key::used(
                "role",
                Kind::Choice(&["ASYNC_MASTER", "SLAVE"]),
                "ASYNC_MASTER",
                "Role.",
            ),
            Key::used("namesrvAddr", Kind::Addresses, "", "Where."),
            Key::used("home", Kind::Path, "$TEST_HOME/x", "Folder."),
            Key::used("password", Kind::Text, "", "Secret.").secret(),
            Key::accepted("threads", Kind::COUNT, "8", "one thread a core"),
            Key::refused("aclEnable", Kind::Bool, "false", "access control is not built"),
        ],
        dead: &[DeadKey {
            name: "storePathIndex",
            advice: "set storePathRootDir",
        }],
    };

    fn errors(text: &str) -> Vec<String> {
        let found = TABLE.defaults().read_file("b.conf", text).unwrap_err();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_key_of_any_length_is_refused_at_once_and_shown_in_short() {
        let error = TABLE
            .defaults()
            .check_update(&"x".repeat(16 << 20))
            .unwrap_err()
            .to_string();
        assert!(error.len() < 1_000, "{} bytes", error.len());
        assert_eq!(TABLE.nearest("brokername"), Some("brokerName"));
    }

    #[test]
    fn a_number_that_does_not_parse_is_named_with_file_and_line() {
        assert_eq!(
            errors("# x\n\nlistenPort = 10921x"),
            ["listenPort=10921x in b.conf line 3 is not a number; fix: correct it (the default is 10911)"]
        );
        assert_eq!(
            errors("listenPort=70000"),
            [
                "listenPort=70000 in b.conf line 1 is not a whole number from 0 to 65535; fix: correct it (the default is 10911)"
            ]
        );
        assert_eq!(
            errors("fsync=yes"),
            ["fsync=yes in b.conf line 1 is not true or false; fix: correct it (the default is true)"]
        );
        assert_eq!(
            errors("role=MASTER"),
            [
                "role=MASTER in b.conf line 1 is not one of ASYNC_MASTER, SLAVE; fix: correct it (the default is ASYNC_MASTER)"
            ]
        );
        assert!(errors("namesrvAddr=a:1;b")[0].contains("\"b\", which is not host:port"));
        for bad in [
            "ratio=1.5",
            "ratio=NaN",
            "ratio=",
            "listenPort=",
            "listenPort=9999999999999999999",
            "fsync=",
        ] {
            assert_eq!(errors(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        assert_eq!(
            errors("listenport=1"),
            [
                "listenport=1 in b.conf line 1 is not a key of mqtest; fix: did you mean listenPort? Otherwise remove the line"
            ]
        );
        assert_eq!(
            errors("brokerNam=1"),
            [
                "brokerNam=1 in b.conf line 1 is not a key of mqtest; fix: did you mean brokerName? Otherwise remove the line"
            ]
        );
        assert_eq!(
            errors("somethingElse=1"),
            ["somethingElse=1 in b.conf line 1 is not a key of mqtest; fix: remove the line"]
        );
        assert!(errors("storePathIndex=/x")[0].ends_with("set storePathRootDir"));
    }

    #[test]
    fn all_mistakes_of_a_file_come_at_once() {
        assert_eq!(errors("a=1\nlistenPort=x\nfsync=1\nbrokerName=ok").len(), 3);
    }

    #[test]
    fn a_value_may_have_blanks_around_it() {
        let mut settings = TABLE.defaults();
        settings
            .read_file("b.conf", "listenPort = 10921  \t\nfsync=FALSE \nthreads= 3\n")
            .unwrap();
        assert_eq!(settings.number::<u16>("listenPort"), 10921);
        assert!(!settings.bool("fsync"));
        assert_eq!(
            settings.origin("listenPort"),
            &Origin::File {
                file: "b.conf".into(),
                line: 1
            }
        );
        assert_eq!(settings.origin("ratio"), &Origin::Default);
    }

    #[test]
    fn keys_without_effect_and_repeated_keys_are_told() {
        let notices = TABLE
            .defaults()
            .read_file("b.conf", "threads=4\nfsync=true\nfsync=false")
            .unwrap();
        assert_eq!(
            notices,
            [
                "threads in b.conf line 1 has no effect: one thread a core",
                "b.conf line 3: fsync is also in line 2; this one holds"
            ]
        );
    }

    #[test]
    fn what_is_not_built_is_refused_and_its_default_is_not() {
        assert_eq!(
            errors("aclEnable=true"),
            [
                "aclEnable=true in b.conf line 1 cannot be honoured: access control is not built; remove the line or set aclEnable=false"
            ]
        );
        TABLE.defaults().read_file("b.conf", "aclEnable=false").unwrap();
    }

    #[test]
    fn an_update_changes_only_what_may_change() {
        let settings = TABLE.defaults();
        let changes = settings
            .check_update("fsync=false\nbrokerName=b\nlistenPort=10911")
            .unwrap();
        let changes: Vec<_> = changes.iter().map(|(key, value)| (key.name, value.as_str())).collect();
        assert_eq!(changes, [("fsync", "false"), ("brokerName", "b")]);
        assert!(matches!(
            settings.check_update("listenPort=1"),
            Err(ConfigError::NotUpdatable { .. })
        ));
        assert!(matches!(
            settings.check_update("nobody=1"),
            Err(ConfigError::UnknownKey { .. })
        ));
        assert!(matches!(
            settings.check_update("fsync=maybe"),
            Err(ConfigError::BadValue { .. })
        ));
    }

    #[test]
    fn paths_start_with_variables() {
        let mut settings = TABLE.defaults();
        let variable = |name: &str| matches!(name, "HOME" | "TEST_HOME").then(|| format!("/of/{name}"));
        assert_eq!(settings.path("home", variable).as_deref(), Some("/of/TEST_HOME/x"));
        for (text, path) in [
            ("~/s", Some("/of/HOME/s")),
            ("/a/~", Some("/a/~")),
            ("$NONE/x", None),
            ("rel", Some("rel")),
        ] {
            settings.set("home", text, Origin::Argument("-x")).unwrap();
            assert_eq!(settings.path("home", variable).as_deref(), path, "{text}");
        }
    }

    #[test]
    fn listings_show_every_key_and_no_secret() {
        let mut settings = TABLE.defaults();
        settings.set("password", "hush", Origin::Environment("P")).unwrap();
        let text = settings.to_text();
        assert_eq!(text.lines().count(), TABLE.keys.len());
        assert!(!text.contains("hush"));
        assert_eq!(settings.important_text(), "listenPort=10911\n");
        let reference = TABLE.reference();
        assert!(
            TABLE
                .keys
                .iter()
                .all(|key| reference.contains(&format!("## {}\n", key.name)))
        );
        assert!(reference.contains("storePathIndex"));
    }

    #[test]
    fn mistakes_in_a_table_are_found() {
        assert_eq!(TABLE.mistakes(), Vec::<String>::new());
        const BAD: ConfigTable = ConfigTable {
            program: "bad",
            keys: &[
                Key::used("a", Kind::Bool, "yes", "x"),
                Key::used("b", Kind::Text, "", ""),
                Key::used("b", Kind::Text, "", "x"),
            ],
            dead: &[DeadKey { name: "a", advice: "" }],
        };
        assert_eq!(BAD.mistakes().len(), 4);
    }
}
