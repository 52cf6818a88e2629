//! What a consumer group wants of a topic, and the tag filter that follows from it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::java_hash;

/// Expression that takes every message.
pub const ALL: &str = "*";
/// Type of tag expressions; an empty type means the same.
pub const TAG: &str = "TAG";
/// Type of SQL expressions.
pub const SQL92: &str = "SQL92";

/// A subscription that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the tag expression {expression:?} names no tag; write TagA || TagB, or * for all")]
pub struct SubscriptionError {
    /// The expression.
    pub expression: String,
}

/// A topic and which of its messages (RocketMQ's `SubscriptionData`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionData {
    /// Whether the broker shall not filter at all.
    pub class_filter_mode: bool,
    /// Java hashes of the tags.
    pub code_set: BTreeSet<i32>,
    /// [`TAG`] or [`SQL92`].
    pub expression_type: String,
    /// The expression.
    pub sub_string: String,
    /// When the client subscribed, milliseconds since 1970.
    pub sub_version: i64,
    /// The tags.
    pub tags_set: BTreeSet<String>,
    /// The topic.
    pub topic: String,
}

impl Default for SubscriptionData {
    fn default() -> Self {
        Self {
            class_filter_mode: false,
            code_set: BTreeSet::new(),
            expression_type: TAG.to_owned(),
            sub_string: String::new(),
            sub_version: 0,
            tags_set: BTreeSet::new(),
            topic: String::new(),
        }
    }
}

/// Whether an expression type means tags: so it does if it is empty.
#[must_use]
pub fn is_tag_type(expression_type: &str) -> bool {
    expression_type.is_empty() || expression_type == TAG
}

/// Tags of an expression: parted by `||`, blanks around them dropped.
///
/// # Errors
/// An expression of nothing but `||`, as Java's `FilterAPI` has it.
fn tags(expression: &str) -> Result<impl Iterator<Item = &str>, SubscriptionError> {
    if expression.split("||").all(str::is_empty) {
        return Err(SubscriptionError {
            expression: expression.to_owned(),
        });
    }
    Ok(expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()))
}

impl SubscriptionData {
    /// From a tag expression, as Java's `FilterAPI.buildSubscriptionData` does.
    ///
    /// # Errors
    /// An expression that names no tag.
    pub fn of_tags(topic: &str, expression: &str) -> Result<Self, SubscriptionError> {
        let mut data = Self {
            topic: topic.to_owned(),
            ..Self::default()
        };
        if expression.is_empty() || expression == ALL {
            data.sub_string = ALL.to_owned();
            return Ok(data);
        }
        expression.clone_into(&mut data.sub_string);
        data.tags_set = tags(expression)?.map(str::to_owned).collect();
        data.code_set = data.tags_set.iter().map(|tag| java_hash(tag)).collect();
        Ok(data)
    }

    /// The filter of this subscription by tag hashes; SQL expressions pass all here. The expression counts beside the hashes: there
    /// are clients that hash tags with the blanks around them, or `*` with a blank.
    #[must_use]
    pub fn tag_filter(&self) -> TagFilter {
        let expression = self.sub_string.trim();
        if self.class_filter_mode || expression == ALL || !is_tag_type(&self.expression_type) {
            return TagFilter::All;
        }
        let mut hashes = self.code_set.clone();
        if let Ok(tags) = tags(expression) {
            hashes.extend(tags.map(java_hash));
        }
        TagFilter::Hashes(hashes.into_iter().collect())
    }
}

/// Which messages of a queue a pull gets, told by the tag hash of their consume queue entry. Two tags may share a hash, so clients
/// look at the tags again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagFilter {
    /// Every message.
    All,
    /// Those with one of these hashes, in ascending order.
    Hashes(Vec<i32>),
}

impl TagFilter {
    /// From a pull's own tag expression.
    ///
    /// # Errors
    /// An expression that names no tag.
    pub fn of_expression(expression: &str) -> Result<Self, SubscriptionError> {
        // There are clients that send `*` with a blank; see [`SubscriptionData::tag_filter`].
        if expression.is_empty() || expression.trim() == ALL {
            return Ok(Self::All);
        }
        let mut hashes: Vec<i32> = tags(expression)?.map(java_hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Ok(Self::Hashes(hashes))
    }

    /// Whether a message with this tag hash passes. Only the low 32 bits count, as in Java.
    #[must_use]
    pub fn passes(&self, tag_hash: i64) -> bool {
        match self {
            Self::All => true,
            Self::Hashes(hashes) => {
                let [_, _, _, _, low @ ..] = tag_hash.to_be_bytes();
                hashes.binary_search(&i32::from_be_bytes(low)).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tag_hash;

    #[test]
    fn a_star_with_blanks_is_all_in_a_pull_as_in_a_heartbeat() {
        for expression in ["* ", "*\u{b}", " *"] {
            assert_eq!(
                TagFilter::of_expression(expression),
                Ok(TagFilter::All),
                "{expression:?}"
            );
            let data = SubscriptionData::of_tags("t", expression).unwrap();
            assert_eq!(data.tag_filter(), TagFilter::All, "{expression:?}");
        }
    }

    #[test]
    fn a_filter_passes_its_tags_and_no_others() {
        let filter = TagFilter::of_expression(" TagB||TagA || ||polygenelubricants").unwrap();
        for tag in ["TagA", "TagB", "polygenelubricants"] {
            assert!(filter.passes(tag_hash(Some(tag))), "{tag}");
        }
        assert!(!filter.passes(tag_hash(Some("TagC"))) && !filter.passes(tag_hash(None)));
        assert!(TagFilter::of_expression("*").unwrap().passes(0));
        assert!(TagFilter::of_expression("").unwrap().passes(1));
        assert_eq!(TagFilter::of_expression(" "), Ok(TagFilter::Hashes(vec![])));
    }

    #[test]
    fn an_expression_of_bars_alone_is_refused() {
        assert!(TagFilter::of_expression("||").is_err());
        let error = SubscriptionData::of_tags("T", "||||").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the tag expression \"||||\" names no tag; write TagA || TagB, or * for all"
        );
    }

    #[test]
    fn a_subscription_and_its_expression_filter_alike() {
        for expression in ["*", "a", "a||b"] {
            let data = SubscriptionData::of_tags("T", expression).unwrap();
            assert_eq!(data.tag_filter(), TagFilter::of_expression(expression).unwrap());
        }
        let sql = SubscriptionData {
            expression_type: SQL92.into(),
            sub_string: "a > 1".into(),
            ..Default::default()
        };
        assert_eq!(sql.tag_filter(), TagFilter::All);
    }
}
