//! The findings of an examination of an engine, for operators.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::{Capabilities, Durability};

/// Clocks that differ by more than this are a danger. Sweeps allow for a minute.
const SKEW: Duration = Duration::from_secs(30);

/// A fact about an engine's configuration or state: a danger to sessions, or a note.
///
/// A [`Driver`](crate::Driver) finds them with
/// [`with_examination`](crate::Driver::with_examination), and `mocha-session doctor` prints them.
/// The text is a sentence that says what is so, what follows, and what to do. It contains no
/// password, no key and no session.
///
/// ```
/// use mocha_session_core::store::Finding;
///
/// let finding = Finding::danger("fsync is off: a power cut damages the table; turn it on");
/// assert!(finding.is_danger());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    danger: bool,
    text: String,
}

impl Finding {
    /// Creates a finding about something that loses sessions, brings ended ones back, or stops the
    /// application.
    pub fn danger(text: impl Into<String>) -> Self {
        Self { danger: true, text: text.into() }
    }

    /// Creates a finding that is only worth knowing.
    pub fn note(text: impl Into<String>) -> Self {
        Self { danger: false, text: text.into() }
    }

    /// Returns whether it is a danger.
    pub fn is_danger(&self) -> bool {
        self.danger
    }

    /// Names the server that it is about, where an engine has several.
    #[must_use]
    pub fn about(self, server: &str) -> Self {
        Self { text: format!("{server}: {}", self.text), ..self }
    }

    /// Returns what follows from an engine's capabilities: the findings where no driver knows more.
    pub fn of_capabilities(can: &Capabilities) -> Vec<Self> {
        let mut found = Vec::new();
        if can.evicts() {
            found.push(Self::danger(
                "the engine may drop live sessions to make room: users are logged out, and a \
                 revocation may be forgotten",
            ));
        }
        match can.durability() {
            Durability::Process => found.push(Self::danger(
                "sessions end with this process; this is for tests and single processes",
            )),
            Durability::Server => found.push(Self::danger(
                "a restart of the engine ends every session, so that all users are logged out",
            )),
            Durability::Delayed => found.push(Self::danger(
                "a crash of the engine loses the last writes, so that a logout may come back",
            )),
            Durability::Disk | Durability::Replicated => {}
        }
        found
    }

    /// Compares the server's clock, which it told between `begun` and `ended`, with this machine's.
    pub fn of_clock(begun: SystemTime, server: SystemTime, ended: SystemTime) -> Self {
        let middle = begun + ended.duration_since(begun).unwrap_or_default() / 2;
        let (skew, side) = match server.duration_since(middle) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        let text =
            format!("the server's clock is {:.1} s {side} this machine's", skew.as_secs_f64());
        if skew > SKEW {
            Self::danger(format!(
                "{text}: sessions may be swept too early or expire late; synchronise both with NTP"
            ))
        } else {
            Self::note(text)
        }
    }

    /// Compares the clock of a server that answers with a date of whole seconds, as HTTP does, with
    /// this machine's. The request was sent at `asked`.
    pub fn of_date(asked: SystemTime, date: Option<SystemTime>) -> Self {
        match date {
            Some(second) => {
                Self::of_clock(asked, second + Duration::from_millis(500), SystemTime::now())
            }
            None => Self::note("no answer with a date came, so the server's clock is unknown"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_by_a_minute_is_a_danger_and_by_a_second_is_not() {
        let now = SystemTime::now();
        let minute = Duration::from_secs(60);
        let ahead = Finding::of_clock(now, now + minute, now);
        assert!(ahead.is_danger() && ahead.to_string().contains("60.0 s ahead of this machine's"));
        let behind = Finding::of_clock(now, now - minute, now);
        assert!(behind.is_danger() && behind.to_string().contains("60.0 s behind"));
        let slow =
            Finding::of_clock(now, now + Duration::from_secs(5), now + Duration::from_secs(8));
        assert!(!slow.is_danger() && slow.to_string().contains("1.0 s ahead"), "{slow}");
    }
}
