//! Where measurements happen: the programs that were built, the servers that were started, the
//! files of SQLite.

use super::subjects::{Engine, Program, Subject};
use crate::services::Running;
use crate::{Result, command, services};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// How the names of folders of single runs begin.
const RUN: &str = "run-";

/// The binaries of this library's side and, where they were built, of the peers'.
#[derive(Debug)]
pub(crate) struct Programs {
    ours: PathBuf,
    peers: Option<PathBuf>,
}

impl Programs {
    /// This library's side alone, with these features.
    pub(crate) fn ours(target: &Path, features: &str) -> Result<Self> {
        let args =
            ["build", "--release", "--package", "mocha-session-bench", "--features", features];
        command::run(&mut command::cargo(&args))?;
        Ok(Self { ours: target.join("release"), peers: None })
    }

    /// The peers too: a workspace of its own with a target folder of its own.
    pub(crate) fn all(target: &Path) -> Result<Self> {
        let folder = target.join("bench-peers");
        let mut cargo = command::cargo(&[
            "build",
            "--release",
            "--manifest-path",
            "tests/bench-peers/Cargo.toml",
        ]);
        command::run(cargo.arg("--target-dir").arg(&folder))?;
        Ok(Self { peers: Some(folder.join("release")), ..Self::ours(target, "engines")? })
    }

    /// A program that holds a subject; `counted` for the one whose allocator counts.
    pub(crate) fn path(&self, program: Program, counted: bool) -> Result<PathBuf> {
        let folder = match program {
            Program::Ours => Some(&self.ours),
            Program::Peers => self.peers.as_ref(),
        };
        let folder = folder.ok_or_else(|| format!("{} was not built", program.binary()))?;
        Ok(folder.join(format!("{}{}", program.binary(), if counted { "-counted" } else { "" })))
    }
}

/// A server that was started for us.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) port: u16,
    pub(crate) pid: u32,
}

impl Server {
    /// Its URL at another port of this machine, where something stands between.
    pub(crate) fn url_through(&self, port: u16) -> String {
        self.url.replace(&format!("127.0.0.1:{}", self.port), &format!("127.0.0.1:{port}"))
    }
}

pub(crate) struct Lab {
    programs: Programs,
    running: Option<Running>,
    redis: Option<Server>,
    postgres: Option<Server>,
    folder: PathBuf,
    files: AtomicU32,
}

impl Lab {
    /// Starts what these engines need. Files of this run are in a folder of its own under `above`,
    /// removed in the end.
    pub(crate) fn open(programs: Programs, engines: &[Engine], above: &Path) -> Result<Self> {
        fs::create_dir_all(above)?;
        clear_leftovers(above)?;
        let folder = above.join(format!("{RUN}{}", std::process::id()));
        fs::create_dir(&folder)?;
        let names: Vec<&str> =
            engines.iter().filter_map(|engine| engine.service()).map(|(name, _)| name).collect();
        let running = if names.is_empty() { None } else { Some(services::only(&names)?) };
        let server = |engine: Engine| -> Result<Option<Server>> {
            let (Some(running), Some((name, variable))) = (&running, engine.service()) else {
                return Ok(None);
            };
            let (Some(url), Some(pid)) = (running.variable(variable), running.pid(name)?) else {
                return Ok(None);
            };
            let port = port(url).ok_or_else(|| format!("no port in the URL of {name}"))?;
            Ok(Some(Server { url: url.to_owned(), port, pid }))
        };
        let (redis, postgres) = (server(Engine::Redis)?, server(Engine::Postgres)?);
        Ok(Self { programs, running, redis, postgres, folder, files: AtomicU32::new(0) })
    }

    /// Whether a subject can be opened here: its program was built and its server has started.
    pub(crate) fn has(&self, subject: &Subject) -> bool {
        let server = !subject.engine.has_server() || self.server(subject.engine).is_some();
        server && self.programs.path(subject.program, false).is_ok()
    }

    pub(crate) fn server(&self, engine: Engine) -> Option<&Server> {
        match engine {
            Engine::Redis => self.redis.as_ref(),
            Engine::Postgres => self.postgres.as_ref(),
            Engine::Memory | Engine::Cookie | Engine::Sqlite => None,
        }
    }

    /// Where a subject's sessions are to be kept: a server's URL, a new file, nothing.
    pub(crate) fn url(&self, engine: Engine) -> Option<String> {
        if engine == Engine::Sqlite {
            let file =
                self.folder.join(format!("{}.db", self.files.fetch_add(1, Ordering::Relaxed)));
            return Some(format!("sqlite:///{}", file.display()));
        }
        self.server(engine).map(|server| server.url.clone())
    }

    /// A program by itself, for what is no subject's.
    pub(crate) fn program(&self, program: Program) -> Result<Command> {
        Ok(quiet(self.programs.path(program, false)?))
    }

    /// A program that holds this subject, with the subject's URL as its last word.
    pub(crate) fn command(&self, subject: &Subject, words: &[&str]) -> Result<Command> {
        let mut command = self.program(subject.program)?;
        command.args(words).args(self.url(subject.engine));
        Ok(command)
    }

    /// The same program with an allocator that counts.
    pub(crate) fn counted(&self, subject: &Subject, words: &[&str]) -> Result<Command> {
        let mut command = quiet(self.programs.path(subject.program, true)?);
        command.args(words).args(self.url(subject.engine));
        Ok(command)
    }

    /// A file for what a subject's process complains about.
    pub(crate) fn log(&self, subject: &Subject) -> PathBuf {
        self.folder.join(format!(
            "{}.{}.log",
            subject.name,
            self.files.fetch_add(1, Ordering::Relaxed)
        ))
    }

    /// Stops the servers and says so if that fails.
    pub(crate) fn close(mut self) -> Result {
        self.running.take().map_or(Ok(()), Running::stop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("error: {}: {error}", self.folder.display());
        }
    }
}

/// Removes the folders of runs whose process was ended before it could.
fn clear_leftovers(above: &Path) -> Result {
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(RUN)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A program whose complaints are a sentence: what it is stopped by is in its message.
fn quiet(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env("RUST_BACKTRACE", "0");
    command
}

fn port(url: &str) -> Option<u16> {
    let rest = url.split_once("127.0.0.1:")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn folders_of_runs_that_are_gone_are_removed() {
        let above =
            std::env::temp_dir().join(format!("mocha-session-bench-{}", std::process::id()));
        // No process has this number: it is above what Linux gives.
        let (gone, ours, other) =
            (above.join("run-4194305"), above.join(RUN.to_owned() + "1"), above.join("results"));
        for folder in [&gone, &ours, &other] {
            fs::create_dir_all(folder).unwrap();
        }
        clear_leftovers(&above).unwrap();
        assert!(!gone.exists() && ours.exists() && other.exists());
        fs::remove_dir_all(above).unwrap();
    }

    #[test]
    fn a_proxy_takes_the_place_of_the_port_alone() {
        let url = "postgresql://app:s5432t@127.0.0.1:5432/mocha";
        assert_eq!(port(url), Some(5432));
        assert_eq!(port("redis://127.0.0.1:77"), Some(77));
        assert_eq!(port("redis://elsewhere:77"), None);
        let server = Server { url: url.to_owned(), port: 5432, pid: 1 };
        assert_eq!(server.url_through(99), "postgresql://app:s5432t@127.0.0.1:99/mocha");
    }
}
