//! Where the test servers are: environment variables that `cargo xtask test` sets.

/// The URL of a test server, from this environment variable.
///
/// `None`, with a line on standard error, when it is not set: the test has nothing to run against.
/// In CI (`CI` is set) a test that cannot run is a failure.
///
/// # Panics
/// When the variable is not set and `CI` is.
///
/// ```no_run
/// let Some(url) = mocha_session_conformance::engine_url("MOCHA_TEST_REDIS_URL") else { return };
/// ```
#[allow(
    clippy::print_stderr,
    clippy::panic,
    reason = "it speaks to whoever runs the tests, and in CI a skip is a failure"
)]
pub fn engine_url(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        let says =
            format!("{variable} is not set; `cargo xtask test` starts the servers and sets it");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{says}");
        eprintln!("NOT RUN: {says}");
    }
    url
}
