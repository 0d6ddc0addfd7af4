//! Runs the cases: each as a test, or all of them into a report.

use std::any::Any;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mocha_session_core::store::SessionStore;

use crate::cases::{CASES, Case};
use crate::faults::{FAULTS, Trial};
use crate::report::{Finding, Outcome, Report};
use crate::subject::{Opener, Stop, Subject};

/// The time limit of a case, so that a call that never returns fails instead of blocking the test
/// run. On a working engine, no case needs a tenth of it.
const LONGEST_CASE: Duration = Duration::from_secs(120);

/// Runs every case on `store`, one after the other, and returns a report.
///
/// It is for tools and custom tests. Under `cargo test`, [`suite!`](crate::suite) is more
/// convenient. Call it on a Tokio runtime, and on a multi-threaded one for real races. The cases
/// use new random keys and remove them, so other live data in the engine is safe. A sweep removes
/// every expired entry.
///
/// ```
/// use std::sync::Arc;
/// use mocha_session_core::store::SessionStore;
///
/// async fn check(store: Arc<dyn SessionStore>) {
///     let report = mocha_session_conformance::run(&store).await;
///     assert!(report.is_ok(), "{report}");
/// }
/// ```
pub async fn run<S: SessionStore + ?Sized>(store: &Arc<S>) -> Report {
    let store: Arc<dyn SessionStore> = Arc::new(Arc::clone(store));
    let mut findings = Vec::with_capacity(CASES.len());
    for case in CASES {
        let start = Instant::now();
        let outcome = judge_store(case, Subject::new(Arc::clone(&store), None)).await;
        findings.push(Finding::new(case.name, outcome, start.elapsed()));
    }
    Report::new(store.capabilities().engine(), findings)
}

/// Returns the outcome of one case on stores that `open` returns, for the suite's own tests.
#[doc(hidden)]
pub async fn outcome<O, F, S>(name: &str, open: O) -> Outcome
where
    O: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Option<S>> + Send + 'static,
    S: SessionStore,
{
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        return Outcome::Failed(format!("there is no conformance case `{name}`"));
    };
    let open: Opener = Arc::new(move || {
        let opening = open();
        Box::pin(async move { opening.await.map(|store| Arc::new(store) as Arc<dyn SessionStore>) })
    });
    match open().await {
        Some(store) => judge_store(case, Subject::new(store, Some(Arc::clone(&open)))).await,
        None => not_available(),
    }
}

/// Returns the outcome of one fault on an engine at the address that `server` returns.
#[doc(hidden)]
pub async fn fault_outcome<V, VF, O, OF, S>(name: &str, server: V, open: O) -> Outcome
where
    V: Fn() -> VF,
    VF: Future<Output = Option<String>>,
    O: Fn(String) -> OF,
    OF: Future<Output = S> + Send + 'static,
    S: SessionStore,
{
    let Some(case) = FAULTS.iter().find(|case| case.name == name) else {
        return Outcome::Failed(format!("there is no fault `{name}`"));
    };
    let Some(server) = server().await else { return not_available() };
    match Trial::open(server, |address| Box::pin(open(address))).await {
        Ok(trial) => {
            let trial = Arc::new(trial);
            let outcome = judge(case, Arc::clone(&trial)).await;
            trial.clean_up().await;
            outcome
        }
        Err(Stop::Fail(why)) => Outcome::Failed(why),
        Err(Stop::Skip(why)) => Outcome::Skipped(why),
    }
}

fn not_available() -> Outcome {
    Outcome::Skipped("the engine is not available here".to_owned())
}

/// Returns the names of all cases of [`faults!`](crate::faults).
///
/// ```
/// assert!(mocha_session_conformance::fault_names().any(|name| name ==
/// "silent_connections_are_left"));
/// ```
pub fn fault_names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|case| case.name)
}

/// Returns the names of all cases, in the order in which they run.
///
/// ```
/// assert!(mocha_session_conformance::case_names().any(|name| name == "one_of_many_creates_wins"));
/// ```
pub fn case_names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

/// Runs one case on its own runtime and panics if it fails. It is the body of each test that
/// `suite!` makes.
#[doc(hidden)]
pub fn prove<O, F, S>(module: &str, name: &str, open: O)
where
    O: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Option<S>> + Send + 'static,
    S: SessionStore,
{
    conclude(module, name, outcome(name, open));
}

/// Runs one fault on its own runtime and panics if it fails. It is the body of each test that
/// `faults!` makes.
#[doc(hidden)]
pub fn prove_fault<V, VF, O, OF, S>(module: &str, name: &str, server: V, open: O)
where
    V: Fn() -> VF,
    VF: Future<Output = Option<String>>,
    O: Fn(String) -> OF,
    OF: Future<Output = S> + Send + 'static,
    S: SessionStore,
{
    conclude(module, name, fault_outcome(name, server, open));
}

#[allow(clippy::panic, reason = "this is how a test fails")]
fn conclude(module: &str, name: &str, case: impl Future<Output = Outcome>) {
    // Four workers even on one core, so that races interleave.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime for the test: {error}"));
    let outcome = runtime.block_on(case);
    // A client's thread that never ends must not block the test.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let module = module.split_once("::").map_or(module, |(_, module)| module);
    log(&format!("{}\t{module}::{name}\t{}\n", outcome.word(), outcome.reason()));
    match outcome {
        Outcome::Passed => {}
        // `eprintln!` is captured by the test harness, but a skip must be visible.
        Outcome::Skipped(why) => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: {module}::{name}: {why}");
        }
        Outcome::Failed(why) => panic!("conformance case `{name}` failed: {why}"),
    }
}

async fn judge_store(case: &Case<Subject>, subject: Subject) -> Outcome {
    let subject = Arc::new(subject);
    let outcome = judge(case, Arc::clone(&subject)).await;
    subject.clean_up().await;
    outcome
}

async fn judge<T>(case: &Case<T>, subject: Arc<T>) -> Outcome {
    let mut task = tokio::spawn((case.run)(subject));
    match tokio::time::timeout(LONGEST_CASE, &mut task).await {
        Ok(Ok(Ok(()))) => Outcome::Passed,
        Ok(Ok(Err(Stop::Skip(why)))) => Outcome::Skipped(why),
        Ok(Ok(Err(Stop::Fail(why)))) => Outcome::Failed(why),
        Ok(Err(broken)) => Outcome::Failed(match broken.try_into_panic() {
            Ok(panic) => format!("the store panicked: {}", panic_text(&*panic)),
            Err(cancelled) => cancelled.to_string(),
        }),
        Err(_) => {
            task.abort();
            Outcome::Failed(format!("no end after {} s: a call hangs", LONGEST_CASE.as_secs()))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// Adds a line to the file that `MOCHA_CONFORMANCE_LOG` names, for a table over several engines and
/// processes.
fn log(line: &str) {
    let Some(path) = std::env::var_os("MOCHA_CONFORMANCE_LOG").filter(|path| !path.is_empty())
    else {
        return;
    };
    // One write in append mode, so that lines of several processes do not mix.
    let written = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Err(error) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
        let _ = writeln!(std::io::stderr(), "MOCHA_CONFORMANCE_LOG cannot be written: {error}");
    }
}
