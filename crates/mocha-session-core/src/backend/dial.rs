//! Connections during a failover: when a store may connect again, and which of its connections are
//! still usable.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Decides when a store may open another connection, and which of its connections are still usable.
///
/// It does no I/O and reads no clock, so that every backend can share it. A backend that pools
/// connections keeps one `Dialer` per address and follows four rules:
///
/// 1. **Call [`attempt`](Self::attempt) before connecting.** It returns a permission, or the error
///    of the last attempt. After a failure there is a randomised pause of 20 to 500 ms, which grows
///    with each further failure. After the pause one caller per pause may connect, until one
///    succeeds.
/// 2. **Ask a new connection for its [`Role`]** before any other use, and again when it has been
///    quiet for [`QUIET`](Self::QUIET). Only a [primary](Role::require_primary) is used. The
///    attempt has succeeded when the role is known, not when the socket is open.
/// 3. **Tag every connection** with the [`Era`] that the attempt returned. Drop the connection
///    instead of reusing it when the era [is over](Self::is_current).
/// 4. **[Leave](Self::leave) the era** when a connection breaks or its server answers "read-only".
///    The server was probably restarted or demoted, so its other connections are unusable too.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::{Duration, Instant};
/// use mocha_session::backend::{Dialer, Role};
/// use mocha_session::store::{Failure, Effect};
///
/// let (dialer, now) = (Dialer::new(), Instant::now());
/// let attempt = dialer.attempt(now)?;
/// let why = "connection refused; is the server running?";
/// let error = attempt.failed(now, Failure::NotSent.error(Effect::Read, why));
/// // Until the pause is over, every caller gets the same error and no one connects.
/// assert_eq!(dialer.attempt(now).unwrap_err().to_string(), error.to_string());
///
/// let attempt = dialer.attempt(now + Duration::from_secs(1))?;
/// Role::Primary.require_primary()?;
/// let era = attempt.succeeded();
/// assert!(dialer.is_current(era));
/// dialer.leave(era); // "read-only"
/// assert!(!dialer.is_current(era));
/// # Ok::<(), mocha_session::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Dialer(Mutex<State>);

/// Identifies the connections that were opened between two failures of a server. See [`Dialer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Era(u64);

/// The permission to connect once. Dropping it without reporting a result counts as not connecting.
#[derive(Debug)]
#[must_use = "report the result with `succeeded` or `failed`"]
pub struct Attempt<'d> {
    dialer: &'d Dialer,
    era: Era,
    /// The number of consecutive failures before this attempt.
    failures: u32,
}

/// The role of a server, as the server reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server that accepts writes, so its reads are current.
    Primary,
    /// A standby, a replica, or a read-only server. Its data may be out of date.
    Replica,
}

#[derive(Debug, Default)]
struct State {
    era: u64,
    outage: Option<Outage>,
}

/// The state between a failed attempt and the next successful one.
#[derive(Debug)]
struct Outage {
    /// The number of consecutive failures. Attempts that ran at the same time count as one.
    failures: u32,
    /// The end of the pause.
    until: Instant,
    error: Error,
}

impl Dialer {
    /// The time that a connection may be quiet before its server must be asked for its role again.
    pub const QUIET: Duration = Duration::from_secs(1);

    /// The shortest pause after a failed attempt, in milliseconds.
    const SHORTEST: u64 = 20;

    /// The longest pause after a failed attempt, in milliseconds.
    const LONGEST: u64 = 500;

    /// Creates a dialer, which allows the first attempt immediately.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows one attempt to connect, unless the pause after a failed attempt is not over.
    ///
    /// # Errors
    /// The error of the last attempt, without its cause.
    pub fn attempt(&self, now: Instant) -> Result<Attempt<'_>> {
        let mut state = self.lock();
        let era = Era(state.era);
        let failures = match &mut state.outage {
            Some(outage) if now < outage.until => return Err(outage.error.repeated()),
            Some(outage) => {
                // Delays the next attempt even if this one is dropped without a result.
                outage.until = now + Self::pause(outage.failures);
                outage.failures
            }
            None => 0,
        };
        Ok(Attempt { dialer: self, era, failures })
    }

    /// Returns whether a connection of this era may be used.
    pub fn is_current(&self, era: Era) -> bool {
        self.lock().era == era.0
    }

    /// Ends an era, so that none of its connections is used again. Returns whether this call ended
    /// it.
    ///
    /// An era that was left before is not left again, so newer connections are not affected.
    pub fn leave(&self, era: Era) -> bool {
        let mut state = self.lock();
        let current = state.era == era.0;
        state.era += u64::from(current);
        current
    }

    /// Returns a random pause: `SHORTEST` to twice that after the first failure, then doubling up
    /// to `LONGEST`.
    fn pause(failures: u32) -> Duration {
        let most = (Self::SHORTEST << failures.min(10)).min(Self::LONGEST);
        Duration::from_millis(fastrand::u64(most / 2..=most))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Returns the era in which the attempt began, which is that of its connection.
    pub fn era(&self) -> Era {
        self.era
    }

    /// Reports that a primary answered, which ends the pause for every caller. Returns the
    /// connection's era.
    ///
    /// That is the era in which the attempt began. If that era was left since, the connection is
    /// not used.
    pub fn succeeded(self) -> Era {
        self.dialer.lock().outage = None;
        self.era
    }

    /// Reports that the attempt failed, and returns the error. Other callers get a copy of it until
    /// the pause is over.
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
    /// The error message for a server that accepts no writes.
    pub const READ_ONLY: &'static str = "the server takes no writes: it is a standby, a replica or \
         read-only; connect to the primary, or wait until the failover is over";

    /// Refuses a server whose data may be out of date.
    ///
    /// # Errors
    /// `Unavailable` for a [`Replica`](Self::Replica): nothing was changed, and a primary may be
    /// available soon.
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
