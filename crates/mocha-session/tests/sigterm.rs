//! SIGTERM under load, on real processes: no response without its commit, and an end in order.
#![cfg(all(target_os = "linux", feature = "axum", feature = "actix", feature = "sqlite"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "tests, and examples within them"
)]

#[path = "../examples/shutdown.rs"]
mod under_axum;

#[path = "../examples/shutdown_actix.rs"]
mod under_actix;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mocha_session::{CookiePolicy, RequestInfo, SessionManager};

const CLIENTS: usize = 12;
const LOAD: Duration = Duration::from_millis(700);
/// Set for the process that serves.
const SERVES: &str = "MOCHA_TEST_SERVES";

/// The process that serves: this test program once more, started by another of its tests.
#[test]
fn the_served_example() {
    match std::env::var(SERVES).as_deref() {
        Ok("axum") => under_axum::main().unwrap(),
        Ok("actix") => under_actix::main().unwrap(),
        _ => {}
    }
}

struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
}

impl Process {
    fn start(framework: &str, url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_served_example", "--nocapture"])
            .env(SERVES, framework)
            .env("SESSION_URL", url)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            if let Some((_, address)) = line.split_once("Listening on http://") {
                break address.trim().to_owned();
            }
        };
        Self { child, said, address }
    }

    /// Sends SIGTERM and returns what the process said until its end, and how long that took.
    fn terminate(mut self) -> (String, Duration) {
        let begun = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        (rest, begun.elapsed())
    }
}

/// A client on one connection after the other: its cookie, and the last number that a response gave.
#[derive(Debug, Default)]
struct Client {
    cookie: String,
    confirmed: u64,
}

impl Client {
    /// Counts until the server is gone.
    fn run(address: &str) -> Self {
        let mut client = Self::default();
        while let Ok(answer) = client.post(address, "/count") {
            let Some((head, body)) = answer.split_once("\r\n\r\n") else { break };
            if !head.starts_with("HTTP/1.1 200") {
                break;
            }
            if let Some((_, line)) = head.split_once("set-cookie: ") {
                line.split([';', '\r']).next().unwrap().clone_into(&mut client.cookie);
            }
            client.confirmed = body.parse().unwrap();
        }
        client
    }

    fn post(&self, address: &str, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let cookie = &self.cookie;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Logs in and goes away without waiting for the response.
    fn abandon_login(address: &str) {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let request =
                format!("POST /login HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
            drop(stream.write_all(request.as_bytes()));
        }
    }
}

async fn ends_in_order(framework: &str) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("s.db").display());
    let process = Process::start(framework, &url);
    let address = process.address.clone();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || Client::run(&address))
        })
        .collect();
    thread::sleep(LOAD);
    for _ in 0..5 {
        Client::abandon_login(&address);
    }
    let (said, took) = process.terminate();
    assert!(said.contains("Every commit is done"), "{said}");
    assert!(took < Duration::from_secs(9), "{took:?}");

    let manager = SessionManager::builder(mocha_session::open(&url).await.unwrap())
        .cookie(CookiePolicy::for_plain_http())
        .build()
        .unwrap();
    let mut all = 0;
    for client in clients {
        let client = client.join().unwrap();
        all += client.confirmed;
        assert!(client.confirmed > 0, "{client:?}");
        let session = manager.open(RequestInfo::new(client.cookie)).load().await.unwrap();
        let stored: u64 = session.get("count").unwrap().unwrap_or_default();
        // The answer to the last request may have been lost; no other number may differ.
        assert!((client.confirmed..=client.confirmed + 1).contains(&stored), "{stored}");
    }
    println!("{framework}: {all} responses, each with its commit; it ended within {took:.1?}");
    // Logins whose clients went away are whole: what lives is listed.
    let listed = manager.sessions_of("alice").await.unwrap().len();
    assert_eq!(manager.revoke_all("alice").await.unwrap(), listed);
}

#[tokio::test]
async fn under_axum_no_response_comes_without_its_commit() {
    ends_in_order("axum").await;
}

#[tokio::test]
async fn under_actix_no_response_comes_without_its_commit() {
    ends_in_order("actix").await;
}
