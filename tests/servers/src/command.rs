//! Running other programs, with errors that name the command.

use crate::Result;
use cargo_metadata::{Metadata, MetadataCommand};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// A program that ran and answered with failure; its own exit code is kept.
#[derive(Debug)]
pub struct Failed {
    command: String,
    status: ExitStatus,
    says: String,
}

impl Failed {
    /// A failure of this command.
    pub fn new(command: &Command, status: ExitStatus) -> Self {
        Self { command: describe(command), status, says: String::new() }
    }

    /// The code that the program ended with, or plain failure where a signal ended it.
    pub fn code(&self) -> ExitCode {
        self.status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed ({})", self.command, self.status)?;
        if self.says.is_empty() { Ok(()) } else { write!(f, ":\n{}", self.says) }
    }
}

impl std::error::Error for Failed {}

/// The workspace's root. Cargo's word at run time comes first: a target folder shared by several
/// checkouts may hold a binary of another one.
pub fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let now = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let starts = now.iter().map(PathBuf::as_path).chain([built]);
    let root = starts.flat_map(Path::ancestors).find(|it| it.join("xtask").is_dir());
    root.unwrap_or(built).to_path_buf()
}

/// The cargo that runs us, in the workspace's root. The words are separated by spaces.
pub fn cargo(words: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words.split_whitespace()).current_dir(root());
    command
}

/// What cargo knows of the workspace: its packages, and where it builds.
pub fn workspace() -> Result<Metadata> {
    Ok(MetadataCommand::new().current_dir(root()).no_deps().exec()?)
}

/// Runs a command that speaks for itself.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(Failed::new(command, status).into()) }
}

/// Runs a command and answers what it printed; what it complained about is in the error.
pub fn read(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| cannot_start(command, &error))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    let says = if complaint.trim().is_empty() { printed } else { complaint };
    Err(Failed { says: tail(&says, 30), ..Failed::new(command, output.status) }.into())
}

/// Whether a command starts and succeeds; nothing of it is shown.
pub fn works(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Where a program is: on the path, or where Debian keeps servers, which no path leads to.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut on_path = std::env::split_paths(&path).map(|folder| folder.join(program));
    on_path.find(|file| file.is_file()).or_else(|| find_under(Path::new("/"), program))
}

/// Where a program is in a system whose root is this folder.
pub(crate) fn find_under(root: &Path, program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root.join("usr/lib/postgresql")).into_iter().flatten();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let mut postgresql: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
    postgresql.sort_by_key(number);
    // Those first, the newest first: what Debian has of them in usr/bin is a script that looks for
    // them.
    let first = postgresql.iter().rev().map(|folder| folder.join("bin"));
    let others = ["usr/local/sbin", "usr/sbin", "usr/bin"].map(|folder| root.join(folder));
    first.chain(others).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A command, its words separated by spaces, for a program that was found; or the sentence that it
/// was not.
pub fn program(words: &str) -> Result<Command> {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut command = Command::new(find(name).ok_or_else(|| format!("{name} is not installed"))?);
    command.args(words);
    Ok(command)
}

/// The version that a program says it has.
pub fn version(program: &mut Command) -> Result<String> {
    let says = read(program.arg("--version"))?;
    Ok(first_version(&says).ok_or_else(|| format!("no version in `{}`", says.trim()))?.to_owned())
}

/// The first number with a point in it.
fn first_version(says: &str) -> Option<&str> {
    let numbers = says.split(|sign: char| !sign.is_ascii_digit() && sign != '.');
    numbers.map(|number| number.trim_matches('.')).find(|number| number.contains('.'))
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The command as one would type it, without the path of its program.
fn describe(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args()).map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("`{}` could not be started: {error}", describe(command))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_keeps_its_code_and_words() {
        let error = read(Command::new("/bin/sh").args(["-c", "echo why >&2; exit 7"])).unwrap_err();
        let failed = error.downcast_ref::<Failed>().unwrap();
        assert_eq!(format!("{:?}", failed.code()), format!("{:?}", ExitCode::from(7)));
        let says = error.to_string();
        assert!(says.starts_with("`sh -c") && says.ends_with("why"), "{says}");
    }

    #[test]
    fn what_is_not_installed_is_said_by_name() {
        assert!(find("sh").is_some());
        let says = program("no-such-program --version").unwrap_err().to_string();
        assert_eq!(says, "no-such-program is not installed");
    }

    #[test]
    fn programs_say_their_version_in_many_words() {
        for (says, is) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", "7.0.15"),
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "15.14"),
            ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4"),
            ("mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu", "10.11.14"),
            ("valgrind-3.19.0", "3.19.0"),
        ] {
            assert_eq!(first_version(says), Some(is));
        }
        assert_eq!(first_version("no 1 version."), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.toml").is_file() && root().join("crates").is_dir());
        let workspace = workspace().unwrap();
        assert!(workspace.packages.iter().any(|package| package.name == "mocha-session-core"));
    }
}
