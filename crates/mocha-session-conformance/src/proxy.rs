//! A TCP proxy between a store and its engine that injects the faults of networks and servers.

mod relay;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use relay::relay;

/// A TCP proxy in front of an engine, at its own fixed address.
///
/// It works for any protocol over TCP, and passes all data until a fault is injected. Dropping it
/// ends all its connections. [`faults!`](crate::faults) uses it. It is public for tests that only
/// your engine needs.
///
/// ```no_run
/// # async fn test() -> std::io::Result<()> {
/// let proxy = mocha_session_conformance::Proxy::to("127.0.0.1:6379").await?;
/// let url = format!("redis://{}", proxy.address());
/// // Open a store by that URL, and then:
/// proxy.lose_answers();
/// # Ok(())
/// # }
/// ```
pub struct Proxy {
    address: SocketAddr,
    /// Bound and not listening, so that nothing else gets the port while the proxy is down.
    _reserved: TcpSocket,
    /// Where the proxy listens from now on; `None` while it is down.
    listeners: mpsc::UnboundedSender<Option<TcpListener>>,
    state: watch::Sender<State>,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// The traffic that the proxy counted.
#[derive(Default)]
struct Seen {
    dials: AtomicUsize,
    open: AtomicUsize,
    answers: AtomicUsize,
    last_words: Mutex<Vec<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Pass,
    LoseAnswers,
    Hang,
    BlackHole,
    HangUp,
    Down,
}

struct State {
    mode: Mode,
    server: String,
    /// The number of answers that are still to be lost, one for each connection.
    lose: usize,
    /// Incremented by each cut of all open connections.
    cuts: usize,
    /// Whether answers pass in pieces of a few bytes.
    trickle: bool,
    /// The time that each answer is held back.
    delay: Duration,
    /// The answer to the next request, instead of the server's.
    instead: Option<Vec<u8>>,
}

impl State {
    /// Returns whether a connection that was opened at this count of cuts has ended.
    fn ends(&self, cuts: usize) -> bool {
        matches!(self.mode, Mode::Down | Mode::HangUp) || self.cuts != cuts
    }
}

impl Proxy {
    /// Creates a proxy to this server (`host:port`), on a free port of this machine.
    ///
    /// # Errors
    /// If the proxy cannot listen on any port.
    pub async fn to(server: impl Into<String>) -> io::Result<Self> {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), server).await
    }

    /// Creates a proxy at this address.
    ///
    /// # Errors
    /// If the proxy cannot listen on the address.
    #[allow(clippy::unused_async, reason = "it needs a runtime, which its type should show")]
    pub async fn at(address: SocketAddr, server: impl Into<String>) -> io::Result<Self> {
        let reserved = bound(address)?;
        let address = reserved.local_addr()?;
        let (listeners, listening) = mpsc::unbounded_channel();
        drop(listeners.send(Some(bound(address)?.listen(BACKLOG)?)));
        let server = server.into();
        let state = State {
            mode: Mode::Pass,
            server,
            lose: 0,
            cuts: 0,
            trickle: false,
            delay: Duration::ZERO,
            instead: None,
        };
        let (state, _) = watch::channel(state);
        let seen = Arc::<Seen>::default();
        let task = tokio::spawn(listen(listening, state.clone(), Arc::clone(&seen)));
        Ok(Self { address, _reserved: reserved, listeners, state, seen, task })
    }

    /// Returns the proxy's own address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections that were opened so far.
    pub fn dials(&self) -> usize {
        self.seen.dials.load(Ordering::SeqCst)
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// Returns the number of answers. An answer begins with the first bytes that the server sends
    /// after bytes of the client on the same connection. So it is the number of round trips if a
    /// connection has one request at a time, and data that the server pushes does not count.
    pub fn answers(&self) -> usize {
        self.seen.answers.load(Ordering::SeqCst)
    }

    /// Returns the last bytes, at most sixteen, that each client sent before its connection ended.
    /// They show whether it closed the connection in order.
    pub fn last_words(&self) -> Vec<Vec<u8>> {
        self.seen.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends a fault. All data passes, except on connections in a black hole.
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// Passes commands, and cuts the connection instead of passing the first answer.
    pub fn lose_answers(&self) {
        self.set(Mode::LoseAnswers);
    }

    /// Loses the next `count` answers, as [`lose_answers`](Self::lose_answers) does. Then
    /// everything passes.
    pub fn lose_next_answers(&self, count: usize) {
        self.state.send_modify(|state| state.lose = count);
    }

    /// Answers the next request with these bytes instead of the server's answer, and ends its
    /// connection.
    pub fn answer_next_with(&self, bytes: impl Into<Vec<u8>>) {
        self.state.send_modify(|state| state.instead = Some(bytes.into()));
    }

    /// Holds all data back in both directions, like a stopped server, until [`pass`](Self::pass).
    pub fn hang(&self) {
        self.set(Mode::Hang);
    }

    /// Drops all data. The current connections stay silent for ever, as behind a firewall that has
    /// lost their state. New ones work after [`pass`](Self::pass).
    pub fn black_hole(&self) {
        self.set(Mode::BlackHole);
    }

    /// Cuts every connection, and refuses new ones, like a server that is down.
    pub fn down(&self) {
        self.set(Mode::Down);
    }

    /// Cuts every connection, and accepts and closes each new one, like a load balancer whose
    /// server is down.
    pub fn hang_up(&self) {
        self.set(Mode::HangUp);
    }

    /// Cuts every connection. New ones pass.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Connects new connections to another server. Open ones are not affected.
    pub fn lead_to(&self, server: impl Into<String>) {
        self.state.send_modify(|state| state.server = server.into());
    }

    /// Passes each answer this much later, as a distant server does.
    pub fn delay(&self, by: Duration) {
        self.state.send_modify(|state| state.delay = by);
    }

    /// Passes answers in pieces of a few bytes with pauses between, so that calls can be cancelled
    /// in the middle of an answer.
    pub fn trickle(&self, on: bool) {
        self.state.send_modify(|state| state.trickle = on);
    }

    fn set(&self, mode: Mode) {
        let before = self.state.borrow().mode;
        self.state.send_modify(|state| state.mode = mode);
        if mode == Mode::Down {
            drop(self.listeners.send(None));
        } else if before == Mode::Down {
            let listener = bound(self.address).and_then(|socket| socket.listen(BACKLOG));
            drop(self.listeners.send(listener.ok()));
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The number of connections that the system accepts before the proxy does.
const BACKLOG: u32 = 1024;

/// Binds a socket beside others of this process at the same address.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn listen(
    mut listeners: mpsc::UnboundedReceiver<Option<TcpListener>>,
    state: watch::Sender<State>,
    seen: Arc<Seen>,
) {
    // Dropping this task drops the connections.
    let mut connections = JoinSet::new();
    let mut listener: Option<TcpListener> = None;
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let client = tokio::select! {
            biased;
            next = listeners.recv() => {
                let Some(next) = next else { return };
                listener = next;
                continue;
            }
            accepted = accepted => match accepted {
                Ok((client, _)) => client,
                Err(_) => continue,
            },
        };
        seen.dials.fetch_add(1, Ordering::SeqCst);
        while connections.try_join_next().is_some() {}
        if state.borrow().mode == Mode::HangUp {
            continue;
        }
        seen.open.fetch_add(1, Ordering::SeqCst);
        let (state, seen) = (state.clone(), Arc::clone(&seen));
        connections.spawn(async move {
            let mut last_words = Vec::new();
            serve(client, state, &seen, &mut last_words).await;
            seen.last_words.lock().unwrap_or_else(PoisonError::into_inner).push(last_words);
            seen.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Serves one connection, until one side or a fault ends it.
async fn serve(
    client: TcpStream,
    state: watch::Sender<State>,
    seen: &Seen,
    last_words: &mut Vec<u8>,
) {
    let cuts = state.borrow().cuts;
    let (mut ending, mut sinking) = (state.subscribe(), state.subscribe());
    let ended = async { drop(ending.wait_for(|state| state.ends(cuts)).await.map(drop)) };
    let relayed = async {
        let sunk =
            async { drop(sinking.wait_for(|state| state.mode == Mode::BlackHole).await.map(drop)) };
        tokio::select! {
            biased;
            () = sunk => std::future::pending().await,
            () = relay(&client, &state, cuts, seen, last_words) => {}
        }
    };
    tokio::select! { () = ended => {} () = relayed => {} }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    #[tokio::test]
    async fn an_answer_in_two_pieces_counts_once_and_a_push_does_not_count() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::to(server.local_addr().unwrap().to_string()).await.unwrap();
        proxy.delay(Duration::from_millis(30));
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut server, _) = server.accept().await.unwrap();
        let mut bytes = [0; 4];
        server.write_all(b"push").await.unwrap();
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(proxy.answers(), 0);

        let begun = Instant::now();
        client.write_all(b"ask.").await.unwrap();
        server.read_exact(&mut bytes).await.unwrap();
        for half in [b"half", b"rest"] {
            server.write_all(half).await.unwrap();
            client.read_exact(&mut bytes).await.unwrap();
            assert_eq!(&bytes, half);
        }
        assert_eq!(proxy.answers(), 1);
        assert!(begun.elapsed() >= Duration::from_millis(30));
    }
}
