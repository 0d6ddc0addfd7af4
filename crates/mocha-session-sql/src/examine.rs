//! Examines a server and the table for what is dangerous to sessions, for operators.

#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "_sqlite")]
pub(crate) mod sqlite;

/// Compares the server's clock with this machine's. `since` is when the server was asked.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn clock(since: std::time::SystemTime, server_millis: i64) -> mocha_session_core::store::Finding {
    use std::time::{Duration, SystemTime};

    use mocha_session_core::store::Finding;

    let server = Duration::from_millis(u64::try_from(server_millis).unwrap_or_default());
    Finding::of_clock(since, SystemTime::UNIX_EPOCH + server, SystemTime::now())
}

/// A size for people.
fn mib(bytes: i64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}
