//! A TCP proxy before a server, that can be down, cut connections, hold back answers, or lose one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Listens on a port of its own, which stays the same when the server is "restarted".
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    target: String,
    /// Counts up to cut what is connected.
    cuts: watch::Sender<usize>,
    listening: Option<tokio::task::JoinHandle<()>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Cuts the connection instead of passing on the next answer.
    lose_answer: AtomicBool,
    /// Passes on nothing that the server says.
    silent: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut proxy = Self {
            port,
            target: target.to_owned(),
            cuts: watch::channel(0).0,
            listening: None,
            state: Arc::default(),
        };
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

    /// Cuts every connection; new ones are taken, as by a server that was restarted.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Cuts every connection and refuses new ones.
    pub async fn down(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
        self.cut();
    }

    pub async fn up(&mut self) {
        let listener = TcpListener::bind(self.authority()).await.unwrap();
        self.listen(listener);
    }

    pub fn lose_next_answer(&self) {
        self.state.lose_answer.store(true, Ordering::SeqCst);
    }

    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    fn listen(&mut self, listener: TcpListener) {
        let (target, cuts, state) = (self.target.clone(), self.cuts.subscribe(), Arc::clone(&self.state));
        self.listening = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                state.connections.fetch_add(1, Ordering::SeqCst);
                let (target, mut cuts, state) = (target.clone(), cuts.clone(), Arc::clone(&state));
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        () = pass(client, server, &state) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        self.cut();
    }
}

async fn pass(client: TcpStream, server: TcpStream, state: &State) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ask = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answer = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if state.lose_answer.swap(false, Ordering::SeqCst) {
                return;
            }
            if state.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! { () = ask => {}, () = answer => {} }
}
