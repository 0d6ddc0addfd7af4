//! The steps of a schedule, and how they are written: short enough to be read, exact enough to be
//! replayed.

use std::fmt;
use std::str::FromStr;

/// What the scheduler does with a call, a request or the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// The call is executed and its answer delivered.
    Go,
    /// The call is executed; its answer waits.
    Execute,
    /// The answer is delivered.
    Deliver,
    /// The engine refuses: nothing is done, and the caller knows it.
    Refuse,
    /// The engine has no room for the write: nothing is done, and the caller knows it.
    Full,
    /// The call is executed and its answer is lost.
    Lose,
    /// The call is lost, and so is its answer.
    Miss,
    /// A write is done and answered as if something else had been there: a client library repeated
    /// it.
    Deny,
    /// No answer comes until the deadline of the call fires. The call may be executed later.
    Expire,
    /// A call that nobody waits for any more is executed.
    Late,
    /// The process ends, with everything in it.
    Kill,
    /// The operation begins: its browser sends the request.
    Start,
    /// The handler of the operation goes on.
    Handle,
    /// The browser gets the response.
    Respond,
    /// The client goes away: the request's future is dropped.
    Leave,
    /// Time passes, in seconds.
    Jump,
}

/// One step of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// What is done.
    pub act: Act,
    /// The process, the operation, or the number of seconds.
    pub who: u32,
    /// Which of the process's calls, in the order in which they came.
    pub nth: u8,
}

/// How the acts on calls of a process are written: after the process's letter.
const OF_CALLS: &[(Act, &str)] = &[
    (Act::Go, ""),
    (Act::Execute, "."),
    (Act::Deliver, ","),
    (Act::Refuse, "!"),
    (Act::Full, "$"),
    (Act::Lose, "?"),
    (Act::Miss, "%"),
    (Act::Deny, "#"),
    (Act::Expire, "~"),
    (Act::Late, "^"),
    (Act::Kill, "*"),
];

/// How the acts on operations are written: before the operation's number.
const OF_OPS: &[(Act, char)] = &[
    (Act::Start, '+'),
    (Act::Handle, '='),
    (Act::Respond, '-'),
    (Act::Leave, 'x'),
    (Act::Jump, 't'),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((_, sign)) = OF_OPS.iter().find(|(act, _)| *act == self.act) {
            return write!(f, "{sign}{}", self.who);
        }
        let letter = u8::try_from(self.who).unwrap_or_default();
        write!(f, "{}", char::from(b'a' + letter))?;
        if self.nth > 0 {
            write!(f, "{}", self.nth + 1)?;
        }
        let sign = OF_CALLS.iter().find(|(act, _)| *act == self.act);
        f.write_str(sign.map_or("", |(_, sign)| sign))
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no step: {text}");
        let first = text.chars().next().ok_or_else(wrong)?;
        let rest = &text[first.len_utf8()..];
        if let Some((act, _)) = OF_OPS.iter().find(|(_, sign)| *sign == first)
            && !rest.is_empty()
        {
            return Ok(Self { act: *act, who: rest.parse().map_err(|_| wrong())?, nth: 0 });
        }
        let digits = rest.chars().take_while(char::is_ascii_digit).count();
        let nth: u8 = if digits == 0 { 1 } else { rest[..digits].parse().map_err(|_| wrong())? };
        let sign = &rest[digits..];
        let act = OF_CALLS.iter().find(|(_, known)| *known == sign).ok_or_else(wrong)?.0;
        if !first.is_ascii_lowercase() {
            return Err(wrong());
        }
        Ok(Self { act, who: u32::from(first as u8 - b'a'), nth: nth.saturating_sub(1) })
    }
}

/// Reads the steps of a schedule.
///
/// # Errors
/// For what is no step.
pub fn steps(text: &str) -> Result<Vec<Step>, String> {
    text.split_whitespace().map(str::parse).collect()
}

/// Writes the steps of a schedule.
pub fn written(steps: &[Step]) -> String {
    let steps: Vec<_> = steps.iter().map(ToString::to_string).collect();
    steps.join(" ")
}
