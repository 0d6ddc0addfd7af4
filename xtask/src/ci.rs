//! `cargo xtask ci`: everything that guards main, the quick checks first; and the commands that are
//! little more than a tool with its arguments.

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
    // What a request costs must not get worse unnoticed: the figures that come out the same each
    // time.
    ("bench", || bench(&["--check"])),
];

/// Runs every step, and the tests last: their runner's closing lines are the last of the output.
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

/// Names the files that `cargo fmt` would change, also in workspaces that nothing else here looks
/// at.
fn fmt() -> Result {
    let all = [
        "--all",
        "--manifest-path tests/bench-peers/Cargo.toml",
        "--manifest-path tests/fuzz/Cargo.toml",
    ];
    all.iter().try_for_each(|which| run_it(&mut cargo(&format!("fmt {which} -- --check -l"))))
}

fn clippy() -> Result {
    run_it(&mut cargo("clippy --quiet --workspace --all-targets --all-features -- -D warnings"))
}

/// The documentation as docs.rs builds it: all features, dependencies left out.
pub(crate) fn docs() -> Result {
    // With an example among its targets cargo gives the dependencies the features that clippy's
    // run has given them, and what that has checked is not checked again.
    let mut doc = cargo("doc --quiet --workspace --no-deps --all-features --lib --bins --examples");
    // The same sources under the same names, compiled with planted bugs.
    doc.args(["--exclude", "mocha-session-core-mutants"]);
    doc.args(["--exclude", "mocha-session-simulator-planted"]);
    run_it(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Checks licences, sources and bans of the dependencies (rules in deny.toml), which needs no
/// network, then advisories where their database can be fetched.
pub(crate) fn deny() -> Result {
    let tool = command::find("cargo-deny").map_or_else(|| CARGO_DENY.program(), Ok)?;
    let deny = |words: &str| {
        let mut command = Command::new(&tool);
        command.arg("--workspace").args(words.split_whitespace()).current_dir(command::root());
        command
    };
    run_it(&mut deny("check --hide-inclusion-graph bans licenses sources"))?;
    // The database is a git repository, which a closed network doesn't reach; what was fetched once
    // still serves.
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

/// Builds the simulator to be fast and hands it the arguments; its exit code is 1 where a promise
/// was broken.
pub(crate) fn prove(args: &[&str]) -> Result {
    run_it(cargo("run --quiet --release --package mocha-session-simulator --").args(args))
}

/// Builds the benchmark's driver and this library's workers, and hands the driver the arguments.
pub(crate) fn bench(args: &[&str]) -> Result {
    if !cfg!(target_os = "linux") {
        return Err("the benchmark needs Linux: it reads processor times from /proc, counts \
            instructions with valgrind, and starts servers"
            .into());
    }
    // The figures that are checked need no engine's client.
    let features = if args.contains(&"--check") { "driver,ours" } else { "driver,engines" };
    let mut build = cargo("build --release --package mocha-session-bench --features");
    run_it(build.arg(features))?;
    let driver = command::workspace()?.target_directory.join("release/bench");
    run_it(Command::new(driver).args(args))
}
