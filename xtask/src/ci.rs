//! `cargo xtask ci`: everything that guards main, the quick checks first.

use crate::{Result, bench, command, deny, features, package, suite, tidy};
use std::time::Instant;

type Step = (&'static str, fn() -> Result);

const STEPS: &[Step] = &[
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("docs", docs),
    ("package", package::run),
    ("deny", deny::run),
    ("features", features::run),
    ("bench", cost),
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

fn fmt() -> Result {
    // The names of the files, not every line: `cargo fmt` will mend them.
    command::run(&mut command::cargo(&["fmt", "--all", "--", "--check", "-l"]))?;
    // Workspaces of their own, which nothing else here looks at.
    for manifest in ["tests/bench-peers/Cargo.toml", "tests/fuzz/Cargo.toml"] {
        command::run(&mut command::cargo(&[
            "fmt",
            "--manifest-path",
            manifest,
            "--",
            "--check",
            "-l",
        ]))?;
    }
    Ok(())
}

fn clippy() -> Result {
    let args = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ];
    command::run(&mut command::cargo(&args))
}

/// What a request costs must not get worse unnoticed: the figures that come out the same each time.
fn cost() -> Result {
    bench::run(&["--check"])
}

/// The documentation as docs.rs builds it: all features, dependencies left out.
pub(crate) fn docs() -> Result {
    // With an example among its targets cargo gives the dependencies the features that clippy's
    // run has given them, and what that has checked is not checked again.
    let args = [
        "doc",
        "--quiet",
        "--workspace",
        "--no-deps",
        "--all-features",
        "--lib",
        "--bins",
        "--examples",
    ];
    // The same sources under the same names, compiled with planted bugs.
    let planted =
        ["--exclude", "mocha-session-core-mutants", "--exclude", "mocha-session-simulator-planted"];
    command::run(command::cargo(&args).args(planted).env("RUSTDOCFLAGS", "-D warnings"))
}
