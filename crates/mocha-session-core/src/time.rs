//! Clocks, including one that tests can set, and milliseconds since 1970 that never overflow.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The source of the current time for everything that expires.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The machine's clock.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::{Clock, SystemClock};
///
/// assert!(SystemClock.now() > std::time::SystemTime::UNIX_EPOCH);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that only moves when [`advance`](Self::advance) is called, for tests of expiry.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::time::Duration;
/// use mocha_session::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now().duration_since(before).unwrap().as_secs(), 3600);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Creates a clock that starts at the current time.
    pub fn new() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// Creates a clock that starts at `now`.
    pub fn starting_at(now: SystemTime) -> Self {
        Self(Arc::new(AtomicU64::new(to_millis(now))))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The end of the year 9999. Engines and calendars can represent it, and additions to it do not
/// overflow.
const LATEST_MILLIS: u64 = 253_402_300_799_000;

/// Converts to milliseconds since 1970, clamped to the years 1970 to 9999.
pub(crate) fn to_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis =
        since.as_secs().saturating_mul(1_000).saturating_add(u64::from(since.subsec_millis()));
    millis.min(LATEST_MILLIS)
}

/// Converts from milliseconds since 1970.
pub(crate) fn from_millis(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis.min(LATEST_MILLIS))
}
