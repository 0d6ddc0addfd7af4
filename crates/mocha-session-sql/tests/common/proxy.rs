//! A TCP proxy before a server, that can be down, cut connections, hold back answers, lose one, answer in the
//! server's place, or lead to another server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Listens on a port of its own, which stays the same when the server is "restarted".
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    /// Counts up to cut what is connected.
    cuts: watch::Sender<usize>,
    listening: Option<tokio::task::JoinHandle<()>>,
    /// Holds the port while nobody listens there.
    down: Option<TcpSocket>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where new connections lead to.
    target: Mutex<String>,
    /// What the next request is answered with, in the server's place; then the connection ends.
    instead: Mutex<Option<Vec<u8>>>,
    /// How many clients said goodbye before they left.
    goodbyes: AtomicUsize,
    /// Cuts the connection instead of passing on the next answer.
    lose_answer: AtomicBool,
    /// Passes on nothing that the server says.
    silent: AtomicBool,
    /// How many connections were made, and how many of them are open.
    connections: AtomicUsize,
    open: AtomicUsize,
    /// How often the server said something.
    answers: AtomicUsize,
}

impl Proxy {
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut proxy =
            Self { port, cuts: watch::channel(0).0, listening: None, down: None, state: Arc::default() };
        proxy.lead_to(target);
        proxy.listen(listener);
        proxy
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How often the server said something.
    pub fn answers(&self) -> usize {
        self.state.answers.load(Ordering::SeqCst)
    }

    /// How many clients said goodbye before they left, and how many are there.
    pub fn goodbyes(&self) -> (usize, usize) {
        (self.state.goodbyes.load(Ordering::SeqCst), self.state.open.load(Ordering::SeqCst))
    }

    /// New connections lead to this server: the address stays, as in a failover.
    pub fn lead_to(&self, target: &str) {
        target.clone_into(&mut self.state.target.lock().unwrap());
    }

    /// Answers the next request with these bytes and ends its connection.
    pub fn answer_next_with(&self, bytes: Vec<u8>) {
        *self.state.instead.lock().unwrap() = Some(bytes);
    }

    /// Cuts every connection; new ones are taken, as by a server that was restarted.
    pub async fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
        while self.state.open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Cuts every connection and refuses new ones.
    pub async fn down(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
        self.down = Some(refusing(&self.authority()));
        self.cut().await;
    }

    pub fn up(&mut self) {
        let socket = self.down.take().expect("down before");
        self.listen(socket.listen(64).unwrap());
    }

    pub fn lose_next_answer(&self) {
        self.state.lose_answer.store(true, Ordering::SeqCst);
    }

    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    fn listen(&mut self, listener: TcpListener) {
        let (cuts, state) = (self.cuts.subscribe(), Arc::clone(&self.state));
        self.listening = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                state.connections.fetch_add(1, Ordering::SeqCst);
                let (mut cuts, state) = (cuts.clone(), Arc::clone(&state));
                cuts.mark_unchanged();
                state.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(client, &state) => {}
                        _ = cuts.changed() => {}
                    }
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }));
    }
}

/// A port that refuses connections: it is bound, so that no other test gets it, and nobody listens.
pub fn refusing(authority: &str) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(authority.parse().unwrap()).unwrap();
    socket
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

/// How a client of each server says that it leaves: PostgreSQL's Terminate, and MySQL's `COM_QUIT`.
const GOODBYES: [&[u8]; 2] = [b"X\0\0\0\x04", b"\x01\0\0\0\x01"];

async fn pass(client: TcpStream, state: &State) {
    let target = state.target.lock().unwrap().clone();
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let to_client = tokio::sync::Mutex::new(to_client);
    let ask = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let request = &buffer[..read];
            if GOODBYES.iter().any(|goodbye| request.ends_with(goodbye)) {
                state.goodbyes.fetch_add(1, Ordering::SeqCst);
            }
            let instead = state.instead.lock().unwrap().take();
            if let Some(bytes) = instead {
                let _ = to_client.lock().await.write_all(&bytes).await;
                return;
            }
            if to_server.write_all(request).await.is_err() {
                return;
            }
        }
    };
    let answer = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            state.answers.fetch_add(1, Ordering::SeqCst);
            if state.lose_answer.swap(false, Ordering::SeqCst) {
                return;
            }
            if state.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if to_client.lock().await.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = ask => {}, () = answer => {} }
}
