//! `cargo xtask test`: runs all tests against real servers.

use crate::{Result, command};
use mocha_session_servers::Servers;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Builds, starts the servers, runs the doctests and then the tests, and always stops the servers.
///
/// The tests run last, so that the test runner's summary is the end of the output.
pub(crate) fn test(args: &[&str]) -> Result {
    let runner = Runner::pick();
    // Built first, because a compile error needs no servers, and the servers need not wait for the
    // build.
    command::run(&mut runner.command(args, true))?;
    let servers = Servers::for_tests()?;
    let mut counts = Counts::default();
    let mut run = |mut command: Command| {
        command.envs(servers.variables().iter().map(|(name, value)| (name, value)));
        if runner == Runner::CargoTest { counts.run(command) } else { command::run(&mut command) }
    };
    let others = if args.is_empty() { run(doctests()).and(run(apart("test -q")?)) } else { Ok(()) };
    let tests = run(runner.command(args, false));
    if runner == Runner::CargoTest {
        let Counts { passed, failed, ignored } = counts;
        println!("\n{passed} passed, {failed} failed, {ignored} skipped");
    }
    servers.stop().and(others).and(tests)
}

#[derive(Clone, Copy, PartialEq)]
enum Runner {
    Nextest,
    CargoTest,
}

impl Runner {
    fn pick() -> Self {
        let is_there = command::works(&mut command::cargo("nextest --version"));
        if is_there { Self::Nextest } else { Self::CargoTest }
    }

    fn command(self, args: &[&str], build_only: bool) -> Command {
        let mut command = match self {
            Self::Nextest => command::cargo("nextest run"),
            Self::CargoTest => command::cargo("test --tests --examples"),
        };
        // nextest does not accept an option about failures when it runs nothing.
        command.args(["--all-features", if build_only { "--no-run" } else { "--no-fail-fast" }]);
        if !args.iter().any(|arg| *arg == "-p" || arg.starts_with("--package")) {
            command.arg("--workspace");
        }
        command.args(args);
        command
    }
}

fn doctests() -> Command {
    command::cargo("test --quiet --workspace --all-features --doc --no-fail-fast")
}

/// Cargo in a workspace whose SQLite client would hold this library's at an older release.
pub(crate) fn apart(words: &str) -> Result<Command> {
    let mut it = command::cargo(words);
    it.args(["--locked", "--manifest-path", "tests/take-over-sqlx/Cargo.toml"]);
    it.env("CARGO_TARGET_DIR", command::workspace()?.target_directory);
    Ok(it)
}

/// The totals of a `cargo test` with several binaries. Each binary prints only its own summary.
#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Runs a command, prints its output, and counts the results in it.
    fn run(&mut self, mut command: Command) -> Result {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        if let Some(output) = child.stdout.take() {
            let mut shown = std::io::stdout().lock();
            for line in BufReader::new(output).split(b'\n') {
                let line = line?;
                shown.write_all(&line)?;
                shown.write_all(b"\n")?;
                self.add(&String::from_utf8_lossy(&line));
            }
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(command::Failed::new(&command, status).into()) }
    }

    fn add(&mut self, line: &str) {
        let Some(results) = line.strip_prefix("test result: ") else { return };
        for part in results.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (number, word) =
                (words.next().and_then(|number| number.parse::<u64>().ok()), words.next());
            match (number, word) {
                (Some(number), Some("passed")) => self.passed += number,
                (Some(number), Some("failed")) => self.failed += number,
                (Some(number), Some("ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_all_binaries_are_added_up() {
        let mut counts = Counts::default();
        counts.add("running 3 tests");
        counts.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.10s",
        );
        counts.add("test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s");
        assert_eq!(counts, Counts { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_chosen_package_replaces_the_workspace() {
        let words = |args: &[&str]| {
            let command = Runner::Nextest.command(args, false);
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert!(words(&[]).contains(&"--workspace".to_owned()));
        assert!(words(&["rotate"]).ends_with(&["--workspace".to_owned(), "rotate".to_owned()]));
        assert!(!words(&["-p", "mocha-session-redis"]).contains(&"--workspace".to_owned()));
    }
}
