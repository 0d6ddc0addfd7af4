//! The syntax of settings in URLs and environment variables: durations and switches.

use std::time::Duration;

/// Parses a duration above zero: `500ms`, `5s`, `2m`, `1h`, `14d`, `2w`; a bare number counts
/// seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    const SECOND: u64 = 1_000;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse::<u32>().ok()?.into();
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" | "" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        "d" => 86_400 * SECOND,
        "w" => 604_800 * SECOND,
        _ => return None,
    };
    Some(Duration::from_millis(number * unit)).filter(|duration| !duration.is_zero())
}

/// Parses `true` or `false`, also `1`, `0`, `yes`, `no`, `on`, `off`.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match &*text.to_ascii_lowercase() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_are_above_zero() {
        for (text, seconds) in [
            ("5", 5),
            ("5s", 5),
            ("30m", 1_800),
            ("12h", 43_200),
            ("14d", 1_209_600),
            ("2w", 1_209_600),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert!(duration("4294967295w").is_some());
        for bad in
            ["", "0", "0d", "m", "1.5h", "-5s", "5 m", "5M", "1y", "1h30m", "99999999999", "5é"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn switches_are_written_in_words_or_digits() {
        for (text, yes) in
            [("true", true), ("YES", true), ("1", true), ("Off", false), ("0", false)]
        {
            assert_eq!(switch(text), Some(yes), "{text}");
        }
        assert!(["", "maybe", "2", "t"].iter().all(|text| switch(text).is_none()));
    }
}
