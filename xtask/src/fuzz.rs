//! `cargo xtask fuzz`: the targets of `tests/fuzz` under libFuzzer, one after the other.

use std::fs;
use std::process::Command;

use crate::{Result, command};

const FOLDER: &str = "tests/fuzz";
const TARGETS: &str = "tests/fuzz/fuzz_targets";
const CORPUS: &str = "tests/fuzz-targets/corpus";

/// `[TARGET] [--minutes N]`; without a target every one, for so many minutes each.
pub(crate) fn run(args: &[&str]) -> Result {
    let (mut wanted, mut minutes) = (None, 1_u64);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--minutes" => minutes = args.next().ok_or("--minutes needs a number")?.parse()?,
            target if wanted.is_none() => wanted = Some(target),
            other => return Err(format!("`{other}` is one argument too many").into()),
        }
    }
    let known = targets()?;
    let targets = match wanted {
        None => known,
        Some(target) if known.iter().any(|own| own == target) => vec![target.to_owned()],
        Some(other) => {
            return Err(
                format!("there is no target `{other}`; there are: {}", known.join(", ")).into()
            );
        }
    };
    if !command::works(&mut command::cargo(&["fuzz", "--version"])) {
        command::run(&mut command::cargo(&["install", "--locked", "cargo-fuzz"]))?;
    }
    for target in targets {
        println!("== {target}");
        fs::create_dir_all(command::root().join(FOLDER).join("corpus").join(&target))?;
        command::run(&mut fuzz(&target, minutes * 60))?;
    }
    Ok(())
}

/// The names of the targets: every file is one.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(command::root().join(TARGETS))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn fuzz(target: &str, seconds: u64) -> Command {
    let mut command = command::cargo(&["fuzz", "run", "--fuzz-dir", FOLDER]);
    // No sanitizer: there is no unsafe code to watch, and assertions and overflow checks are on.
    command.args(["--sanitizer", "none", "--codegen-units", "4", target]);
    // What is new goes into the first folder, which git ignores; the second is the committed
    // corpus.
    command.args([format!("{FOLDER}/corpus/{target}"), format!("{CORPUS}/{target}")]);
    command.arg("--").args([
        format!("-max_total_time={seconds}"),
        "-timeout=20".into(),
        "-max_len=4096".into(),
    ]);
    // Coverage is instrumented by flags that a stable compiler takes only so.
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_target_is_found_and_a_stranger_is_refused_by_name() {
        assert!(targets().unwrap().contains(&"cookies".to_owned()));
        let says = run(&["cookie"]).unwrap_err().to_string();
        assert!(says.contains("`cookie`") && says.contains("cookies"), "{says}");
        assert!(run(&["--minutes"]).is_err() && run(&["cookies", "urls"]).is_err());
    }
}
