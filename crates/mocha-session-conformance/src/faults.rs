//! The cases of `faults!`: the requirements on a store when the network or the engine fails.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mocha_session_core::store::{Revision, SessionStore, StorageKey};
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result};
use tokio::task::JoinSet;

use crate::cases::Case;
use crate::proxy::Proxy;
use crate::subject::{HOUR, Stop, Subject, Verdict, ensure, within};

/// The deadline of a call while the engine is silent.
const IMPATIENT: Duration = Duration::from_secs(1);

/// The deadline of every other call: the core's default.
const PATIENT: Duration = Duration::from_secs(5);

/// The time in which a store must work again after a fault.
const RECOVERY: Duration = Duration::from_secs(10);

/// The maximum number of connections per second to a server that is down.
const DIALS: usize = 100;

/// A store under test behind a proxy, and a direct handle of the same engine that sees the true
/// state.
pub(crate) struct Trial {
    store: Arc<dyn SessionStore>,
    proxy: Proxy,
    direct: Subject,
}

/// Passes the list of all faults to the macro `$then`, after `$context`.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_faults {
    ($then:ident $context:tt) => {
        $crate::$then! { $context
            lost_answer_of_an_update_is_said
            lost_answer_of_a_create_is_said
            lost_answer_of_a_delete_is_said
            lost_answer_of_a_read_is_no_absence
            connections_cut_while_idle_cost_no_read
            engine_down_is_an_error_and_works_again_when_it_is_back
            engine_down_is_not_dialled_without_pause
            hanging_engine_goes_on_with_the_right_answers
            silent_connections_are_left
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fault_table {
    ({} $($case:ident)*) => {
        pub(crate) const FAULTS: &[Case<Trial>] = &[$(Case {
            name: stringify!($case),
            run: |trial| Box::pin(async move { $case(&trial).await }),
        }),*];
    };
}

__with_faults! { __fault_table {} }

impl Trial {
    /// Opens the engine of this address twice: directly, and through a proxy.
    pub(crate) async fn open<S: SessionStore>(
        server: String,
        open: impl Fn(String) -> BoxFuture<'static, S>,
    ) -> Verdict<Self> {
        let proxy = Proxy::to(server.clone()).await;
        let proxy =
            proxy.map_err(|error| Stop::Fail(format!("the proxy cannot listen: {error}")))?;
        let address: SocketAddr = proxy.address();
        let direct = Subject::new(Arc::new(open(server).await), None);
        let store: Arc<dyn SessionStore> = Arc::new(open(address.to_string()).await);
        Ok(Self { store, proxy, direct })
    }

    pub(crate) async fn clean_up(&self) {
        self.direct.clean_up().await;
    }

    /// Creates an entry and reads it through the proxy, so that the store has a working connection.
    async fn entry(&self, value: &[u8]) -> Verdict<(StorageKey, Revision)> {
        let key = self.direct.key();
        let revision = self.direct.create(&key, value).await?;
        self.works(&key, value).await?;
        Ok((key, revision))
    }

    /// Reads until it succeeds. During the fault a read must fail, and must never report an absent
    /// entry.
    async fn works(&self, key: &StorageKey, value: &[u8]) -> Verdict {
        let begun = Instant::now();
        loop {
            match bounded(IMPATIENT, self.store.load(key)).await {
                Ok(Some(stored)) => {
                    ensure!(
                        stored.value()[..] == *value,
                        "a read answers with another entry's value"
                    );
                    return Ok(());
                }
                Ok(None) => return Err(absent("after a fault")),
                Err(error) => {
                    is_outage("a read after a fault", &error)?;
                    ensure!(
                        begun.elapsed() < RECOVERY,
                        "{} s after the fault the store still does not work: {error}",
                        RECOVERY.as_secs()
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the true value under a key.
    async fn truth(&self, key: &StorageKey) -> Verdict<Option<Vec<u8>>> {
        Ok(self.direct.load(key).await?.map(|(value, _)| value.to_vec()))
    }
}

/// Runs a store call with a deadline, as the core does.
async fn bounded<T>(deadline: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Error::new(ErrorKind::Timeout, "no answer in time");
    tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| Err(late()))
}

fn absent(when: &str) -> Stop {
    Stop::Fail(format!("the store reports an existing entry as absent {when}"))
}

fn is_outage(what: &str, error: &Error) -> Verdict {
    ensure!(
        error.is_unavailable(),
        "{what} fails as {:?}, which is not an outage: {error}",
        error.kind()
    );
    Ok(())
}

/// Judges a write whose answer was lost. `refused` is the meaning of the answer `None`.
fn judge(answer: Result<Option<Revision>>, applied: bool, refused: &str) -> Verdict {
    match answer {
        Ok(Some(_)) => ensure!(applied, "a write is acknowledged and was not applied"),
        Ok(None) => {
            return Err(Stop::Fail(format!(
                "a write whose answer was lost is reported as refused ({refused}): was it sent a \
                 second time?"
            )));
        }
        Err(error) => {
            is_outage("a write whose answer was lost", &error)?;
            ensure!(
                error.is_ambiguous() || !applied,
                "a write that was applied fails as {:?}, which means that it was not: {error}",
                error.kind()
            );
        }
    }
    Ok(())
}

async fn lost_answer_of_an_update_is_said(it: &Trial) -> Verdict {
    for _ in 0..3 {
        let (key, revision) = it.entry(b"one").await?;
        it.proxy.lose_next_answers(1);
        let answer = bounded(PATIENT, it.store.update(&key, b"two", within(HOUR), &revision)).await;
        it.proxy.lose_next_answers(0);
        judge(
            answer,
            it.truth(&key).await?.as_deref() == Some(b"two"),
            "the revision does not match",
        )?;
    }
    Ok(())
}

async fn lost_answer_of_a_create_is_said(it: &Trial) -> Verdict {
    for _ in 0..3 {
        it.entry(b"so that there is a connection").await?;
        let key = it.direct.key();
        it.proxy.lose_next_answers(1);
        let answer = bounded(PATIENT, it.store.create(&key, b"one", within(HOUR))).await;
        it.proxy.lose_next_answers(0);
        judge(answer, it.truth(&key).await?.is_some(), "the key is taken")?;
    }
    Ok(())
}

async fn lost_answer_of_a_delete_is_said(it: &Trial) -> Verdict {
    for _ in 0..3 {
        let (key, _) = it.entry(b"one").await?;
        it.proxy.lose_next_answers(1);
        let answer = bounded(PATIENT, it.store.delete(&key)).await;
        it.proxy.lose_next_answers(0);
        let deleted = it.truth(&key).await?.is_none();
        // A delete is idempotent, so a store may repeat it.
        let answer = answer.map(|_| Some(Revision::from(0)));
        judge(answer, deleted, "")?;
    }
    Ok(())
}

async fn lost_answer_of_a_read_is_no_absence(it: &Trial) -> Verdict {
    for _ in 0..3 {
        let (key, _) = it.entry(b"one").await?;
        it.proxy.lose_next_answers(1);
        let answer = bounded(PATIENT, it.store.load(&key)).await;
        it.proxy.lose_next_answers(0);
        match answer {
            Ok(Some(stored)) => {
                ensure!(stored.value()[..] == *b"one", "a read answers with another value");
            }
            Ok(None) => return Err(absent("when the answer to a read is lost")),
            Err(error) => is_outage("a read without an answer", &error)?,
        }
    }
    Ok(())
}

async fn connections_cut_while_idle_cost_no_read(it: &Trial) -> Verdict {
    for _ in 0..5 {
        let (key, _) = it.entry(b"one").await?;
        it.proxy.cut();
        tokio::time::sleep(Duration::from_millis(100)).await;
        match bounded(PATIENT, it.store.load(&key)).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(absent("after its idle connections were cut")),
            Err(error) => {
                return Err(Stop::Fail(format!(
                    "the first read after idle connections were cut fails; open a new one: {error}"
                )));
            }
        }
    }
    Ok(())
}

async fn engine_down_is_an_error_and_works_again_when_it_is_back(it: &Trial) -> Verdict {
    let (key, revision) = it.entry(b"one").await?;
    let other = it.direct.key();
    it.proxy.hang_up();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for round in 0..5 {
        if round == 2 {
            it.proxy.down();
        }
        match bounded(PATIENT, it.store.load(&key)).await {
            Ok(None) => return Err(absent("while its engine is down")),
            Ok(Some(_)) => {
                return Err(Stop::Fail("a read is answered while the engine is down".to_owned()));
            }
            Err(error) => is_outage("a read from an engine that is down", &error)?,
        }
        let update = bounded(PATIENT, it.store.update(&key, b"two", within(HOUR), &revision)).await;
        let create = bounded(PATIENT, it.store.create(&other, b"new", within(HOUR))).await;
        let delete = bounded(PATIENT, it.store.delete(&key)).await;
        for (what, answer) in [
            ("update", update.map(drop)),
            ("create", create.map(drop)),
            ("delete", delete.map(drop)),
        ] {
            let Err(error) = answer else {
                return Err(Stop::Fail(format!("{what} is answered while the engine is down")));
            };
            is_outage(what, &error)?;
            // By the fourth round the store has found that it cannot connect.
            ensure!(
                round < 3 || !error.is_ambiguous(),
                "{what} is reported as ambiguous although nothing can have been sent: {error}"
            );
        }
        ensure!(
            bounded(PATIENT, it.store.ping()).await.is_err(),
            "ping works while the engine is down"
        );
        if it.store.capabilities().listing() {
            let page = bounded(PATIENT, it.store.scan(None, 10)).await;
            ensure!(page.is_err(), "scan returns a page while the engine is down");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    it.proxy.pass();
    it.works(&key, b"one").await?;
    ensure!(
        it.truth(&other).await?.is_none(),
        "an entry that was refused while the engine was down exists now"
    );
    let answer = bounded(PATIENT, it.store.update(&key, b"two", within(HOUR), &revision)).await?;
    ensure!(answer.is_some(), "after an outage the entry can no longer be updated");
    bounded(PATIENT, it.store.ping()).await?;
    Ok(())
}

async fn engine_down_is_not_dialled_without_pause(it: &Trial) -> Verdict {
    let (key, _) = it.entry(b"one").await?;
    it.proxy.hang_up();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (before, begun) = (it.proxy.dials(), Instant::now());
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&it.store);
        callers.spawn(async move {
            while begun.elapsed() < Duration::from_secs(1) {
                drop(bounded(PATIENT, store.load(&key)).await);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    callers.join_all().await;
    let dials = it.proxy.dials() - before;
    let most = DIALS * usize::try_from(begun.elapsed().as_secs() + 1).unwrap_or(1);
    ensure!(
        dials <= most,
        "{dials} connections were opened in {:?} to a server that hangs up; pause after a failure",
        begun.elapsed()
    );
    it.proxy.pass();
    it.works(&key, b"one").await
}

async fn hanging_engine_goes_on_with_the_right_answers(it: &Trial) -> Verdict {
    let mut entries = Vec::new();
    for number in 0..8u8 {
        entries.push((it.entry(&[number; 9]).await?.0, [number; 9]));
    }
    it.proxy.hang();
    let begun = Instant::now();
    let mut calls = JoinSet::new();
    for (key, _) in &entries {
        let (store, key) = (Arc::clone(&it.store), *key);
        calls.spawn(async move { bounded(IMPATIENT, store.load(&key)).await });
    }
    for answer in calls.join_all().await {
        match answer {
            Ok(Some(_)) => {
                return Err(Stop::Fail("a read is answered while the engine hangs".to_owned()));
            }
            Ok(None) => return Err(absent("while its engine hangs")),
            Err(error) => is_outage("a read from an engine that hangs", &error)?,
        }
    }
    ensure!(begun.elapsed() < IMPATIENT * 3, "calls of a hanging engine wait for each other");
    it.proxy.pass();
    for (key, value) in &entries {
        it.works(key, value).await?;
    }
    Ok(())
}

async fn silent_connections_are_left(it: &Trial) -> Verdict {
    let (key, _) = it.entry(b"one").await?;
    // Opens as many connections as the store allows, which are idle afterwards.
    it.proxy.hang();
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&it.store);
        calls.spawn(async move { bounded(PATIENT, store.load(&key)).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    it.proxy.pass();
    drop(calls.join_all().await);
    it.proxy.black_hole();
    match bounded(IMPATIENT, it.store.load(&key)).await {
        Ok(None) => return Err(absent("behind a silent network")),
        Ok(Some(_)) => {
            return Err(Stop::Fail("a read is answered through a silent network".to_owned()));
        }
        Err(error) => is_outage("a read through a silent network", &error)?,
    }
    // The network works again, but the old connections are still silent.
    it.proxy.pass();
    it.works(&key, b"one").await
}
