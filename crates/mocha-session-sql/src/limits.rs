//! The time limits of a store, derived from the deadline of a call.

use std::time::Duration;

/// The longest deadline; a longer one counts as this. Nothing overflows with it, and every server
/// accepts the limits that are derived from it.
const LONGEST: Duration = Duration::from_hours(24);

/// The time limits of one call. Waiting and the statement together end before the call, so that
/// "locked" and "no connection" are reported as such and not as an ambiguous write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a connection: a place in the pool, and an idle connection that answers or a new one.
    pub wait: Duration,
    /// For connecting to one host, if the URL has a limit.
    pub connect: Option<Duration>,
    /// For a statement on the server, or for a locked SQLite file.
    pub statement: Duration,
    /// For the answer of an idle connection.
    pub ping: Duration,
    /// For opening the store, which takes several calls.
    pub opening: Duration,
}

impl Limits {
    pub(crate) fn new(deadline: Duration) -> Self {
        let deadline = deadline.min(LONGEST);
        Self {
            wait: deadline / 2,
            connect: None,
            statement: deadline * 2 / 5,
            ping: deadline / 5,
            opening: deadline * 2,
        }
    }

    /// The statement's limit in whole seconds, as MySQL counts lock waits.
    #[cfg(feature = "mysql")]
    pub(crate) fn statement_seconds(&self) -> u64 {
        self.statement.as_secs().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_and_the_statement_together_end_before_the_call() {
        for millis in [1, 10, 500, 5_000, 60_000] {
            let deadline = Duration::from_millis(millis);
            let limits = Limits::new(deadline);
            assert!(limits.wait + limits.statement < deadline, "{deadline:?}");
        }
    }
}
