//! One memcached server: its connections, each for one command at a time.

use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use memcache::exp::{
    AsyncMetaConnection, Error as ClientError, MetaCommand, MetaCommandResult, parse_meta_result,
};
use mocha_session_core::backend::{CredentialSource, Dialer, Era, PerRuntime, Pulse, Timeouts};
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind, Result};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::address::Address;
use crate::error::{of_command, of_server, unsent};
use crate::peer::{Greeting, Peer};

/// An idle connection older than this is not used again: firewalls forget it without telling
/// anyone.
const IDLE: Duration = Duration::from_secs(60);

/// What it takes to connect to a server of the store.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) credentials: CredentialSource,
    /// The most connections that a runtime has to a server.
    pub(crate) connections: usize,
    pub(crate) deadline: Duration,
    pub(crate) timeouts: Timeouts,
    /// The key under which a run of a server is marked.
    pub(crate) marker: String,
}

/// A server and its connections.
pub(crate) struct Server {
    address: Address,
    access: Access,
    dialer: Dialer,
    pulse: Pulse,
    /// The run that the last new connection led to.
    run: Mutex<Option<String>>,
    pools: PerRuntime<Pool>,
}

/// The connections of one runtime.
#[derive(Default)]
struct Pool {
    slots: OnceLock<Arc<Semaphore>>,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    wire: AsyncMetaConnection,
    peer: Arc<Peer>,
    era: Era,
    last_used: Instant,
}

impl Server {
    pub(crate) fn new(address: Address, access: Access) -> Self {
        let (dialer, pulse) = (Dialer::new(), Pulse::new());
        Self { address, access, dialer, pulse, run: Mutex::default(), pools: PerRuntime::new() }
    }

    /// The address as it was written: what keys are routed by.
    pub(crate) fn address(&self) -> &str {
        self.address.as_str()
    }

    /// A connection for one command: an idle one that is still good, else a new one.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>> {
        let pool = self.pools.here()?;
        let slots = pool.slots.get_or_init(|| Arc::new(Semaphore::new(self.access.connections)));
        let Ok(Ok(slot)) =
            timeout(self.access.timeouts.connect, Arc::clone(slots).acquire_owned()).await
        else {
            return Err(unsent(
                self.address(),
                "has all its connections in use; raise `max_connections`",
            ));
        };
        let (connection, used_before) = match self.idle_connection(&pool) {
            Some(connection) => (connection, true),
            None => (self.connect().await?, false),
        };
        let peer = Arc::clone(&connection.peer);
        Ok(Lease {
            server: self,
            pool,
            peer,
            connection: Some(connection),
            used_before,
            _slot: slot,
        })
    }

    /// One reading command. It changes nothing, so where a connection proves dead only now it is
    /// asked again on a new one.
    pub(crate) async fn read(
        &self,
        command: &MetaCommand,
    ) -> Result<(Lease<'_>, MetaCommandResult)> {
        let mut lease = self.lease().await?;
        let answer = lease.exchange(command, Effect::Read).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable)
            && lease.used_before
        {
            drop(lease);
            lease = self.lease().await?;
            let answer = lease.exchange(command, Effect::Read).await?;
            return Ok((lease, answer));
        }
        Ok((lease, answer?))
    }

    fn idle_connection(&self, pool: &Pool) -> Option<Connection> {
        loop {
            let mut connection = pool.idle().pop()?;
            if self.dialer.is_current(connection.era)
                && connection.last_used.elapsed() < IDLE
                && connection.is_quiet()
            {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection> {
        let attempt = self.dialer.attempt(Instant::now())?;
        let late = || unsent(self.address(), "did not answer a new connection in time");
        let dialled = timeout(self.access.timeouts.connect, self.dial())
            .await
            .unwrap_or_else(|_| Err(late()));
        match dialled {
            Ok((wire, peer)) => {
                let era = attempt.succeeded();
                self.meet(&peer, era);
                Ok(Connection { wire, peer: Arc::new(peer), era, last_used: Instant::now() })
            }
            Err(error) => Err(attempt.failed(Instant::now(), error)),
        }
    }

    async fn dial(&self) -> Result<(AsyncMetaConnection, Peer)> {
        let addresses = self.address.find().await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|cause: io::Error| {
            unsent(self.address(), "cannot be reached; is memcached running there?")
                .with_source(cause)
        })?;
        // Without it every answer would wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let mut greeting = Greeting { address: self.address(), stream: BufReader::new(stream) };
        let peer =
            greeting.exchange(&self.access.credentials.ask().await?, &self.access.marker).await?;
        Ok((AsyncMetaConnection::from_stream(greeting.stream.into_inner()), peer))
    }

    /// Leaves the connections to another run of the server, whose revisions mean something else.
    fn meet(&self, peer: &Peer, era: Era) {
        let mut known = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref().is_some_and(|known| known != peer.run()) {
            self.dialer.leave(era);
        }
        *known = Some(peer.run().to_owned());
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Whether nothing has arrived since the last answer: an end of file would mean that the server
    /// is gone, anything else that the next answer would not be ours.
    fn is_quiet(&mut self) -> bool {
        pin!(self.wire.receive()).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// A connection while it is used for one command. Goes back to the idle ones when dropped, unless
/// its command was cut short: then the answer may still arrive, and the next command would take it
/// for its own.
pub(crate) struct Lease<'a> {
    server: &'a Server,
    pool: Arc<Pool>,
    pub(crate) peer: Arc<Peer>,
    /// None while a command is under way, so that dropping its future closes the connection.
    connection: Option<Connection>,
    used_before: bool,
    _slot: OwnedSemaphorePermit,
}

impl Lease<'_> {
    pub(crate) async fn exchange(
        &mut self,
        command: &MetaCommand,
        effect: Effect,
    ) -> Result<MetaCommandResult> {
        let Some(mut connection) = self.connection.take() else {
            return Err(Error::new(
                ErrorKind::Internal,
                "a connection was used for a second command",
            ));
        };
        let server = self.server;
        let call = server.pulse.call(&server.dialer, connection.era);
        let mut sent = false;
        let talk = async {
            connection.wire.send(command).await?;
            sent = true;
            connection.wire.receive().await.and_then(parse_meta_result)
        };
        let Ok(answer) = timeout(server.access.timeouts.response, talk).await else {
            // `call` ends without an answer: if nothing else was heard, the other connections are
            // silent too.
            let why = "did not answer in time; is it overloaded?";
            return Err(of_server(server.address(), Failure::TimedOut, effect, why));
        };
        call.answered();
        match answer {
            Ok(answer) => {
                connection.last_used = Instant::now();
                self.connection = Some(connection);
                Ok(answer)
            }
            Err(cause) => {
                if matches!(cause, ClientError::Io(_)) {
                    // Where one connection died the idle ones have too.
                    server.dialer.leave(connection.era);
                }
                // Of a command that was not sent whole the server does nothing.
                let effect = if sent { effect } else { Effect::Read };
                Err(of_command(server.address(), cause, effect))
            }
        }
    }

    /// The error for an answer that does not belong to the command. The connection is not used
    /// again.
    pub(crate) fn misunderstood(&mut self, effect: Effect) -> Error {
        self.connection = None;
        of_command(self.server.address(), ClientError::Conflict, effect)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle().push(connection);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::atomic::{AtomicBool, Ordering};

    use mocha_session_core::backend::Credentials;

    use super::*;
    use crate::support::Memcached;

    #[tokio::test]
    async fn name_that_leads_to_several_servers_is_refused_when_it_begins_to() {
        let Some(one) = Memcached::start(&[]) else { return };
        let other = Memcached::start(&[]).unwrap();
        let (first, second) = (one.address(), other.address());
        let before = other.count("total_connections");
        let several = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&several);
        let address = Address::new("cache.internal:11211".to_owned()).resolving_to(move || {
            if flag.load(Ordering::SeqCst) { vec![first, second] } else { vec![first] }
        });
        let access = Access {
            credentials: CredentialSource::fixed(Credentials::default()),
            connections: 1,
            deadline: Duration::from_secs(5),
            timeouts: Timeouts::default(),
            marker: "session:run".to_owned(),
        };
        let server = Server::new(address, access);
        let lease = server.lease().await.unwrap();
        several.store(true, Ordering::SeqCst);
        server.dialer.leave(lease.connection.as_ref().unwrap().era);
        drop(lease);
        let error = server.lease().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(
            error.to_string().contains("cache.internal:11211 leads to several servers"),
            "{error}"
        );
        assert_eq!(other.count("total_connections"), before + 1, "asked by this test alone");
    }
}
