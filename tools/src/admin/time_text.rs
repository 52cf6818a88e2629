//! Times as people read them: local ones, as Apache's mqadmin prints them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `yyyy-MM-dd HH:mm:ss`; the number itself where no calendar has it.
pub(super) fn local(millis: i64) -> String {
    format(millis, "%Y-%m-%d %H:%M:%S", &TimeZone::system())
}

/// `yyyy-MM-dd HH:mm:ss,SSS`.
pub(super) fn local_with_millis(millis: i64) -> String {
    format(millis, "%Y-%m-%d %H:%M:%S,%3f", &TimeZone::system())
}

/// A time in the ways that Apache's commands take it: `now`, milliseconds since 1970, `yyyy-MM-dd#HH:mm:ss:SSS`, and ISO 8601 too.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    parse_in(text.trim(), &TimeZone::system())
}

fn parse_in(text: &str, zone: &TimeZone) -> Result<i64, String> {
    if text.eq_ignore_ascii_case("now") {
        return Ok(runtime::wall_clock_ms());
    }
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    // Milliseconds stand behind a colon there.
    let (until_seconds, millis) = match text.split_once('#').map(|(_day, time)| time.matches(':').count()) {
        Some(3) => text.rsplit_once(':').unwrap_or((text, "0")),
        _ => (text, "0"),
    };
    let wrong = || "write now, milliseconds since 1970, or a local time as 2026-01-31#08:00:00:000".to_owned();
    let local = ["%Y-%m-%d#%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"]
        .iter()
        .find_map(|form| DateTime::strptime(form, until_seconds).ok())
        .ok_or_else(wrong)?;
    let time = local.to_zoned_datetime(zone.clone()).map_err(|_error| wrong())?;
    let millis: i64 = millis.parse().map_err(|_error| wrong())?;
    Ok(time.timestamp().as_millisecond().saturating_add(millis))
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
    fn times_are_understood_in_all_their_spellings() {
        let parse = |text| parse_in(text, &TimeZone::UTC);
        for text in ["1700000000007", "2023-11-14#22:13:20:007", "2023-11-14T22:13:20.007Z"] {
            assert_eq!(parse(text), Ok(1_700_000_000_007), "{text}");
        }
        assert_eq!(parse("2023-11-14 22:13:20"), Ok(1_700_000_000_000));
        assert!(parse("yesterday").unwrap_err().contains("2026-01-31#08:00:00:000"));
    }

    #[test]
    fn milliseconds_are_kept_and_impossible_times_stay_numbers() {
        let text = |millis| format(millis, "%Y-%m-%d %H:%M:%S,%3f", &TimeZone::UTC);
        assert_eq!(text(1_700_000_000_007), "2023-11-14 22:13:20,007");
        assert_eq!(text(i64::MAX), i64::MAX.to_string());
    }
}
