//! The lifetime and the limits of a session, for every engine.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::record::content::{Content, Persistence, UNTIL_CLOSED};
use crate::record::message::Level;
use crate::record::waiting::Caps;
use crate::store::Expiry;

/// The time for which an emptied session's record is kept, in milliseconds, so that a concurrent
/// writer still finds a base.
pub(crate) const EMPTIED: u64 = 60_000;

/// The default absolute timeout of client-side sessions. Without a store nothing else ends a copied
/// cookie.
pub(crate) const CLIENT_SIDE_ABSOLUTE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The configured lifetimes, in milliseconds, and limits, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) idle: u64,
    pub(crate) absolute: Option<u64>,
    pub(crate) refresh: Option<u64>,
    pub(crate) remember_at_most: u64,
    pub(crate) limit: usize,
    pub(crate) flash: Caps,
    pub(crate) flash_minimum: Level,
    pub(crate) commit_on_server_error: bool,
    pub(crate) anonymous_on_failure: bool,
    pub(crate) tombstone: u64,
    /// Whether cookies persist after the browser is closed, unless the session overrides it.
    pub(crate) persistent: bool,
}

impl Policy {
    /// Returns when the content expires under the current configuration, if its idle deadline is
    /// not moved.
    pub(crate) fn deadline(&self, content: &Content) -> u64 {
        self.deadline_from(content, content.touched)
    }

    /// Returns when a record expires: at the deadline that it was written with, or earlier if the
    /// configured timeouts were shortened since.
    pub(crate) fn effective(&self, content: &Content, written: u64) -> u64 {
        written.min(self.deadline(content))
    }

    /// Returns whether moving the idle deadline is worth a write, because it would gain at least a
    /// refresh interval.
    pub(crate) fn wants_refresh(&self, content: &Content, written: u64, now: u64) -> bool {
        let gain =
            self.deadline_from(content, now).saturating_sub(self.effective(content, written));
        let idle = self.idle_of(content);
        // At most half the timeout, so that a session with a shorter timeout of its own is
        // refreshed before it expires.
        gain > 0 && gain >= self.refresh.map_or(idle / 10, |refresh| refresh.min(idle / 2))
    }

    /// Returns the expiry of the cookie for this content and deadline.
    pub(crate) fn told(&self, content: &Content, deadline: u64) -> u64 {
        let persistent = match content.persistence {
            Persistence::Policy => self.persistent,
            Persistence::Kept => true,
            Persistence::Forgotten => false,
        };
        if persistent { deadline } else { UNTIL_CLOSED }
    }

    fn deadline_from(&self, content: &Content, touched: u64) -> u64 {
        let idle = touched.saturating_add(self.idle_of(content));
        self.absolute.map_or(idle, |absolute| idle.min(content.created.saturating_add(absolute)))
    }

    fn idle_of(&self, content: &Content) -> u64 {
        content.remember.map_or(self.idle, |own| own.min(self.remember_at_most))
    }
}

/// Converts a lifetime to milliseconds, at most a century of them.
///
/// # Errors
/// `InvalidConfig` for less than a second.
pub(crate) fn lifetime(what: &str, duration: Duration) -> Result<u64> {
    if duration < Duration::from_secs(1) {
        return Err(Error::invalid_config(format!("the {what} must be at least a second")));
    }
    Ok(millis(duration))
}

/// Converts to milliseconds, at most a century of them.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.min(Expiry::MAX_TTL).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(idle: u64, absolute: Option<u64>) -> Policy {
        Policy {
            idle,
            absolute,
            refresh: None,
            remember_at_most: 50_000,
            limit: 0,
            flash: Caps { items: 0, bytes: 0 },
            flash_minimum: Level::Debug,
            commit_on_server_error: false,
            anonymous_on_failure: false,
            tombstone: 60_000,
            persistent: true,
        }
    }

    #[test]
    fn absolute_beats_activity_and_tightening_takes_effect() {
        let content = Content { created: 1_000, touched: 9_000, ..Content::default() };
        assert_eq!(policy(10_000, None).deadline(&content), 19_000);
        assert_eq!(policy(10_000, Some(12_000)).deadline(&content), 13_000);
        assert_eq!(policy(5_000, None).effective(&content, 19_000), 14_000);
        assert_eq!(policy(50_000, None).effective(&content, 19_000), 19_000);
    }

    #[test]
    fn a_refresh_must_gain_an_interval() {
        let content = Content { created: 0, touched: 0, ..Content::default() };
        let wants =
            |policy: &Policy, now| policy.wants_refresh(&content, policy.deadline(&content), now);
        assert!(!wants(&policy(10_000, None), 999));
        assert!(wants(&policy(10_000, None), 1_000));
        assert!(!wants(&policy(10_000, Some(10_000)), 9_000));
        // Written under a longer timeout: activity under the shorter one still moves the deadline.
        assert!(policy(10_000, None).wants_refresh(&content, 1_000_000, 5_000));
    }

    #[test]
    fn a_refresh_interval_is_at_most_half_of_the_sessions_own_lifetime() {
        let policy = Policy { refresh: Some(1_000), ..policy(10_000, None) };
        let content = Content { remember: Some(800), ..Content::default() };
        let wants = |now| policy.wants_refresh(&content, policy.deadline(&content), now);
        assert!(!wants(399) && wants(400));
    }

    #[test]
    fn a_session_of_its_own_lifetime_keeps_it_up_to_the_ceiling() {
        let content = Content { remember: Some(40_000), ..Content::default() };
        assert_eq!(policy(10_000, None).deadline(&content), 40_000);
        let content = Content { remember: Some(u64::MAX), ..Content::default() };
        assert_eq!(policy(10_000, None).deadline(&content), 50_000);
    }
}
