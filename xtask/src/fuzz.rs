//! `cargo xtask fuzz`: the targets of `tests/fuzz` under libFuzzer, one after the other.

use crate::{Result, command};
use std::fs;

const TARGETS: &str = "tests/fuzz/fuzz_targets";

/// Runs `[TARGET] [--minutes N]`. Without a target, runs every target, each for this many minutes.
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
    let mut targets = targets()?;
    if let Some(wanted) = wanted {
        let known = targets.join(", ");
        targets.retain(|target| target == wanted);
        if targets.is_empty() {
            return Err(format!("there is no target `{wanted}`; there are: {known}").into());
        }
    }
    if !command::works(&mut command::cargo("fuzz --version")) {
        command::run(&mut command::cargo("install --locked cargo-fuzz"))?;
    }
    for target in targets {
        println!("== {target}");
        // New inputs are written to the first folder, which git ignores. The second folder is the
        // committed corpus.
        let found = format!("tests/fuzz/corpus/{target}");
        fs::create_dir_all(command::root().join(&found))?;
        // There is no sanitizer, because there is no unsafe code to check. Assertions and overflow
        // checks are on. Coverage instrumentation uses flags, because a stable compiler accepts it
        // only in this way.
        let mut fuzz = command::cargo(&format!(
            "fuzz run --fuzz-dir tests/fuzz --sanitizer none --codegen-units 4 {target} \
             {found} tests/fuzz-targets/corpus/{target} \
             -- -max_total_time={} -timeout=20 -max_len=4096",
            minutes * 60
        ));
        command::run(fuzz.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(())
}

/// Returns the names of the targets. Each file is one target.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(command::root().join(TARGETS))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
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
