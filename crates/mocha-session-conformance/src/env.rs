//! The environment of tests: the URLs of the test servers, and tests that need their own
//! environment.

use std::process::Command;

/// Returns the URL of a test server from this environment variable.
///
/// If it is not set, the test has no server. Then [`not_run`] reports that, and the result is
/// `None`.
///
/// # Panics
/// If the variable is not set and `CI` is not empty.
///
/// ```no_run
/// let Some(url) = mocha_session_conformance::engine_url("MOCHA_TEST_REDIS_URL") else { return };
/// ```
pub fn engine_url(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        not_run(&format!(
            "{variable} is not set; `cargo xtask test` starts the servers and sets it"
        ));
    }
    url
}

/// Reports on standard error that a test cannot run here, and why.
///
/// # Panics
/// In CI (`CI` is set), where a test that cannot run is a failure.
///
/// ```no_run
/// mocha_session_conformance::not_run("redis-server is not installed");
/// ```
#[allow(
    clippy::print_stderr,
    clippy::panic,
    reason = "it reports to the developer who runs the tests, and fails in CI"
)]
pub fn not_run(why: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{why}");
    eprintln!("NOT RUN: {why}");
}

/// Runs an ignored test of the calling test program in its own process, with only these environment
/// variables. Returns the output.
///
/// It is for tests of the environment, because all threads of a process share one.
///
/// # Errors
/// If the test failed, its output. If it could not be started, the reason.
///
/// ```no_run
/// # async fn test() {
/// let environment = [("SSL_CERT_FILE", "/etc/my-authority.pem")];
/// mocha_session_conformance::rerun("opens", &environment).await.unwrap();
/// # }
/// ```
pub async fn rerun(test: &str, environment: &[(&str, &str)]) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command.env_clear().envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("the test program cannot be started: {error}"))?;
    let printed =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() { Ok(printed.concat()) } else { Err(printed.concat()) }
}
