//! Installing what the servers need: Debian's packages, and moto from PyPI into a folder under target/.

use crate::{Result, command};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The S3 server: conditional writes are right and race-safe in this version.
const MOTO: [&str; 3] = ["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];
const MOTO_FOLDER: &str = "moto-5.2.5";

/// Whether we may install packages here: Debian (or what is made from it), and root.
pub(crate) fn can_install() -> bool {
    is_debian() && is_root()
}

pub(crate) fn is_root() -> bool {
    command::read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists() && command::find("apt-get").is_some()
}

/// Installs Debian packages.
pub(crate) fn debian(packages: &[&str]) -> Result {
    println!("installing {}", packages.join(" "));
    for words in [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends"]] {
        let mut apt = command::program("apt-get")?;
        apt.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        if words[0] == "install" {
            apt.args(packages);
        }
        command::read(&mut apt)?;
    }
    Ok(())
}

/// The commands that somebody who may do so would type.
pub(crate) fn advice(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    if is_debian() {
        format!("as root: apt-get update && apt-get install -y --no-install-recommends {packages}")
    } else {
        format!("the equivalents of Debian's packages {packages}, or run this in a Debian container as root")
    }
}

/// Whether this Python can make a virtual environment: Debian's cannot without python3-venv.
pub(crate) fn python() -> Option<PathBuf> {
    let makes_environments =
        |python: &PathBuf| command::works(Command::new(python).args(["-c", "import venv, ensurepip"]));
    let debians = PathBuf::from("/usr/bin/python3");
    command::find("python3").into_iter().chain([debians]).find(makes_environments)
}

/// The moto server, installed once in a virtual environment under the folder of tools.
pub(crate) fn moto(tools: &Path) -> Result<Command> {
    let folder = tools.join(MOTO_FOLDER);
    let python = folder.join("bin/python3");
    // Written last: an installation that was interrupted is begun again.
    let complete = folder.join("complete");
    if !complete.is_file() {
        println!("installing {} into {}", MOTO[0], folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(tools)?;
        let maker = self::python().ok_or("no python3 that can make a virtual environment")?;
        command::read(Command::new(maker).args(["-m", "venv"]).arg(&folder))?;
        command::read(
            Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-input"]).args(MOTO),
        )?;
        fs::write(&complete, MOTO.join("\n"))?;
    }
    // Not bin/moto_server: it knows its folder by heart, and target/ may have been moved.
    let mut server = Command::new(python);
    server.args(["-m", "moto.server"]);
    Ok(server)
}
