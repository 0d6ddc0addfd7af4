//! Detects silent servers: connections that neither answer nor break.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::dial::{Dialer, Era};

/// Detects a server that is silent although no connection to it broke, and tracks when its
/// [`Role`](super::Role) was last confirmed.
///
/// A network that silently drops packets looks like a server that hangs: calls wait until their
/// deadline, and their futures are dropped. Without detection, every connection that the store
/// keeps would cost one call its whole deadline. Therefore, if a call is dropped after
/// [`PATIENCE`](Self::PATIENCE) or more, and no call got an answer since it began, the era of its
/// connection is [left](Dialer::leave). A call that is dropped earlier, because its client
/// disconnected, does not affect the connection.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::Instant;
/// use mocha_session::backend::{Dialer, Pulse};
///
/// let (dialer, pulse) = (Dialer::new(), Pulse::new());
/// let era = dialer.attempt(Instant::now())?.succeeded();
/// let call = pulse.call(&dialer, era);
/// // Send the command and wait for its answer. Dropping `call` instead means "no answer".
/// call.answered();
/// assert!(dialer.is_current(era));
/// # Ok::<(), mocha_session::Error>(())
/// ```
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    /// The time of the last answer, in microseconds since `born`.
    heard: AtomicU64,
    /// The time when the role was last confirmed, in microseconds since `born`; 0 if never.
    known: AtomicU64,
}

/// A call that waits for its answer. See [`Pulse`].
#[derive(Debug)]
#[must_use = "dropping it means that the call got no answer"]
pub struct Call<'p> {
    pulse: &'p Pulse,
    dialer: &'p Dialer,
    era: Era,
    begun: u64,
    answered: bool,
}

impl Pulse {
    /// The shortest wait for an answer that counts as a sign of silence.
    pub const PATIENCE: Duration = Duration::from_millis(100);

    /// Creates a pulse that starts now.
    pub fn new() -> Self {
        Self { born: Instant::now(), heard: AtomicU64::new(0), known: AtomicU64::new(0) }
    }

    /// Starts a call on a connection of this era.
    pub fn call<'p>(&'p self, dialer: &'p Dialer, era: Era) -> Call<'p> {
        Call { pulse: self, dialer, era, begun: self.now(), answered: false }
    }

    /// Returns whether the server's role was confirmed within the last [`Dialer::QUIET`].
    pub fn is_role_known(&self) -> bool {
        let known = self.known.load(Ordering::Relaxed);
        known > 0 && Duration::from_micros(self.now().saturating_sub(known)) < Dialer::QUIET
    }

    /// Records that the server has just confirmed that it is the primary.
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
    /// Reports that the server reacted: with an answer, with an error, or by closing the
    /// connection.
    pub fn answered(mut self) {
        self.answered = true;
        self.pulse.heard.fetch_max(self.pulse.now(), Ordering::Relaxed);
    }

    /// Returns whether no call got an answer since this one began, nor within
    /// [`Pulse::PATIENCE`].
    pub fn is_silent(&self) -> bool {
        let heard = self.pulse.heard.load(Ordering::Relaxed);
        let since = Duration::from_micros(self.pulse.now().saturating_sub(heard));
        heard < self.begun && (heard == 0 || since >= Pulse::PATIENCE)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.answered
            && Duration::from_micros(self.pulse.now().saturating_sub(self.begun)) >= Pulse::PATIENCE
            && self.is_silent()
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
