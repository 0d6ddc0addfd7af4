//! Servers of a test's own, and what tests send to servers beside the command.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mocha_session_conformance::engine_url;

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// A Redis server with these arguments; `None` where the tests have no Redis.
    pub(crate) fn redis(arguments: &[&str]) -> Option<Self> {
        engine_url("MOCHA_TEST_REDIS_URL")?;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_str().unwrap().to_owned();
        Some(Self::start("redis-server", folder, |port| {
            let mut all = vec!["--port", port, "--bind", "127.0.0.1", "--dir", &data];
            all.extend(arguments);
            all.iter().map(ToString::to_string).collect()
        }))
    }

    /// A memcached server with these arguments; `None` where the tests have no memcached.
    pub(crate) fn memcached(arguments: &[&str]) -> Option<Self> {
        engine_url("MOCHA_TEST_MEMCACHE_URL")?;
        Some(Self::start("memcached", tempfile::tempdir().unwrap(), |port| {
            let mut all = vec!["-l", "127.0.0.1", "-p", port, "-U", "0", "-u", "root"];
            all.extend(arguments);
            all.iter().map(ToString::to_string).collect()
        }))
    }

    fn start(
        program: &str,
        folder: tempfile::TempDir,
        arguments: impl Fn(&str) -> Vec<String>,
    ) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(arguments(&port.to_string())).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let server = Self { child, port, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{program} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn memcached_url(&self) -> String {
        format!("memcache://127.0.0.1:{}", self.port)
    }

    /// Sends lines and returns the start of the answer.
    pub(crate) fn tell(&self, lines: &str) -> String {
        talk(("127.0.0.1", self.port), lines.as_bytes())
    }
}

/// Sends bytes, and returns what comes back within a read.
pub(crate) fn talk(to: (&str, u16), bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 4096];
    let size = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..size]).into_owned()
}
