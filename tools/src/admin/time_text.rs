//! Times as people read them: local ones, as Apache's mqadmin prints them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `yyyy-MM-dd HH:mm:ss`; the number itself where no calendar has it.
pub(super) fn local(millis: i64) -> String {
    format(millis, "%Y-%m-%d %H:%M:%S", &TimeZone::system())
}

/// `yyyy-MM-dd HH:mm:ss,SSS`.
pub(super) fn local_with_millis(millis: i64) -> String {
    format(millis, "%Y-%m-%d %H:%M:%S,%3f", &TimeZone::system())
}

fn format(millis: i64, form: &str, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => time.to_zoned_datetime(zone.clone()).strftime(form).to_string(),
        Err(_) => millis.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_kept_and_impossible_times_stay_numbers() {
        let text = |millis| format(millis, "%Y-%m-%d %H:%M:%S,%3f", &TimeZone::UTC);
        assert_eq!(text(1_700_000_000_007), "2023-11-14 22:13:20,007");
        assert_eq!(text(i64::MAX), i64::MAX.to_string());
    }
}
