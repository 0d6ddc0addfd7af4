//! Runs other programs, with errors that name the command.

use crate::Result;
use cargo_metadata::{Metadata, MetadataCommand};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// The failure of a program. It keeps the program's exit code.
#[derive(Debug)]
pub struct Failed {
    command: String,
    status: ExitStatus,
    says: String,
}

impl Failed {
    /// Creates the failure of this command.
    pub fn new(command: &Command, status: ExitStatus) -> Self {
        Self { command: describe(command), status, says: String::new() }
    }

    /// Returns the program's exit code, or a general failure if a signal ended the program.
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

/// Returns the workspace's root. Cargo's run-time variable comes first, because a target folder
/// that several checkouts share may contain a binary of another one.
pub fn root() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let now = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let starts = now.iter().map(PathBuf::as_path).chain([built]);
    let root = starts.flat_map(Path::ancestors).find(|it| it.join("xtask").is_dir());
    root.unwrap_or(built).to_path_buf()
}

/// Creates a command for the cargo that runs this program, in the workspace's root. The words are
/// separated by spaces.
pub fn cargo(words: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words.split_whitespace()).current_dir(root());
    command
}

/// Returns cargo's metadata of the workspace: its packages and its target folder.
pub fn workspace() -> Result<Metadata> {
    Ok(MetadataCommand::new().current_dir(root()).no_deps().exec()?)
}

/// Runs a command and shows its output.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(Failed::new(command, status).into()) }
}

/// Runs a command and returns its output. The error contains its standard error.
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

/// Returns whether a command starts and succeeds. Its output is not shown.
pub fn works(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Returns the path of a program: on `PATH`, or where Debian installs servers, which is not on
/// `PATH`.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut on_path = std::env::split_paths(&path).map(|folder| folder.join(program));
    on_path.find(|file| file.is_file()).or_else(|| find_under(Path::new("/"), program))
}

/// Returns the path of a program in a system with this root folder.
pub(crate) fn find_under(root: &Path, program: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root.join("usr/lib/postgresql")).into_iter().flatten();
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let mut postgresql: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
    postgresql.sort_by_key(number);
    // These come first, the newest first. Debian's files in usr/bin are scripts that search for
    // them.
    let first = postgresql.iter().rev().map(|folder| folder.join("bin"));
    let others = ["usr/local/sbin", "usr/sbin", "usr/bin"].map(|folder| root.join(folder));
    first.chain(others).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Creates a command from words separated by spaces. The error states that the program was not
/// found.
pub fn program(words: &str) -> Result<Command> {
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut command = Command::new(find(name).ok_or_else(|| format!("{name} is not installed"))?);
    command.args(words);
    Ok(command)
}

/// Returns the version that a program reports.
pub fn version(program: &mut Command) -> Result<String> {
    let says = read(program.arg("--version"))?;
    Ok(first_version(&says).ok_or_else(|| format!("no version in `{}`", says.trim()))?.to_owned())
}

/// Returns the first number that contains a point.
fn first_version(says: &str) -> Option<&str> {
    let numbers = says.split(|sign: char| !sign.is_ascii_digit() && sign != '.');
    numbers.map(|number| number.trim_matches('.')).find(|number| number.contains('.'))
}

/// Returns the last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Returns the command as typed in a shell, without the program's path.
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
