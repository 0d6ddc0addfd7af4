//! `cargo xtask ci`: runs every check that protects main, the fast ones first. Also contains the
//! commands that only call a tool.

use crate::{Result, features, package, suite, tidy};
use mocha_session_servers::command::{self, cargo, run as run_it};
use mocha_session_servers::install::CARGO_DENY;
use std::process::Command;
use std::time::Instant;

type Step = (&'static str, fn() -> Result);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("docs", docs),
    ("package", package::run),
    ("deny", deny),
    ("features", features::run),
    // The cost of a request must not increase unnoticed. Only reproducible figures are checked.
    ("bench", || bench(&["--check"])),
];

/// Runs every step. The tests run last, so that the test runner's summary is the end of the output.
pub(crate) fn run() -> Result {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let start = Instant::now();
        step().map_err(|error| format!("{name}: {error}"))?;
        let time = format!("{name} {:.0} s", start.elapsed().as_secs_f32());
        println!("== {time}");
        times.push(time);
    }
    println!("\n== test (before it: {})", times.join(", "));
    suite::test(&[])
}

/// Lists the files that `cargo fmt` would change, including workspaces that no other check covers.
fn fmt() -> Result {
    run_it(&mut cargo("fmt --all -- --check -l"))?;
    ["bench-peers", "fuzz", "take-over-sqlx"].iter().try_for_each(|apart| {
        run_it(&mut cargo(&format!("fmt --manifest-path tests/{apart}/Cargo.toml -- --check -l")))
    })
}

fn clippy() -> Result {
    run_it(&mut cargo("clippy --quiet --workspace --all-targets --all-features -- -D warnings"))?;
    run_it(suite::apart("clippy --quiet --all-targets")?.args(["--", "-D", "warnings"]))
}

/// Builds the documentation as docs.rs does: with all features and without dependencies.
pub(crate) fn docs() -> Result {
    // With an example among the targets, cargo selects the same features of the dependencies as in
    // clippy's run, and does not check them again.
    let mut doc = cargo("doc --quiet --workspace --no-deps --all-features --lib --bins --examples");
    // They compile the sources of others under the same names.
    for copy in ["core-mutants", "simulator-planted", "browser"] {
        doc.arg("--exclude").arg(format!("mocha-session-{copy}"));
    }
    run_it(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Checks the dependencies' licences, sources and bans by deny.toml, which needs no network. Checks
/// advisories if their database can be fetched.
pub(crate) fn deny() -> Result {
    let tool = command::find("cargo-deny").map_or_else(|| CARGO_DENY.program(), Ok)?;
    let deny = |words: &str| {
        let mut command = Command::new(&tool);
        command.arg("--workspace").args(words.split_whitespace()).current_dir(command::root());
        command
    };
    run_it(&mut deny("check --hide-inclusion-graph bans licenses sources"))?;
    // The database is a git repository, which a closed network cannot reach. An earlier copy is
    // used then.
    match command::read(&mut deny("fetch db")) {
        Ok(_) => run_it(&mut deny("check advisories")),
        Err(error) => {
            let text = error.to_string();
            let why = text.lines().rev().find(|line| line.starts_with("fatal:")).unwrap_or(&text);
            println!("NOT CHECKED: advisories, for their database could not be fetched: {why}");
            Ok(())
        }
    }
}

/// Builds the simulator with optimisations and runs it with the arguments. Its exit code is 1 if an
/// invariant was violated.
pub(crate) fn prove(args: &[&str]) -> Result {
    run_it(cargo("run --quiet --release --package mocha-session-simulator --").args(args))
}

/// Builds the benchmark's driver and this library's workers, and runs the driver with the
/// arguments.
pub(crate) fn bench(args: &[&str]) -> Result {
    if !cfg!(target_os = "linux") {
        return Err("the benchmark needs Linux: it reads /proc and runs valgrind".into());
    }
    // Of the engines' clients, the figures that are checked need only that of Redis.
    let features = if args.contains(&"--check") { "driver,redis" } else { "driver,engines" };
    let mut build = cargo("build --release --package mocha-session-bench --features");
    run_it(build.arg(features))?;
    let driver = command::workspace()?.target_directory.join("release/bench");
    run_it(Command::new(driver).args(args))
}
