//! One memcached server and its connections, each of which runs one command at a time.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::error::{of_call, of_server, unsent};
use crate::handshake::{Handshake, ServerRun};

/// The time for which an idle connection is usable. Firewalls silently drop older ones.
const IDLE: Duration = Duration::from_secs(60);

/// The settings of connections to the servers of a store.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) credentials: CredentialSource,
    /// The maximum number of connections from a runtime to a server.
    pub(crate) connections: usize,
    pub(crate) deadline: Duration,
    pub(crate) timeouts: Timeouts,
    /// The key of the item that marks a run of a server.
    pub(crate) marker: String,
}

/// A server and its connections.
pub(crate) struct Server {
    address: Address,
    access: Access,
    dialer: Dialer,
    pulse: Pulse,
    /// The run of the last new connection.
    run: Mutex<Option<String>>,
    pools: PerRuntime<Pool>,
}

/// The connections of one runtime.
struct Pool {
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    wire: AsyncMetaConnection,
    run: Arc<ServerRun>,
    era: Era,
    last_used: Instant,
}

impl Server {
    pub(crate) fn new(address: Address, access: Access) -> Self {
        let (dialer, pulse) = (Dialer::new(), Pulse::new());
        Self { address, access, dialer, pulse, run: Mutex::default(), pools: PerRuntime::new() }
    }

    /// The address as written, by which keys are routed.
    pub(crate) fn address(&self) -> &str {
        self.address.as_str()
    }

    /// Returns a connection for one command: an idle one that is still good, or a new one.
    pub(crate) async fn lease(&self) -> Result<Lease<'_>> {
        let pool = self.pools.here(|| Pool {
            slots: Arc::new(Semaphore::new(self.access.connections)),
            idle: Mutex::default(),
        })?;
        let free = Arc::clone(&pool.slots).acquire_owned();
        let Ok(Ok(slot)) = timeout(self.access.timeouts.connect, free).await else {
            return Err(unsent(
                self.address(),
                "has all connections of this process in use; raise `max_connections`",
            ));
        };
        let (connection, used_before) = match self.idle_connection(&pool) {
            Some(connection) => (connection, true),
            None => (self.connect().await?, false),
        };
        let run = Arc::clone(&connection.run);
        Ok(Lease {
            server: self,
            pool,
            run,
            connection: Some(connection),
            used_before,
            _slot: slot,
        })
    }

    /// Sends a read. If an idle connection turns out to be dead, the read is sent again on a new
    /// one, because it changes nothing.
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
            Ok((wire, run)) => {
                let era = attempt.succeeded();
                self.meet(&run, era);
                Ok(Connection { wire, run: Arc::new(run), era, last_used: Instant::now() })
            }
            Err(error) => Err(attempt.failed(Instant::now(), error)),
        }
    }

    /// Asks for the server's settings and counters, on a connection of its own.
    pub(crate) async fn stats(&self) -> Result<HashMap<String, String>> {
        let asked = async {
            let mut handshake = self.reach().await?;
            handshake.stats(&self.access.credentials.ask().await?).await
        };
        timeout(self.access.deadline, asked).await.unwrap_or_else(|_| {
            Err(unsent(self.address(), "did not answer in time; is it overloaded?"))
        })
    }

    async fn dial(&self) -> Result<(AsyncMetaConnection, ServerRun)> {
        let mut handshake = self.reach().await?;
        let run =
            handshake.exchange(&self.access.credentials.ask().await?, &self.access.marker).await?;
        Ok((AsyncMetaConnection::from_stream(handshake.stream.into_inner()), run))
    }

    async fn reach(&self) -> Result<Handshake<'_>> {
        let addresses = self.address.find().await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|cause: io::Error| {
            unsent(self.address(), "cannot be reached; is memcached running there?")
                .with_source(cause)
        })?;
        // Otherwise a command waits for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Ok(Handshake { address: self.address(), stream: BufReader::new(stream) })
    }

    /// Remembers the run, and leaves the connections to an earlier one, whose revisions have
    /// another meaning.
    fn meet(&self, run: &ServerRun, era: Era) {
        let mut known = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref().is_some_and(|known| known != run.id()) {
            self.dialer.leave(era);
        }
        *known = Some(run.id().to_owned());
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
    /// Returns whether no byte and no end of file has arrived since the last answer. Otherwise the
    /// server is gone, or the next answer belongs to another command.
    fn is_quiet(&mut self) -> bool {
        pin!(self.wire.receive()).poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// A connection in use by one command. Dropped, it becomes idle again, unless its command was cut
/// short: then the answer may still arrive, and the next command would read it.
pub(crate) struct Lease<'a> {
    server: &'a Server,
    pool: Arc<Pool>,
    pub(crate) run: Arc<ServerRun>,
    /// `None` while a command is pending, so that dropping its future closes the connection.
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
            // Dropping `call` leaves the other connections, if they were silent too.
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
                    // The idle connections are probably dead, too.
                    server.dialer.leave(connection.era);
                }
                // The server ignores a command that was not sent completely.
                let effect = if sent { effect } else { Effect::Read };
                Err(of_call(server.address(), cause, effect))
            }
        }
    }

    /// Returns the error for an answer that does not fit the command, and closes the connection.
    pub(crate) fn misunderstood(&mut self, effect: Effect) -> Error {
        self.connection = None;
        of_call(self.server.address(), ClientError::Conflict, effect)
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

    use mocha_session_conformance::Proxy;
    use mocha_session_core::backend::Credentials;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::support::Memcached;

    #[tokio::test]
    async fn name_is_refused_as_soon_as_it_resolves_to_several_servers() {
        let Some(one) = Memcached::start(&[]) else { return };
        let other = Memcached::start(&[]).unwrap();
        // A proxy counts, because a memcached that is busy counts a connection some time after it
        // was made.
        let proxy = Proxy::to(other.address().to_string()).await.unwrap();
        let (first, second) = (one.address(), proxy.address());
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
            error.to_string().contains("cache.internal:11211 resolves to several servers"),
            "{error}"
        );
        // Connections are accepted in order, so one of the store's would be counted by now.
        let mut own = BufReader::new(TcpStream::connect(second).await.unwrap());
        own.write_all(b"version\r\n").await.unwrap();
        own.read_line(&mut String::new()).await.unwrap();
        assert_eq!(proxy.dials(), 1, "asked by this test alone");
    }
}
