//! Where measurements happen: the programs that were built, the servers that were started, the
//! files of SQLite.

use super::Result;
use super::subjects::{Engine, FAR, SERVERS, Subject};
use mocha_session_conformance::Proxy;
use mocha_session_servers::Servers;
use mocha_session_servers::command::{cargo, run, workspace};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// The delay of each answer of the distant engine.
pub(crate) const DELAY: Duration = Duration::from_millis(20);

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
    servers: Option<Servers>,
    started: BTreeMap<Engine, Server>,
    /// The proxy that delays the answers of the distant engine.
    _far: Option<(Runtime, Proxy)>,
    /// What one run keeps, for the time until the next.
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
        alone.try_lock().map_err(|error| format!("another benchmark is running: {error}"))?;
        fs::remove_dir_all(&folder)?;
        fs::create_dir(&folder)?;
        let remote: Vec<_> =
            SERVERS.into_iter().filter(|(engine, _)| engines.contains(engine)).collect();
        let names: Vec<_> = remote.iter().map(|(engine, _)| *engine).collect();
        let servers = if names.is_empty() { None } else { Some(Servers::only(&names)?) };
        let mut started = BTreeMap::new();
        for (engine, variable) in remote {
            let Some(servers) = &servers else { continue };
            let found = servers.variable(variable).zip(servers.pid(engine)?);
            let Some((url, pid)) = found else { continue };
            let port = port(url).ok_or_else(|| format!("no port in the URL of {engine}"))?;
            // All clients understand this scheme.
            let url = url.replace("valkey://", "redis://");
            _ = started.insert(engine, Server { url, port, pid });
        }
        let far = started.get_mut(FAR).map(delayed).transpose()?;
        let files = AtomicU32::new(0);
        Ok(Self { target, servers, started, _far: far, folder, files, _alone: alone })
    }

    /// The place of the results, unless another one is asked for.
    pub(crate) fn results(&self) -> PathBuf {
        self.target.join("bench/results")
    }

    /// Whether the subjects of an engine can be opened here.
    pub(crate) fn has(&self, engine: Engine) -> bool {
        self.server(engine).is_some()
            || SERVERS.iter().all(|(with_server, _)| *with_server != engine)
    }

    pub(crate) fn server(&self, engine: Engine) -> Option<&Server> {
        self.started.get(engine)
    }

    /// The program of the workers, ours or the peers'.
    pub(crate) fn program(&self, theirs: bool) -> Command {
        let path = if theirs { "bench-peers/release/bench-peers" } else { "release/bench-ours" };
        Command::new(self.target.join(path))
    }

    /// Where a subject's sessions are to be kept: a server's URL, a new file, nothing.
    pub(crate) fn url(&self, subject: &Subject) -> Option<String> {
        if subject.engine == "sqlite" {
            return Some(format!("sqlite:///{}", self.file("sessions.db").display()));
        }
        self.server(subject.engine).map(|server| server.url.clone())
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

/// Puts a proxy before a server, which delays its answers.
fn delayed(server: &mut Server) -> Result<(Runtime, Proxy)> {
    let runtime = Runtime::new()?;
    let proxy = runtime.block_on(Proxy::to(format!("127.0.0.1:{}", server.port)))?;
    proxy.delay(DELAY);
    let port = proxy.address().port();
    *server = Server { url: server.url_through(port), port, pid: server.pid };
    Ok((runtime, proxy))
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
