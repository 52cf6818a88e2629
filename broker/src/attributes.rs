//! Attributes of topics and subscription groups: which there are, and how edits change them.
//!
//! An edit is `+key=value` (add or change) or `-key` (drop); a request joins them by commas. The rules are those of RocketMQ's
//! `AttributeParser` and `AttributeUtil`: a new topic may only add, an attribute that is fixed may only be given to a new
//! one, no key may come twice.

use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};

/// Attributes, or edits of attributes, whose keys begin with a sign.
pub type Attributes = BTreeMap<String, String>;

/// An attribute that there is.
#[derive(Debug)]
pub struct Attribute {
    /// Its key.
    pub key: &'static str,
    /// Whether it may change after its topic was made.
    pub changeable: bool,
    /// Values that it may have.
    pub values: &'static [&'static str],
    /// Values that RocketMQ knows and this broker does not serve yet, so that nobody relies on what does not happen.
    pub not_served: &'static [&'static str],
}

/// Attributes of topics.
pub const OF_TOPICS: &[Attribute] = &[
    Attribute {
        key: "message.type",
        changeable: true,
        values: &["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"],
        not_served: &["PRIORITY", "LITE"],
    },
    Attribute {
        key: "queue.type",
        changeable: false,
        values: &["SimpleCQ"],
        not_served: &["BatchCQ"],
    },
    Attribute {
        key: "cleanup.policy",
        changeable: false,
        values: &["DELETE"],
        not_served: &["COMPACTION"],
    },
];

/// Attributes of subscription groups.
pub const OF_GROUPS: &[Attribute] = &[];

/// Takes a request's text apart.
///
/// # Errors
/// A part that is no edit, or a key that comes twice.
pub fn parse_edits(text: &str) -> Result<Attributes, Error> {
    let mut edits = Attributes::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let sign = if part.contains('=') { '+' } else { '-' };
        if !key.starts_with(sign) {
            return Err(refused(part, "is no edit; write +key=value or -key"));
        }
        if edits.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(refused(key, "comes twice"));
        }
    }
    Ok(edits)
}

/// What the attributes are after the edits. `current` is `None` for a topic or group that is new.
///
/// # Errors
/// An edit that breaks a rule; then none of them counts.
pub fn edited(known: &[Attribute], current: Option<&Attributes>, edits: &Attributes) -> Result<Attributes, Error> {
    let mut after = current.cloned().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (edit, value) in edits {
        let (adds, key) = match (edit.strip_prefix('+'), edit.strip_prefix('-')) {
            (Some(key), _) => (true, key),
            (_, Some(key)) => (false, key),
            _ => return Err(refused(edit, "has no sign; write +key=value or -key")),
        };
        if !seen.insert(key) {
            return Err(refused(key, "comes twice"));
        }
        let attribute = known.iter().find(|attribute| attribute.key == key);
        let attribute = attribute.ok_or_else(|| {
            let keys: Vec<&str> = known.iter().map(|attribute| attribute.key).collect();
            refused(key, &format!("is not supported; there are [{}]", keys.join(", ")))
        })?;
        if current.is_some() && !attribute.changeable {
            return Err(refused(key, "is fixed when its topic is made"));
        }
        if adds {
            attribute.check(value)?;
            after.insert(key.to_owned(), value.clone());
        } else if after.remove(key).is_none() {
            return Err(refused(key, "is not there to be dropped"));
        }
    }
    Ok(after)
}

impl Attribute {
    fn check(&self, value: &str) -> Result<(), Error> {
        if self.values.contains(&value) {
            return Ok(());
        }
        let problem = if self.not_served.contains(&value) {
            "is not served by this version"
        } else {
            "is unknown"
        };
        Err(refused(
            self.key,
            &format!(
                "has the value {value:?}, which {problem}; it may be [{}]",
                self.values.join(", ")
            ),
        ))
    }
}

fn refused(what: &str, problem: &str) -> Error {
    Error::System(format!("attribute {what} {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(current: Option<&str>, edits: &str) -> Result<String, Error> {
        let list = |text: &str| {
            let pairs = text
                .split(',')
                .filter(|part| !part.is_empty())
                .map(|part| part.split_once('=').unwrap());
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect::<Attributes>()
        };
        let after = edited(OF_TOPICS, current.map(list).as_ref(), &parse_edits(edits)?)?;
        Ok(after
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","))
    }

    #[test]
    fn a_new_topic_gets_what_is_added() {
        assert_eq!(edit(None, "").unwrap(), "");
        assert_eq!(
            edit(None, "+message.type=FIFO,+queue.type=SimpleCQ").unwrap(),
            "message.type=FIFO,queue.type=SimpleCQ"
        );
        assert!(edit(None, "-message.type").is_err());
    }

    #[test]
    fn an_attribute_is_changed_and_dropped() {
        assert_eq!(
            edit(Some("message.type=FIFO"), "+message.type=DELAY").unwrap(),
            "message.type=DELAY"
        );
        assert_eq!(edit(Some("message.type=FIFO"), "-message.type").unwrap(), "");
        assert_eq!(edit(Some("message.type=FIFO"), "").unwrap(), "message.type=FIFO");
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_name() {
        for (current, edits, named) in [
            (Some(""), "-message.type", "message.type is not there"),
            (Some(""), "+cleanup.policy=DELETE", "cleanup.policy is fixed"),
            (None, "+message.type=Fifo", "\"Fifo\""),
            (None, "+cleanup.policy=COMPACTION", "not served"),
            (None, "+color=red", "color is not supported"),
            (None, "message.type=FIFO", "is no edit"),
            (None, "+message.type", "is no edit"),
            (None, "+message.type=FIFO,+message.type=DELAY", "comes twice"),
            (
                Some("message.type=FIFO"),
                "+message.type=FIFO,-message.type",
                "comes twice",
            ),
            (None, "+=x", " is not supported"),
            (None, "+,", "is no edit"),
        ] {
            let error = edit(current, edits).unwrap_err().to_string();
            assert!(error.contains(named), "{edits}: {error}");
        }
    }

    #[test]
    fn edits_in_a_body_need_a_sign() {
        let edits = Attributes::from([("message.type".to_owned(), "FIFO".to_owned())]);
        assert!(
            edited(OF_TOPICS, None, &edits)
                .unwrap_err()
                .to_string()
                .contains("no sign")
        );
    }
}
