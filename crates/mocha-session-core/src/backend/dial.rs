//! Connections under failover: when a store may dial again, and which of its connections are still
//! good.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Decides when a store may open another connection, and which of those it has are still good.
///
/// It does no I/O and reads no clock, so that every backend can share it. A backend that pools
/// connections keeps one `Dialer` per address and follows four rules:
///
/// 1. **Ask before dialling.** [`attempt`](Self::attempt) allows it, or returns the failure of the
///    last attempt. After a failure there is a pause of 20 to 500 ms, which grows with each further
///    failure and is never the same twice. After the pause one caller per pause dials, until one
///    succeeds.
/// 2. **Ask a new connection for its [`Role`]** before anything else, and again when it has been
///    quiet for [`QUIET`](Self::QUIET). Only a [primary](Role::require_primary) is used. The
///    attempt has succeeded when the role is known, not when the socket is open.
/// 3. **Tag every connection** with the [`Era`] that the attempt returned, and drop it instead of
///    reusing it when the era [is over](Self::is_current).
/// 4. **[Leave](Self::leave) the era** when a connection broke or its server answered "read-only":
///    the server was probably restarted or demoted, so its other connections are no better.
///
/// ```
/// use std::time::{Duration, Instant};
/// use mocha_session_core::backend::{Dialer, Role};
/// use mocha_session_core::store::{Failure, Effect};
///
/// let (dialer, now) = (Dialer::new(), Instant::now());
/// let attempt = dialer.attempt(now)?;
/// let refused = Failure::NotSent.error(Effect::Read, "connection refused; is the server running?");
/// let error = attempt.failed(now, refused);
/// // Until the pause is over every caller gets the same answer and nothing is dialled.
/// assert_eq!(dialer.attempt(now).unwrap_err().to_string(), error.to_string());
///
/// let attempt = dialer.attempt(now + Duration::from_secs(1))?;
/// Role::Primary.require_primary()?;
/// let era = attempt.succeeded();
/// assert!(dialer.is_current(era));
/// dialer.leave(era); // "read-only"
/// assert!(!dialer.is_current(era));
/// # Ok::<(), mocha_session_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Dialer(Mutex<State>);

/// The connections that were made between two failures of their server. See [`Dialer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era(u64);

/// The permission to dial once. Dropping it without a result is harmless: it counts as not dialled.
#[derive(Debug)]
#[must_use = "an attempt that is not reported neither ends a pause nor begins one"]
pub struct Attempt<'d> {
    dialer: &'d Dialer,
    era: Era,
    /// How many attempts in a row had failed when this one began.
    failures: u32,
}

/// What a connection leads to, as its server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server that takes writes, so its reads are current.
    Primary,
    /// A standby, a replica, or a server that was made read-only: what it holds may be out of date.
    Replica,
}

#[derive(Debug, Default)]
struct State {
    era: u64,
    outage: Option<Outage>,
}

/// The time from a failed attempt to the next that succeeds.
#[derive(Debug)]
struct Outage {
    /// How many attempts in a row failed. Attempts that ran at the same time count as one.
    failures: u32,
    /// Nobody dials before this.
    until: Instant,
    error: Error,
}

impl Dialer {
    /// How long a connection may be quiet before its server is asked for its role again.
    pub const QUIET: Duration = Duration::from_secs(1);

    /// The shortest pause after a failed attempt, in milliseconds.
    const SHORTEST: u64 = 20;

    /// The longest pause after a failed attempt, in milliseconds.
    const LONGEST: u64 = 500;

    /// A dialer that allows the first attempt at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows one attempt to connect, unless an earlier one failed and the pause after it is not
    /// over.
    ///
    /// # Errors
    /// The failure of the last attempt, without its cause.
    pub fn attempt(&self, now: Instant) -> Result<Attempt<'_>> {
        let mut state = self.lock();
        let era = Era(state.era);
        let failures = match &mut state.outage {
            Some(outage) if now < outage.until => return Err(outage.error.repeated()),
            Some(outage) => {
                // Whatever becomes of this attempt, the next is a pause later.
                outage.until = now + Self::pause(outage.failures);
                outage.failures
            }
            None => 0,
        };
        Ok(Attempt { dialer: self, era, failures })
    }

    /// Whether a connection of this era may be used.
    pub fn is_current(&self, era: Era) -> bool {
        self.lock().era == era.0
    }

    /// Ends an era: no connection that was made in it is used again. Says whether this call ended
    /// it.
    ///
    /// Connections that were made since an earlier call are not affected.
    pub fn leave(&self, era: Era) -> bool {
        let mut state = self.lock();
        let current = state.era == era.0;
        state.era += u64::from(current);
        current
    }

    /// From `SHORTEST` to twice as much after the first failure, doubling up to `LONGEST`.
    fn pause(failures: u32) -> Duration {
        let most = (Self::SHORTEST << failures.min(10)).min(Self::LONGEST);
        Duration::from_millis(fastrand::u64(most / 2..=most))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// A primary answered: the pause is over for every caller. Returns the connection's era, which
    /// is the one in which the attempt began, so that a connection to a server that was left
    /// meanwhile is not used.
    pub fn succeeded(self) -> Era {
        self.dialer.lock().outage = None;
        self.era
    }

    /// The attempt failed, and its error is the answer for other callers until the pause is over.
    /// Returns that error.
    pub fn failed(self, now: Instant, error: Error) -> Error {
        let mut state = self.dialer.lock();
        let known = state.outage.as_ref().map_or(0, |outage| outage.failures);
        if known <= self.failures {
            let failures = known + 1;
            let until = now + Dialer::pause(failures);
            state.outage = Some(Outage { failures, until, error: error.repeated() });
        }
        error
    }
}

impl Role {
    /// What to say of a server that takes no writes.
    pub const READ_ONLY: &'static str = "the server takes no writes: it is a standby, a replica, or was \
         made read-only; connect to the primary, or wait until the failover is over";

    /// Refuses a server whose answers may be out of date.
    ///
    /// # Errors
    /// `Unavailable` for a [`Replica`](Self::Replica): nothing was done, and the primary may be
    /// back soon.
    pub fn require_primary(self) -> Result<()> {
        match self {
            Self::Primary => Ok(()),
            Self::Replica => Err(Error::new(ErrorKind::Unavailable, Self::READ_ONLY)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn refused() -> Error {
        Error::new(ErrorKind::Unavailable, "refused").with_source(std::io::Error::other("cause"))
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn failure_is_answered_without_dialling_until_the_pause_is_over() {
        let (dialer, now) = (Dialer::new(), Instant::now());
        dialer.attempt(now).unwrap().failed(now, refused().on("redis"));
        let error = dialer.attempt(now + 19 * MS).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Unavailable, "redis: refused".into())
        );
        assert!(dialer.attempt(now + 40 * MS).is_ok());
    }

    #[test]
    fn thousand_calls_a_second_for_ten_seconds_dial_some_thirty_times() {
        let (dialer, start) = (Dialer::new(), Instant::now());
        let mut dials = 0;
        for millisecond in 0..10_000 {
            let now = start + millisecond * MS;
            if let Ok(attempt) = dialer.attempt(now) {
                dials += 1;
                attempt.failed(now, refused());
            }
        }
        assert!((20..=50).contains(&dials), "{dials}");
    }

    #[test]
    fn pause_grows_from_20_to_500_ms_and_is_not_always_the_same() {
        for (failures, least, most) in
            [(1, 20, 40), (2, 40, 80), (4, 160, 320), (5, 250, 500), (99, 250, 500)]
        {
            let pauses: Vec<_> = (0..200).map(|_| Dialer::pause(failures).as_millis()).collect();
            assert!(
                pauses.iter().all(|pause| (least..=most).contains(pause)),
                "{failures}: {pauses:?}"
            );
            assert!(pauses.iter().any(|pause| pause != &pauses[0]), "{failures}: no jitter");
        }
    }

    #[test]
    fn attempts_that_fail_together_count_as_one_failure() {
        let (dialer, now) = (Dialer::new(), Instant::now());
        let together: Vec<_> = (0..10).map(|_| dialer.attempt(now).unwrap()).collect();
        for attempt in together {
            attempt.failed(now, refused());
        }
        assert!(dialer.attempt(now + 40 * MS).is_ok(), "the pause is still the shortest");
    }

    #[test]
    fn after_the_pause_one_caller_dials_and_its_success_frees_all() {
        let (dialer, now) = (Dialer::new(), Instant::now());
        dialer.attempt(now).unwrap().failed(now, refused());
        let later = now + 40 * MS;
        let probe = dialer.attempt(later).unwrap();
        assert!(dialer.attempt(later).is_err(), "the probe is under way");
        probe.succeeded();
        assert!(dialer.attempt(later).is_ok() && dialer.attempt(later).is_ok());
    }

    #[test]
    fn probe_that_was_dropped_half_way_does_not_keep_others_from_dialling() {
        let (dialer, now) = (Dialer::new(), Instant::now());
        dialer.attempt(now).unwrap().failed(now, refused());
        drop(dialer.attempt(now + 40 * MS).unwrap());
        assert!(dialer.attempt(now + 80 * MS).is_ok());
    }

    #[test]
    fn late_answers_of_an_old_connection_do_not_end_the_next_era() {
        let (dialer, now) = (Dialer::new(), Instant::now());
        let old = dialer.attempt(now).unwrap().succeeded();
        let slow = dialer.attempt(now).unwrap();
        assert!(dialer.leave(old));
        let new = dialer.attempt(now).unwrap().succeeded();
        assert!(!dialer.leave(old), "the old era had ended before");
        assert!(dialer.is_current(new));
        assert!(!dialer.is_current(slow.succeeded()), "dialled before the server was left");
    }

    #[test]
    fn replica_is_refused_as_unavailable() {
        assert!(Role::Primary.require_primary().is_ok());
        let error = Role::Replica.require_primary().unwrap_err();
        assert!(error.is_unavailable() && !error.is_ambiguous());
    }
}
