//! Which messages are wanted.

use engine::inspect::keys;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use protocol::message::id::OffsetMessageId;
use protocol::message::properties::names;
use protocol::message::record::RecordView;
use std::ops::Range;

/// What is asked of a message. What is not asked for is `None`.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Its topic.
    pub topic: Option<String>,
    /// Its queue.
    pub queue_id: Option<u32>,
    /// One of its keys, or its unique id.
    pub key: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Its unique id or its offset message id.
    pub id: Option<String>,
    /// A key or an id of either kind.
    pub key_or_id: Option<String>,
    /// Times of storing, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Without this one.
    pub until: Option<i64>,
    /// Queue offsets.
    pub queue_offsets: Option<Range<u64>>,
    /// Positions in its log.
    pub positions: Option<Range<u64>>,
}

impl Filter {
    /// Whether anything is asked that only a message has.
    #[must_use]
    pub fn is_of_messages(&self) -> bool {
        let texts = [&self.topic, &self.key, &self.tag, &self.id, &self.key_or_id];
        texts.into_iter().any(Option::is_some) || self.queue_id.is_some() || self.queue_offsets.is_some()
    }

    /// Whether something that lies there and then may be wanted.
    #[must_use]
    pub fn wants_place(&self, position: u64, time: i64) -> bool {
        self.positions.as_ref().is_none_or(|range| range.contains(&position)) && self.wants_time(time)
    }

    fn wants_time(&self, time: i64) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether a message at `position` is wanted.
    #[must_use]
    pub fn wants(&self, record: &RecordView<'_>, position: u64) -> bool {
        let is_text = |wanted: &Option<String>, found: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| found.unwrap_or_default() == wanted)
        };
        let offset = u64::try_from(record.queue_offset.0).unwrap_or(u64::MAX);
        is_text(&self.topic, Some(record.topic))
            && self.queue_id.is_none_or(|queue_id| queue_id == record.queue_id.get())
            && self.queue_offsets.as_ref().is_none_or(|range| range.contains(&offset))
            && self.wants_place(position, record.store_timestamp)
            && (self.tag.is_none() || is_text(&self.tag, record.property(names::TAGS)))
            && self
                .key
                .as_deref()
                .is_none_or(|key| keys(record).any(|found| found == key))
            && self.id.as_deref().is_none_or(|id| has_id(record, id))
            && self
                .key_or_id
                .as_deref()
                .is_none_or(|text| keys(record).any(|found| found == text) || has_id(record, text))
    }
}

/// Whether an id is a message's: the unique one that its client gave it, or the one that says where it is stored.
#[must_use]
pub fn has_id(record: &RecordView<'_>, id: &str) -> bool {
    let of_offset = || OffsetMessageId::decode(id).is_ok_and(|id| id.physical_offset == record.physical_offset);
    record
        .property(names::UNIQ_KEY)
        .is_some_and(|unique| unique.eq_ignore_ascii_case(id))
        || of_offset()
}

/// A range as people write it: `100..200` without its end, `100..`, `..200`, or one number.
///
/// # Errors
/// For people: it is none of those.
pub fn range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text} is no range; write 100..200 (200 is not in it), 100.., ..200 or 100");
    let number = |text: &str, or: u64| match text.trim() {
        "" => Ok(or),
        digits => digits.parse().map_err(|_| wrong()),
    };
    let Some((from, to)) = text.split_once("..") else {
        let one: u64 = text.trim().parse().map_err(|_| wrong())?;
        return Ok(one..one.saturating_add(1));
    };
    let range = number(from, 0)?..number(to, u64::MAX)?;
    if range.is_empty() { Err(wrong()) } else { Ok(range) }
}

/// A time as people write it, in milliseconds since 1970: that number, a time with a zone, a local one, or how long ago (`10m`).
///
/// # Errors
/// For people: it is none of those.
pub fn time(text: &str) -> Result<i64, String> {
    time_at(text, Timestamp::now(), &TimeZone::system())
}

fn time_at(text: &str, now: Timestamp, zone: &TimeZone) -> Result<i64, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let local = text
        .parse::<DateTime>()
        .or_else(|_| text.parse().map(|date: jiff::civil::Date| date.at(0, 0, 0, 0)));
    if let Ok(time) = local.and_then(|local| zone.to_timestamp(local)) {
        return Ok(time.as_millisecond());
    }
    if let Ok(ago) = text.parse::<SignedDuration>()
        && let Ok(time) = now.checked_sub(ago)
    {
        return Ok(time.as_millisecond());
    }
    Err(format!(
        "{text} is no time; write 2026-11-27, 2026-11-27T08:30:00 (local), 2026-11-27T08:30:00Z, milliseconds since 1970, or 10m for ten minutes ago"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_times_are_taken_as_people_write_them() {
        assert_eq!(range("5..9"), Ok(5..9));
        assert_eq!(range("5.."), Ok(5..u64::MAX));
        assert_eq!(range("..9"), Ok(0..9));
        assert_eq!(range("7"), Ok(7..8));
        for wrong in ["9..5", "x", "", "1..x", "3..3"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
        let now = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let parsed = |text: &str| time_at(text, now, &TimeZone::UTC);
        assert_eq!(parsed("1700000000000"), Ok(1_700_000_000_000));
        assert_eq!(parsed("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000));
        assert_eq!(parsed("2023-11-14T22:13:20"), Ok(1_700_000_000_000));
        assert_eq!(parsed("2023-11-14"), Ok(1_699_920_000_000));
        assert_eq!(parsed("10m"), Ok(1_700_000_000_000 - 600_000));
        assert!(parsed("yesterday").is_err());
    }
}
