//! Durations as the resources write them.

/// Seconds of a duration in the form `1m30s`, as the CRD's pattern admits.
pub fn seconds(text: &str) -> Option<u32> {
    let (minutes, rest) = match text.split_once('m') {
        Some((minutes, rest)) => (minutes.parse::<u32>().ok()?, rest),
        None => (0, text),
    };
    let seconds = if rest.is_empty() { 0 } else { rest.strip_suffix('s')?.parse::<u32>().ok()? };
    minutes.checked_mul(60)?.checked_add(seconds)
}

/// Milliseconds of a duration in the form `500ms` or `2s`, as the CRD's pattern admits.
pub fn milliseconds(text: &str) -> Option<u32> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => text.strip_suffix('s')?.parse::<u32>().ok()?.checked_mul(1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_minutes_and_seconds() {
        for (text, expected) in
            [("60s", Some(60)), ("1m30s", Some(90)), ("10m", Some(600)), ("x", None), ("99999999999s", None)]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_in_seconds_or_milliseconds() {
        for (text, expected) in
            [("250ms", Some(250)), ("2s", Some(2000)), ("5000000s", None), ("1m", None), ("ms", None), ("", None)]
        {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
