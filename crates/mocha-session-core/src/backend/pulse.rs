//! Servers that fall silent: connections that neither answer nor break.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::dial::{Dialer, Era};

/// Finds out that a server is silent although no connection to it broke, and knows how long a
/// connection has been without proof of its [`Role`](super::Role).
///
/// A network that drops packets without a word, and a server that hangs, look alike: calls wait
/// until their deadline, and the future that waits is dropped. Without a rule each such call costs
/// one deadline for each connection that the store keeps. The rule: when a call is given up after
/// [`PATIENCE`](Self::PATIENCE) and nothing was heard since it began, the era of its connection [is
/// left](Dialer::leave). A call that is given up because its client went away leaves a healthy
/// connection alone.
///
/// ```
/// use std::time::Instant;
/// use mocha_session_core::backend::{Dialer, Pulse};
///
/// let (dialer, pulse) = (Dialer::new(), Pulse::new());
/// let era = dialer.attempt(Instant::now())?.succeeded();
/// let call = pulse.call(&dialer, era);
/// // Send the command and wait for its answer; dropping `call` here instead means that it was given up.
/// call.answered();
/// assert!(dialer.is_current(era));
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    /// When something was heard last, in microseconds since `born`.
    heard: AtomicU64,
    /// When the server's role was known last; 0 where it never was.
    known: AtomicU64,
}

/// A call that waits for its answer. See [`Pulse`].
#[derive(Debug)]
#[must_use = "dropping it means that the call was given up"]
pub struct Call<'p> {
    pulse: &'p Pulse,
    dialer: &'p Dialer,
    era: Era,
    begun: u64,
    answered: bool,
}

impl Pulse {
    /// How long a call waits at least before it counts as a sign of silence.
    pub const PATIENCE: Duration = Duration::from_millis(100);

    /// A pulse that begins now.
    pub fn new() -> Self {
        Self { born: Instant::now(), heard: AtomicU64::new(0), known: AtomicU64::new(0) }
    }

    /// Begins a call on a connection of this era.
    pub fn call<'p>(&'p self, dialer: &'p Dialer, era: Era) -> Call<'p> {
        Call { pulse: self, dialer, era, begun: self.now(), answered: false }
    }

    /// Whether the role was known within [`Dialer::QUIET`].
    pub fn is_role_known(&self) -> bool {
        let known = self.known.load(Ordering::Relaxed);
        known > 0 && Duration::from_micros(self.now().saturating_sub(known)) < Dialer::QUIET
    }

    /// Remembers that the server said a moment ago that it is the primary.
    pub fn role_is_known(&self) {
        self.known.fetch_max(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

impl Call<'_> {
    /// Something was heard: the answer, an error in its place, or the end of the connection.
    pub fn answered(mut self) {
        self.answered = true;
        self.pulse.heard.fetch_max(self.pulse.now(), Ordering::Relaxed);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.answered
            && Duration::from_micros(self.pulse.now().saturating_sub(self.begun)) >= Pulse::PATIENCE
            && self.pulse.heard.load(Ordering::Relaxed) < self.begun
        {
            self.dialer.leave(self.era);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const LONG: Duration = Duration::from_millis(110);

    #[test]
    fn call_given_up_in_silence_ends_the_era_and_one_given_up_at_once_does_not() {
        let (dialer, pulse) = (Dialer::new(), Pulse::new());
        let era = dialer.attempt(Instant::now()).unwrap().succeeded();
        drop(pulse.call(&dialer, era));
        assert!(dialer.is_current(era), "its client went away");
        let call = pulse.call(&dialer, era);
        std::thread::sleep(LONG);
        drop(call);
        assert!(!dialer.is_current(era));
    }

    #[test]
    fn slow_call_beside_one_that_is_answered_is_no_silence() {
        let (dialer, pulse) = (Dialer::new(), Pulse::new());
        let era = dialer.attempt(Instant::now()).unwrap().succeeded();
        let slow = pulse.call(&dialer, era);
        std::thread::sleep(LONG);
        pulse.call(&dialer, era).answered();
        drop(slow);
        assert!(dialer.is_current(era));
    }

    #[test]
    fn role_is_unknown_before_it_was_said() {
        let pulse = Pulse::new();
        assert!(!pulse.is_role_known());
        pulse.role_is_known();
        assert!(pulse.is_role_known());
    }
}
