//! Every time limit of the store, derived from the one deadline of a call.

use std::time::Duration;

/// The limits of one call. Waiting and the statement together end before the call does, so that
/// "locked" and "no connection" are said as such and are not taken for a write of unknown outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    /// Getting a connection: a place in the pool, an idle connection that answers, or a new one.
    pub wait: Duration,
    /// Connecting to one host, where the user has set a limit.
    pub connect: Option<Duration>,
    /// A statement on the server, or the wait for a locked SQLite file.
    pub statement: Duration,
    /// An idle connection's answer.
    pub ping: Duration,
    /// Opening the store, which takes several calls, and where a process that starts is in no
    /// hurry.
    pub opening: Duration,
}

impl Clocks {
    pub(crate) fn new(deadline: Duration) -> Self {
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
            let clocks = Clocks::new(deadline);
            assert!(clocks.wait + clocks.statement < deadline, "{deadline:?}");
        }
    }
}
