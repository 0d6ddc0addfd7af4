//! Where measurements happen: the programs that were built, the servers that were started, the
//! files of SQLite.

use super::Result;
use super::subjects::{Engine, Subject};
use mocha_session_servers::Servers;
use mocha_session_servers::command::{cargo, run, workspace};
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

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
    /// Where cargo builds.
    target: PathBuf,
    with_peers: bool,
    servers: Option<Servers>,
    started: Vec<(Engine, Server)>,
    /// What one run keeps, removed in the end.
    folder: PathBuf,
    files: AtomicU32,
    /// Two benchmarks at once would measure each other.
    _alone: File,
}

impl Lab {
    /// Builds the other libraries' workers where they are wanted, and starts what these engines
    /// need. Our own workers are built with this program.
    pub(crate) fn open(with_peers: bool, engines: &[Engine]) -> Result<Self> {
        let target = workspace()?.target_directory.into_std_path_buf();
        if with_peers {
            // A workspace of its own with a target folder of its own.
            let mut build =
                cargo("build --release --manifest-path tests/bench-peers/Cargo.toml --target-dir");
            run(build.arg(target.join("bench-peers")))?;
        }
        let folder = target.join("bench").join("run");
        fs::create_dir_all(&folder)?;
        let alone = File::create(target.join("bench").join("lock"))?;
        alone.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => "another benchmark is running".to_owned(),
            TryLockError::Error(error) => error.to_string(),
        })?;
        // What a run that was killed has left.
        fs::remove_dir_all(&folder)?;
        fs::create_dir(&folder)?;
        let remote = || engines.iter().filter_map(|it| Some((*it, it.name(), it.variable()?)));
        let names: Vec<_> = remote().map(|(_, name, _)| name).collect();
        let servers = if names.is_empty() { None } else { Some(Servers::only(&names)?) };
        let mut started = Vec::new();
        for (engine, name, variable) in remote() {
            let Some(servers) = &servers else { continue };
            let (Some(url), Some(pid)) = (servers.variable(variable), servers.pid(name)?) else {
                continue;
            };
            let port = port(url).ok_or_else(|| format!("no port in the URL of {name}"))?;
            started.push((engine, Server { url: url.to_owned(), port, pid }));
        }
        let files = AtomicU32::new(0);
        Ok(Self { target, with_peers, servers, started, folder, files, _alone: alone })
    }

    /// Where results are kept.
    pub(crate) fn results(&self, name: &str) -> PathBuf {
        self.target.join("bench").join(name)
    }

    /// Whether a subject can be opened here: its program was built and its server has started.
    pub(crate) fn has(&self, subject: &Subject) -> bool {
        let server = !subject.engine.has_server() || self.server(subject.engine).is_some();
        server && (self.with_peers || !subject.theirs)
    }

    pub(crate) fn server(&self, engine: Engine) -> Option<&Server> {
        self.started.iter().find(|(other, _)| *other == engine).map(|(_, server)| server)
    }

    /// The workers of ours or of the peers; `counted` for those whose allocator counts.
    pub(crate) fn program(&self, theirs: bool, counted: bool) -> Command {
        let folder = if theirs { self.target.join("bench-peers") } else { self.target.clone() };
        let (side, end) =
            (if theirs { "peers" } else { "ours" }, if counted { "-counted" } else { "" });
        let mut command = Command::new(folder.join("release").join(format!("bench-{side}{end}")));
        // A complaint is a sentence: what a worker is stopped by is in its message.
        command.env("RUST_BACKTRACE", "0");
        command
    }

    /// A program that holds this subject, with the URL of its engine as its last word.
    pub(crate) fn command(&self, subject: &Subject, counted: bool, words: &[&str]) -> Command {
        let mut command = self.program(subject.theirs, counted);
        command.args(words).args(self.url(subject.engine));
        command
    }

    /// Where a subject's sessions are to be kept: a server's URL, a new file, nothing.
    fn url(&self, engine: Engine) -> Option<String> {
        if engine == Engine::Sqlite {
            return Some(format!("sqlite:///{}", self.file("sessions.db").display()));
        }
        self.server(engine).map(|server| server.url.clone())
    }

    /// A new file of this run.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}", self.files.fetch_add(1, Ordering::Relaxed)))
    }

    /// Stops the servers and says so if that fails.
    pub(crate) fn close(mut self) -> Result {
        self.servers.take().map_or(Ok(()), Servers::stop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("error: {}: {error}", self.folder.display());
        }
    }
}

fn port(url: &str) -> Option<u16> {
    let rest = url.split_once("127.0.0.1:")?.1;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
