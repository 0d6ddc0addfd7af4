//! Tools for a store's own tests: keys and expiries, whole scans and sweeps, calls that work in the
//! end, all that an error shows or the trace says, and a server that a test may kill.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "where a tool fails, the test fails"
)]

use std::fmt;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use mocha_session_core::store::{Expiry, SessionStore, StorageKey, SweepReport};
use mocha_session_core::{Driver, Error, ErrorKind, Registry, Result};

use crate::not_run;
use crate::subject::{HOUR, within};
pub use crate::trace::Trace;

/// A host name that fails to resolve at once: a label has at most 63 characters (RFC 1035), so no
/// name server is asked, whose answer can get lost.
pub const NO_SUCH_HOST: &str =
    "a-name-that-no-resolver-is-asked-for-because-its-label-is-too-long.invalid";

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Returns a key that no one has used.
pub fn fresh_key() -> StorageKey {
    StorageKey::from_bytes(std::array::from_fn(|_| fastrand::u8(..)))
}

/// Returns the expiry of an entry that lives for an hour from now.
pub fn hour() -> Expiry {
    within(HOUR)
}

/// Returns every key that a scan in pages of `limit` finds.
///
/// # Errors
/// The first error of the store.
pub async fn scan_all(
    store: &(impl SessionStore + ?Sized),
    limit: usize,
) -> Result<Vec<StorageKey>> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = store.scan(cursor, limit).await?;
        cursor = page.next().cloned();
        keys.extend(page.into_entries().into_iter().map(|(key, _)| key));
        if cursor.is_none() {
            return Ok(keys);
        }
    }
}

/// Sweeps to the end in pages of `limit`, and returns the report of each.
///
/// # Errors
/// The first error of the store.
pub async fn sweep_all(
    store: &(impl SessionStore + ?Sized),
    now: SystemTime,
    limit: usize,
) -> Result<Vec<SweepReport>> {
    let (mut reports, mut cursor) = (Vec::new(), None);
    loop {
        let report = store.sweep(now, cursor, limit).await?;
        cursor = report.next().cloned();
        reports.push(report);
        if cursor.is_none() {
            return Ok(reports);
        }
    }
}

/// Calls until it works, for forty seconds: after a failure a store pauses before it dials again.
pub async fn eventually<T, E: fmt::Display>(
    what: &str,
    mut call: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let begun = Instant::now();
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asserts that an error is of this kind, and that its text has each of these words.
#[track_caller]
pub fn assert_says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    let missing = words.iter().find(|word| !text.contains(**word));
    assert!(missing.is_none(), "no {missing:?} in: {text}");
}

/// Returns all that an error shows, with its causes, to look for what must not be shown.
pub fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    all.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join(" ")
}

/// Checks that a driver reads the good URLs, and refuses each of the others by an error of
/// configuration that has its word and does not show `hunter2`, the password to use in them.
///
/// ```
/// # const DRIVER: mocha_session_core::Driver =
/// #     mocha_session_core::Driver::new(&["mine"], |url| Err(url.refuse("it names no host")));
/// mocha_session_conformance::tools::check_urls(DRIVER, &[], &[("mine://", "names no host")]);
/// ```
pub fn check_urls(driver: Driver, good: &[&str], refused: &[(&str, &str)]) {
    let registry = Registry::new().register(driver);
    for url in good {
        registry.check(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
    for (url, word) in refused {
        let error = registry.check(url).expect_err(url);
        assert!(error.is_invalid_config() && error.to_string().contains(word), "{url}: {error}");
        assert!(!shown(&error).contains("hunter2"), "{error:?}");
    }
}

/// Returns a port of this machine that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A server of one test's own, on a port of this machine. It is killed when this is dropped.
///
/// ```no_run
/// use mocha_session_conformance::tools::{Server, free_port};
/// use std::process::Command;
///
/// let port = free_port();
/// let started = Server::start(port, move || {
///     let mut command = Command::new("redis-server");
///     command.args(["--port", &port.to_string()]);
///     command
/// });
/// let Some(mut server) = started else { return };
/// server.kill();
/// server.restart();
/// ```
pub struct Server {
    child: Child,
    port: u16,
    command: Box<dyn Fn() -> Command + Send + Sync>,
}

impl Server {
    /// Starts the server that `command` makes, which must listen on `port`, and waits until it
    /// does.
    ///
    /// `None` where the program is not installed, after [`not_run`] has reported it.
    pub fn start(port: u16, command: impl Fn() -> Command + Send + Sync + 'static) -> Option<Self> {
        match spawn(port, &mut command()) {
            Ok(child) => Some(Self { child, port, command: Box::new(command) }),
            Err(error) => {
                let program = command().get_program().to_string_lossy().into_owned();
                not_run(&format!("{program} cannot be started ({error}); is it installed?"));
                None
            }
        }
    }

    /// Returns the port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address, as `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Ends it without warning, as a crash does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the same server again, after [`kill`](Self::kill).
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &mut (self.command)()).unwrap();
    }

    /// Sends a signal, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("port", &self.port).finish_non_exhaustive()
    }
}

fn spawn(port: u16, command: &mut Command) -> std::io::Result<Child> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let ended = child.try_wait()?;
        assert!(ended.is_none(), "{command:?} ended with {ended:?}");
        assert!(begun.elapsed() < PATIENCE, "{command:?} does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}
