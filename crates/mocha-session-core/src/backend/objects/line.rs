//! The connections to an object store: a pause while it cannot be reached, and new ones after a
//! silence.

use std::time::Instant;

use tokio::sync::Mutex;

use super::ObjectClient;
use crate::backend::{Dialer, Era, Pulse};
use crate::error::{ErrorKind, Result};
use crate::future::BoxFuture;

/// The state of the connections to an object store. Its client pools them by itself, so each call
/// counts as an attempt to connect.
#[derive(Debug)]
pub(super) struct Line {
    dialer: Dialer,
    pulse: Pulse,
    /// The era of the client's connections.
    connected: Mutex<Option<Era>>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { dialer: Dialer::new(), pulse: Pulse::new(), connected: Mutex::default() }
    }

    /// Makes one call, or returns the error of an earlier one during the pause that follows it.
    pub(super) async fn ask<'f, T>(
        &self,
        client: &dyn ObjectClient,
        call: impl FnOnce() -> BoxFuture<'f, Result<T>>,
    ) -> Result<T> {
        // Waits while another call connects anew.
        let mut connected = self.connected.lock().await;
        let attempt = self.dialer.attempt(Instant::now())?;
        if connected.is_some_and(|known| known != attempt.era()) {
            client.reconnect().await;
        }
        *connected = Some(attempt.era());
        drop(connected);
        let waiting = self.pulse.call(&self.dialer, attempt.era());
        match call().await {
            // Beside a call that succeeds, this is the failure of one connection.
            Err(error) if error.is_not_sent() => {
                Err(if waiting.is_silent() { attempt.failed(Instant::now(), error) } else { error })
            }
            // Dropping `waiting` reports a silence.
            Err(error) if error.kind() == ErrorKind::Timeout => Err(error),
            answer => {
                waiting.answered();
                attempt.succeeded();
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use async_trait::async_trait;

    use super::super::{Condition, Content, Object, Outcome, Page};
    use super::*;
    use crate::store::{Effect, Failure, Revision};

    /// Counts how often it is told to connect anew, and has nothing else.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl ObjectClient for Counting {
        async fn get(&self, _: &str, _: usize) -> Result<Option<Object>> {
            Ok(None)
        }

        async fn put(&self, _: &str, _: Content, _: Condition<'_>) -> Result<Outcome<Revision>> {
            Ok(Outcome::Unmet)
        }

        async fn delete(&self, _: &str, _: Option<&Revision>) -> Result<Outcome<()>> {
            Ok(Outcome::Unmet)
        }

        async fn list(&self, _: &str, _: usize, _: Option<&str>) -> Result<Page> {
            Ok(Page::default())
        }

        fn delete_tells(&self) -> bool {
            true
        }

        async fn reconnect(&self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn answered() -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn failing(failure: Failure, after: Duration) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            tokio::time::sleep(after).await;
            Err(failure.error(Effect::Write, "a failure"))
        })
    }

    /// The number of a hundred calls, one after the other, that reach the client.
    async fn reach(failure: Failure) -> usize {
        let (line, client, asked) = (Line::new(), Counting::default(), AtomicUsize::new(0));
        for _ in 0..100 {
            let call = || {
                asked.fetch_add(1, SeqCst);
                failing(failure, Duration::ZERO)
            };
            assert!(line.ask(&client, call).await.is_err());
        }
        asked.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_service_that_cannot_be_reached_is_left_alone_for_a_pause() {
        assert!(reach(Failure::NotSent).await < 20);
        assert_eq!(reach(Failure::Refused(ErrorKind::Unavailable)).await, 100);
        assert_eq!(reach(Failure::Unanswered).await, 100);
    }

    #[tokio::test]
    async fn a_failure_beside_an_answer_is_no_outage() {
        let (line, client) = (Line::new(), Counting::default());
        let (answer_came, after) = tokio::sync::oneshot::channel();
        let late = || -> BoxFuture<'_, Result<()>> {
            Box::pin(async {
                after.await.unwrap();
                Err(Failure::NotSent.error(Effect::Write, "a failure"))
            })
        };
        let (failed, answer) = tokio::join!(line.ask(&client, late), async {
            let answer = line.ask(&client, answered).await;
            answer_came.send(()).unwrap();
            answer
        });
        assert!(failed.is_err() && answer.is_ok());
        // Nor is one soon after an answer: other connections work.
        let begun = Instant::now();
        line.ask(&client, answered).await.unwrap();
        line.ask(&client, || failing(Failure::NotSent, Duration::ZERO)).await.unwrap_err();
        let after = line.ask(&client, answered).await;
        assert!(after.is_ok() || begun.elapsed() >= Pulse::PATIENCE, "{after:?}");
        assert_eq!(client.0.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn a_silence_is_followed_by_new_connections_once() {
        let (line, client) = (Line::new(), Counting::default());
        line.ask(&client, answered).await.unwrap();
        for _ in 0..2 {
            let silent = line.ask(&client, || Box::pin(std::future::pending::<Result<()>>()));
            let waited = Pulse::PATIENCE + Duration::from_millis(20);
            tokio::time::timeout(waited, silent).await.unwrap_err();
            let late = line.ask(&client, || failing(Failure::TimedOut, waited));
            let (late, beside) = tokio::join!(late, line.ask(&client, answered));
            assert!(late.is_err() && beside.is_ok());
            line.ask(&client, answered).await.unwrap();
        }
        assert_eq!(client.0.load(SeqCst), 2);
    }
}
