//! The project's own commands: `cargo xtask …`.
//!
//! There is one module per command that does more than start a tool. `house` lists the workspace's
//! parts and their allowed dependencies. This crate has few dependencies, because it is compiled
//! before all others.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to whoever runs it"
)]

mod ci;
mod features;
mod floors;
mod fuzz;
mod house;
mod package;
mod suite;
mod tidy;

use mocha_session_servers::{self as servers, Result, command};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test [-- ARGS]   install what is missing, start every server, run all tests and doctests, stop
                   the servers; ARGS go to the test runner (`-- -p mocha-session-redis rotate`) and
                   leave the doctests out
  services up|down|env|status
                   the servers alone, while you work: eval \"$(cargo xtask services env)\"
  ci               everything that guards main: fmt, tidy, clippy, docs, package, deny, features,
                   bench --check, test
  features         prove what each crate and each feature pulls in
  package          what would be published is whole; the light crates are compiled from their
                   packages
  tidy             the rules of the house that no compiler checks (also a test)
  bench [--quick] [--ours] [--only SUBSTRING] [--unbound] [--out PATH]
                   what a session costs, here (`--ours`) and in other libraries; PATH.md and
                   PATH.json keep it; `--quick` is shorter; `--unbound`: one task on any core
  bench --summary JSON...
                   the least and the greatest of each ratio in several runs, and the goals
  bench --check [--write]
                   instructions, allocations and round trips against tests/bench/baseline.json;
                   `--write` writes them down
  prove [--minutes N] [--seed S]
                   the core under every schedule: all pairs of operations without faults and with
                   one fault at every point, then chance for N minutes (1); prints the shortest
                   schedule of what breaks
  fuzz [TARGET] [--minutes N]
                   what comes from outside (cookies, records, values, URLs, XML) and sequences of
                   operations under libFuzzer, N minutes (1) per target; installs cargo-fuzz where
                   it is missing
  deny             licences, sources and bans of the dependencies, advisories where they can be
                   fetched
  docs             the documentation as docs.rs builds it, warnings being errors

Installing needs Debian and root; elsewhere you are told what to install and which tests could not
run. Servers and the benchmark need Linux.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = servers::guard().unwrap_or_else(|| match words.as_slice() {
        ["test"] => suite::test(&[]),
        ["test", "--", rest @ ..] => suite::test(rest),
        ["services", what] => servers::services(what),
        ["bench", rest @ ..] => ci::bench(rest),
        ["ci"] => ci::run(),
        ["features"] => features::run(),
        ["package"] => package::run(),
        ["prove", rest @ ..] => ci::prove(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["tidy"] => tidy::run(),
        ["deny"] => ci::deny(),
        ["docs"] => ci::docs(),
        [] | ["help" | "-h" | "--help"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => {
            eprintln!("error: no such command: {}\n\n{HELP}", words.join(" "));
            std::process::exit(2)
        }
    });
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    error.downcast_ref::<command::Failed>().map_or(ExitCode::FAILURE, command::Failed::code)
}
