//! One memcached server: its connections, what each learns about the server when it is made, one command at a time.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use memcache::exp::{
    AsyncMetaConnection, Error as ClientError, MetaCommand, MetaCommandResult, parse_meta_result,
};
use mocha_session_core::store::{Expiry, Revision};
use mocha_session_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long making a connection may take, name lookup and greeting included.
const CONNECT: Duration = Duration::from_secs(2);
/// An idle connection older than this is not used again: firewalls forget it without telling anyone.
const IDLE: Duration = Duration::from_secs(60);
/// What an item takes besides its key and value: 59 bytes were measured (memcached 1.6.18 and 1.6.45), rounded up.
pub(crate) const ITEM_OVERHEAD: usize = 64;
/// A longer relative lifetime is read as an instant.
const LONGEST_RELATIVE: u64 = 30 * 24 * 60 * 60;
/// A later instant (in 2038) has come and gone (1.6.18) or is refused (1.6.45).
const LATEST_INSTANT: u64 = i32::MAX as u64;

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

/// What a connection knows about the process at its other end.
pub(crate) struct Peer {
    /// Which run of the server this is. Its compare-and-set tokens start again with every run, so a token means
    /// something together with this alone.
    run: String,
    item_limit: usize,
    /// The server's clock, and when it was read.
    clock: (u64, Instant),
}

impl Peer {
    pub(crate) fn revision(&self, cas: u64) -> Revision {
        Revision::from(format!("{}.{cas}", self.run))
    }

    /// The token of a revision, if this run of the server gave it.
    pub(crate) fn cas(&self, revision: &Revision) -> Option<u64> {
        revision.as_str().strip_prefix(&self.run)?.strip_prefix('.')?.parse().ok()
    }

    /// The lifetime as memcached counts it: its clock ticks once a second, so one second more than asked for; a long one
    /// as an instant of the server's own clock; one that ends after 2038 as none at all, for the core knows the deadline.
    pub(crate) fn lifetime(&self, expiry: Expiry) -> u64 {
        let seconds = expiry.ttl_secs().saturating_add(1);
        if seconds <= LONGEST_RELATIVE {
            return seconds;
        }
        let (read, when) = self.clock;
        let end = read.saturating_add(when.elapsed().as_secs() + 1).saturating_add(seconds);
        if end <= LATEST_INSTANT { end } else { 0 }
    }

    /// The largest value under a name of this length.
    pub(crate) fn max_value(&self, name: usize) -> usize {
        self.item_limit.saturating_sub(ITEM_OVERHEAD + name)
    }
}

impl Server {
    pub(crate) fn new(address: String, login: Option<String>, connections: usize) -> Self {
        Self { address, login, slots: Semaphore::new(connections), idle: Mutex::default() }
    }

    /// The address as it was written: what keys are routed by.
    pub(crate) fn address(&self) -> &str {
        &self.address
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

    fn idle_connection(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
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
            let peer = Arc::new(self.greet(&mut stream).await?);
            let wire = AsyncMetaConnection::from_stream(stream.into_inner());
            Ok(Connection { wire, peer, last_used: Instant::now() })
        };
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(|_| {
            Err(self.error(ErrorKind::Unavailable, "did not answer a new connection within two seconds"))
        })
    }

    /// Logs in where that is asked for, and finds out which run of the server this is and what it can do.
    async fn greet(&self, stream: &mut BufReader<TcpStream>) -> Result<Peer> {
        if let Some(login) = &self.login {
            // Asked first: a server that wants no login would store the password as a value.
            match self.ask(stream, "mn").await?.as_str() {
                "CLIENT_ERROR unauthenticated" => {}
                _ => return Err(self.error(
                    ErrorKind::InvalidConfig,
                    "asks for no login (memcached -Y); take user name and password out of the session URL",
                )),
            }
            let command = format!("set login 0 0 {}\r\n{login}", login.len());
            if self.ask(stream, &command).await? != "STORED" {
                return Err(self.error(ErrorKind::Denied, "refused the user name or the password"));
            }
        }
        let mut line = self.ask(stream, "stats\r\nstats settings\r\nmn").await?;
        let (mut pid, mut time, mut uptime, mut limit, mut cas) = (None, None, None, None, None);
        while line != "MN" {
            let number = |text: &str| text.parse::<u64>().ok();
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["STAT", "pid", value] => pid = number(value),
                ["STAT", "time", value] => time = number(value),
                ["STAT", "uptime", value] => uptime = number(value),
                ["STAT", "item_size_max", value] => limit = number(value),
                ["STAT", "cas_enabled", value] => cas = Some(value == "yes"),
                ["STAT", ..] | ["END"] => {}
                _ => return Err(self.unexpected(&line)),
            }
            line = self.line(stream).await?;
        }
        let (Some(pid), Some(time), Some(uptime), Some(limit), Some(cas)) = (pid, time, uptime, limit, cas)
        else {
            return Err(self.error(
                ErrorKind::Unsupported,
                "does not say what memcached says (`stats`, `stats settings`); name the servers themselves, not a \
                 proxy in front of them",
            ));
        };
        if !cas {
            return Err(self
                .error(ErrorKind::Unsupported, "runs without compare-and-set; start memcached without -C"));
        }
        Ok(Peer {
            // `time` minus `uptime` is the second in which the process started, to the second and for its whole life.
            run: format!("{pid}.{}", time.saturating_sub(uptime)),
            item_limit: limit.try_into().unwrap_or(usize::MAX),
            clock: (time, Instant::now()),
        })
    }

    async fn ask(&self, stream: &mut BufReader<TcpStream>, command: &str) -> Result<String> {
        let sent = stream.write_all(format!("{command}\r\n").as_bytes()).await;
        sent.map_err(|source| self.broken(false).with_source(source))?;
        self.line(stream).await
    }

    async fn line(&self, stream: &mut BufReader<TcpStream>) -> Result<String> {
        let mut line = Vec::new();
        let read = stream.read_until(b'\n', &mut line).await;
        match (read, line.strip_suffix(b"\r\n").and_then(|line| str::from_utf8(line).ok())) {
            (Ok(_), Some(line)) => Ok(line.to_owned()),
            (Ok(_), None) => Err(self.error(
                ErrorKind::Unavailable,
                "closed a new connection; a server that wants TLS (-Z) or SASL (-S) does that, and neither is supported",
            )),
            (Err(source), _) => Err(self.broken(false).with_source(source)),
        }
    }

    fn unexpected(&self, line: &str) -> Error {
        if line.contains("unauthenticated") {
            self.error(ErrorKind::Denied, "wants a login: memcache://username:password@…")
        } else if line.contains("Too many open connections") {
            self.error(
                ErrorKind::Unavailable,
                "has no connection left; raise its limit (-c) or lower `connections`",
            )
        } else {
            self.error(
                ErrorKind::Unsupported,
                "does not know the meta commands; memcached 1.6 or later is needed",
            )
        }
    }

    /// An error that names the server. What the client library prints is never part of it: some of its messages repeat
    /// keys and answers.
    fn error(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, format!("{} {why}", self.address))
    }

    fn broken(&self, maybe_done: bool) -> Error {
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
        let answer = match connection.wire.send(command).await {
            Ok(()) => connection.wire.receive().await.map_err(|error| self.server.failed(error, intent)),
            // The server has seen a part of it at most, and does nothing before it has seen the whole.
            Err(error) => Err(self.server.failed(error, Intent::Read)),
        };
        match answer.and_then(|answer| parse_meta_result(answer).map_err(|e| self.server.failed(e, intent))) {
            Ok(answer) => {
                connection.last_used = Instant::now();
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(error) => {
                // Where one connection died the others have too: let the next call find out by connecting.
                self.server.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Err(error)
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
            self.server.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
