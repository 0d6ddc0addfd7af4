//! One memcached server: its connections, each for one command at a time, and what a failed command means.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use memcache::exp::{
    AsyncMetaConnection, Error as ClientError, MetaCommand, MetaCommandResult, parse_meta_result,
};
use mocha_session_core::{Error, ErrorKind, Result};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::peer::Peer;

/// How long making a connection may take, name lookup and greeting included.
const CONNECT: Duration = Duration::from_secs(2);
/// An idle connection older than this is not used again: firewalls forget it without telling anyone.
const IDLE: Duration = Duration::from_mins(1);

/// A server and its connections, at most so many at a time.
pub(crate) struct Server {
    address: String,
    login: Option<String>,
    slots: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    wire: AsyncMetaConnection,
    peer: Arc<Peer>,
    last_used: Instant,
}

impl Server {
    pub(crate) fn new(address: String, login: Option<String>, connections: usize) -> Self {
        Self { address, login, slots: Semaphore::new(connections), idle: Mutex::default() }
    }

    /// The address as it was written: what keys are routed by.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// `username password`, if the server wants it.
    pub(crate) fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// A connection for one command: an idle one that is still good, else a new one.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>> {
        let slot = self.slots.acquire().await;
        let slot = slot.map_err(|_| Error::new(ErrorKind::Internal, "the connections were closed"))?;
        let (connection, used_before) = match self.idle_connection() {
            Some(connection) => (connection, true),
            None => (self.connect().await?, false),
        };
        Ok(Lease {
            server: self,
            peer: connection.peer.clone(),
            connection: Some(connection),
            used_before,
            _slot: slot,
        })
    }

    /// One reading command. It changes nothing, so where a connection proves dead only now it is asked again on a new one.
    pub(crate) async fn read(&self, command: &MetaCommand) -> Result<(Lease<'_>, MetaCommandResult)> {
        let mut lease = self.lease().await?;
        let answer = lease.exchange(command, Intent::Read).await;
        if answer.is_err() && lease.used_before {
            drop(lease);
            lease = self.lease().await?;
            let answer = lease.exchange(command, Intent::Read).await?;
            return Ok((lease, answer));
        }
        Ok((lease, answer?))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_connection(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop()?;
            if connection.last_used.elapsed() < IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection> {
        let connecting = async {
            let stream = TcpStream::connect(&self.address).await.map_err(|source| {
                self.error(ErrorKind::Unavailable, "cannot be reached; is memcached running there?")
                    .with_source(source)
            })?;
            // Without it every answer would wait for the acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            let mut stream = BufReader::new(stream);
            let peer = Arc::new(Peer::greet(self, &mut stream).await?);
            let wire = AsyncMetaConnection::from_stream(stream.into_inner());
            Ok(Connection { wire, peer, last_used: Instant::now() })
        };
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| {
            Err(self.error(ErrorKind::Unavailable, "did not answer a new connection within two seconds"))
        })
    }

    /// An error that names the server. What the client library prints is never part of it: some of its messages repeat
    /// keys and answers.
    pub(crate) fn error(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, format!("{} {why}", self.address))
    }

    /// The connection broke; what was asked of it may have been done or not.
    pub(crate) fn broken(&self, maybe_done: bool) -> Error {
        if maybe_done {
            self.error(
                ErrorKind::Ambiguous,
                "broke the connection before it answered; the write may have been done",
            )
        } else {
            self.error(ErrorKind::Unavailable, "broke the connection; was it restarted?")
        }
    }

    /// Why a command that was sent has no answer that could be used.
    fn failed(&self, error: ClientError, intent: Intent) -> Error {
        let maybe_done = intent == Intent::Write;
        match error {
            ClientError::Io(source) => self.broken(maybe_done).with_source(source),
            ClientError::Server(text) if text.to_ascii_lowercase().contains("out of memory") => self.error(
                ErrorKind::Full,
                "has no memory left and evicts nothing (-M); it drops what was stored under the key",
            ),
            ClientError::Server(text) if text.contains("too large") => {
                self.error(ErrorKind::TooLarge, "refused the value and dropped what was stored under the key")
            }
            ClientError::Rejected(text) if text.contains("unauthenticated") => {
                self.error(ErrorKind::Denied, "wants a login: memcache://username:password@…")
            }
            ClientError::Rejected(_) | ClientError::Usage(_) => {
                self.error(ErrorKind::Internal, "does not accept the command")
            }
            // A proxy's `SERVER_ERROR` says nothing about what the servers behind it did.
            _ if maybe_done => {
                self.error(ErrorKind::Ambiguous, "gave no proper answer; the write may have been done")
            }
            _ => self.error(ErrorKind::Unavailable, "gave no proper answer; is it memcached?"),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether nothing has arrived since the last answer: an end of file would mean that the server is gone, anything
    /// else that the next answer would not be ours.
    fn is_quiet(&mut self) -> bool {
        pin!(self.wire.receive()).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// What a command may do to the server: how a lost answer is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Read,
    Write,
}

/// A connection while it is used for one command. Goes back to the idle ones when dropped, unless its command was cut
/// short: then the answer may still arrive, and the next command would take it for its own.
pub(crate) struct Lease<'a> {
    server: &'a Server,
    pub(crate) peer: Arc<Peer>,
    /// None while a command is under way, so that dropping its future closes the connection.
    connection: Option<Connection>,
    used_before: bool,
    _slot: SemaphorePermit<'a>,
}

impl Lease<'_> {
    pub(crate) async fn exchange(
        &mut self,
        command: &MetaCommand,
        intent: Intent,
    ) -> Result<MetaCommandResult> {
        let Some(mut connection) = self.connection.take() else {
            return Err(Error::new(ErrorKind::Internal, "a connection was used for a second command"));
        };
        let (answer, intent) = match connection.wire.send(command).await {
            Ok(()) => (connection.wire.receive().await, intent),
            // The server has seen a part of it at most, and does nothing before it has seen the whole.
            Err(error) => (Err(error), Intent::Read),
        };
        match answer.and_then(parse_meta_result) {
            Ok(answer) => {
                connection.last_used = Instant::now();
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(error) => {
                if matches!(error, ClientError::Io(_)) {
                    // Where one connection died the idle ones have too.
                    self.server.idle().clear();
                }
                Err(self.server.failed(error, intent))
            }
        }
    }

    /// The error for an answer that does not belong to the command. The connection is not used again.
    pub(crate) fn misunderstood(&mut self, intent: Intent) -> Error {
        self.connection = None;
        self.server.failed(ClientError::Conflict, intent)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.server.idle().push(connection);
        }
    }
}
