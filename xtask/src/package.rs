//! `cargo xtask package`: checks that the packages to publish are complete, and builds them from
//! their own files.

use cargo_metadata::Package;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use crate::{Result, command};

/// The files that every package must contain, in addition to its sources.
const WANTED: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// The features with which the packages are compiled, without any engine's client. The other
/// sources are the same files that clippy compiles in the workspace, and their clients take
/// minutes.
const BUILT_WITH: &str = "axum";

/// Packages every published crate, checks its required files, and compiles the small ones from
/// their packages.
pub(crate) fn run() -> Result {
    let workspace = command::workspace()?;
    let target = workspace.target_directory.as_std_path();
    // `publish = false` is an empty list of registries.
    let published =
        |it: &&Package| it.publish.as_ref().is_none_or(|registries| !registries.is_empty());
    let published: Vec<_> = workspace.packages.iter().filter(published).collect();
    let chosen = published.iter().flat_map(|it| ["-p", it.name.as_str()]);
    command::run(command::cargo("package --quiet --allow-dirty --no-verify").args(chosen))?;

    let folder = target.join("package-check");
    fs::remove_dir_all(&folder).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    fs::create_dir_all(&folder)?;
    let mut manifest =
        String::from("[workspace]\nresolver = \"3\"\nmembers = [\"mocha-session*\"]\n");
    manifest.push_str("[patch.crates-io]\n");
    for package in &published {
        let name = format!("{}-{}", package.name, package.version);
        let archive = target.join("package").join(format!("{name}.crate"));
        command::run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&folder))?;
        let files = fs::read_dir(folder.join(&name))?.flatten().map(|it| it.file_name());
        let missing = missing(&files.collect()).join(", ");
        if !missing.is_empty() {
            return Err(format!("the package of {} lacks {missing}", package.name).into());
        }
        writeln!(manifest, "{} = {{ path = \"{name}\" }}", package.name)?;
    }
    println!("package: {} crates, each with its licences and its README", published.len());

    // The versions and profiles of the workspace, so that existing build results are reused.
    let ours = fs::read_to_string(command::root().join("Cargo.toml"))?;
    manifest.extend(ours.find("[profile.dev]").map(|start| &ours[start..]));
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::copy(command::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let mut check = command::cargo("check --quiet -p mocha-session -p mocha-session-conformance");
    check.args(["--features", BUILT_WITH]).current_dir(&folder);
    command::run(check.env("CARGO_TARGET_DIR", target))?;
    println!("package: core, memory, tower, conformance and the facade build from their packages");
    Ok(())
}

fn missing(there: &BTreeSet<std::ffi::OsString>) -> Vec<&'static str> {
    WANTED.into_iter().filter(|name| !there.contains(std::ffi::OsStr::new(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_its_licence_is_found() {
        let there = ["Cargo.toml", "LICENSE-MIT", "README.md", "src"].map(Into::into).into();
        assert_eq!(missing(&there), ["LICENSE-APACHE"]);
        assert!(missing(&WANTED.map(Into::into).into()).is_empty());
    }
}
