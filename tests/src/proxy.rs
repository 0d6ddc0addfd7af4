//! A TCP proxy between a test and a server: it can cut a connection between a command and its answer, hold everything
//! back, or refuse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PASS: u8 = 0;
const LOSE_ANSWERS: u8 = 1;
const HOLD: u8 = 2;
const REFUSE: u8 = 3;

/// The proxy. Connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy to this server, on a free port of this machine.
    pub async fn to(server: impl Into<String>) -> Self {
        let (server, listener) = (server.into(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, mode) = (listener.local_addr().unwrap(), Arc::new(AtomicU8::new(PASS)));
        let shared = Arc::clone(&mode);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if shared.load(Ordering::SeqCst) == REFUSE {
                    continue; // dropped: closed at once
                }
                let Ok(server) = TcpStream::connect(&server).await else { continue };
                connections.spawn(serve(client, server, Arc::clone(&shared)));
            }
        });
        Self { address, mode, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets everything through.
    pub fn pass(&self) {
        self.mode.store(PASS, Ordering::SeqCst);
    }

    /// Lets commands through; at the first answer it cuts the connection instead.
    pub fn lose_answers(&self) {
        self.mode.store(LOSE_ANSWERS, Ordering::SeqCst);
    }

    /// Lets nothing through in either direction, and says nothing.
    pub fn hold(&self) {
        self.mode.store(HOLD, Ordering::SeqCst);
    }

    /// Cuts every connection and takes no new one: a server that is down.
    pub fn refuse(&self) {
        self.mode.store(REFUSE, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut client: TcpStream, mut server: TcpStream, mode: Arc<AtomicU8>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let (bytes, from_client) = tokio::select! {
            read = client.read(&mut up) => (read.unwrap_or(0), true),
            read = server.read(&mut down) => (read.unwrap_or(0), false),
            () = cut(&mode) => return,
        };
        while mode.load(Ordering::SeqCst) == HOLD {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let sent = match (bytes, from_client, mode.load(Ordering::SeqCst)) {
            (0, ..) | (_, _, REFUSE) | (_, false, LOSE_ANSWERS) => return,
            (_, true, _) => server.write_all(&up[..bytes]).await,
            (_, false, _) => client.write_all(&down[..bytes]).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn cut(mode: &AtomicU8) {
    while mode.load(Ordering::SeqCst) != REFUSE {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
