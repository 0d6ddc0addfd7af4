//! One multiplexed connection that is opened when it is needed, and again after it broke; found through sentinels
//! where there are some.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connect::Access;
use crate::error::{Failure, code};
use crate::tls;

/// How long to wait for a connection and for an answer.
#[derive(Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

impl Default for Timeouts {
    /// Less than the core's five seconds together, so that what hangs is noticed here, and left.
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(3) }
    }
}

impl From<Timeouts> for AsyncConnectionConfig {
    fn from(timeouts: Timeouts) -> Self {
        Self::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response))
    }
}

/// Where a [`Link`] leads.
pub(crate) enum Target {
    Server(ConnectionInfo),
    Sentinel { sentinels: Vec<ConnectionInfo>, name: String, primary: Access },
}

/// One multiplexed connection to one server at a time.
///
/// Not the client's own `ConnectionManager`: that one fails for good when a reconnection is refused by the server,
/// does not look for another primary, and does not tell a command that was never sent from one that was.
pub(crate) struct Link {
    dialer: Arc<Dialer>,
    attempt: Mutex<Arc<Attempt>>,
}

struct Dialer {
    target: Target,
    config: AsyncConnectionConfig,
}

type Outcome = Option<RedisResult<MultiplexedConnection>>;

/// One attempt to connect, shared by all who wait for it, and the connection that came of it.
struct Attempt {
    outcome: watch::Receiver<Outcome>,
    broken: Arc<AtomicBool>,
}

impl Attempt {
    /// Waits for the connection.
    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let outcome = match self.outcome.clone().wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or_else(|| Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()))
    }

    fn is_spent(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
            || match &*self.outcome.borrow() {
                Some(outcome) => outcome.is_err(),
                // The runtime that was connecting is gone.
                None => self.outcome.has_changed().is_err(),
            }
    }
}

impl Link {
    pub(crate) fn new(target: Target, timeouts: Timeouts) -> Self {
        let none = Attempt { outcome: watch::channel(None).1, broken: Arc::new(AtomicBool::new(true)) };
        let dialer = Dialer { target, config: timeouts.into() };
        Self { dialer: Arc::new(dialer), attempt: Mutex::new(Arc::new(none)) }
    }

    pub(crate) async fn query(&self, command: &Cmd) -> Result<Value, Failure> {
        let attempt = self.attempt();
        let at_once = match &*attempt.outcome.borrow() {
            Some(Ok(connection)) => Some(connection.clone()),
            _ => None,
        };
        let mut connection = match at_once {
            Some(connection) => connection,
            None => Box::pin(attempt.connection()).await.map_err(Failure::NotSent)?,
        };
        command.query_async(&mut connection).await.map_err(|cause: RedisError| {
            // A timeout too: what doesn't answer is left for a new connection, which fails fast if nobody is there.
            let leave = cause.is_io_error()
                || cause.is_unrecoverable_error()
                || matches!(code(&cause), Some("READONLY" | "MASTERDOWN"));
            if leave {
                attempt.broken.store(true, Ordering::Relaxed);
            }
            Failure::Sent(cause)
        })
    }

    /// The present attempt, or a new one. It runs as a task of its own, so that it is not given up with the request
    /// that happened to need it first.
    fn attempt(&self) -> Arc<Attempt> {
        let mut current = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_spent() {
            let (sender, outcome) = watch::channel(None);
            let broken = Arc::new(AtomicBool::new(false));
            *current = Arc::new(Attempt { outcome, broken: broken.clone() });
            let dialer = self.dialer.clone();
            tokio::spawn(async move { sender.send_replace(Some(dialer.connect(broken).await)) });
        }
        current.clone()
    }
}

impl Dialer {
    async fn connect(&self, broken: Arc<AtomicBool>) -> RedisResult<MultiplexedConnection> {
        match &self.target {
            Target::Server(server) => primary(server, &self.config, broken).await,
            Target::Sentinel { sentinels, name, primary: access } => {
                let mut asked = JoinSet::new();
                for sentinel in sentinels {
                    asked.spawn(primary_address(sentinel.clone(), self.config.clone(), name.clone()));
                }
                let mut failure = None;
                let mut tried = Vec::new();
                // Not every sentinel is up, and one that was cut off names a primary that was.
                while let Some(Ok(answer)) = asked.join_next().await {
                    match answer {
                        Ok(address) if tried.contains(&address) => {}
                        Ok(address) => {
                            match primary(&access.to(&address)?, &self.config, broken.clone()).await {
                                Ok(connection) => return Ok(connection),
                                Err(cause) => failure = Some(cause),
                            }
                            tried.push(address);
                        }
                        Err(cause) => drop(failure.get_or_insert(cause)),
                    }
                }
                Err(failure.unwrap_or_else(unknown_primary))
            }
        }
    }
}

/// Asks one sentinel where the primary is.
async fn primary_address(
    sentinel: ConnectionInfo,
    config: AsyncConnectionConfig,
    name: String,
) -> RedisResult<(String, u16)> {
    let (mut connection, _) = dial(&sentinel, &config, Arc::default()).await?;
    let answer: Option<(String, u16)> =
        redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name).query_async(&mut connection).await?;
    answer.ok_or_else(unknown_primary)
}

fn unknown_primary() -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "no such primary").into()
}

/// Connects to a server that is not a replica: what a replica doesn't have may well exist.
async fn primary(
    server: &ConnectionInfo,
    config: &AsyncConnectionConfig,
    broken: Arc<AtomicBool>,
) -> RedisResult<MultiplexedConnection> {
    let (mut connection, _) = dial(server, config, broken).await?;
    // Of the ways to ask for the role, HELLO is the one that no ACL forbids. A server without it is taken at its word.
    let answer = redis::cmd("HELLO").query_async::<HashMap<String, Value>>(&mut connection).await;
    match answer.map(|mut answer| answer.remove("role").map(String::from_redis_value)) {
        Ok(Some(Ok(role))) if role == "replica" || role == "slave" => {
            Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "a replica").into())
        }
        Err(cause) if cause.is_io_error() => Err(cause),
        _ => Ok(connection),
    }
}

/// Connects, in RESP3 where the server speaks it: there the client learns of a lost connection at once, and the
/// next command opens a new one instead of failing.
pub(crate) async fn dial(
    server: &ConnectionInfo,
    config: &AsyncConnectionConfig,
    broken: Arc<AtomicBool>,
) -> RedisResult<(MultiplexedConnection, ProtocolVersion)> {
    if matches!(server.addr(), ConnectionAddr::TcpTls { .. }) {
        tls::provide();
    }
    let watching = config.clone().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            broken.store(true, Ordering::Relaxed);
        }
        Ok::<_, SendError>(())
    });
    match speak(server, &watching, ProtocolVersion::RESP3).await {
        Err(cause) if speaks_no_resp3(&cause) => speak(server, config, ProtocolVersion::RESP2).await,
        answer => answer,
    }
}

async fn speak(
    server: &ConnectionInfo,
    config: &AsyncConnectionConfig,
    protocol: ProtocolVersion,
) -> RedisResult<(MultiplexedConnection, ProtocolVersion)> {
    let settings = server.redis_settings().clone().set_protocol(protocol);
    let client = Client::open(server.clone().set_redis_settings(settings))?;
    Ok((client.get_multiplexed_async_connection_with_config(config).await?, protocol))
}

fn speaks_no_resp3(cause: &RedisError) -> bool {
    let unknown = |detail: &str| detail.to_ascii_lowercase().starts_with("unknown command");
    cause.kind() == ErrorKind::RESP3NotSupported
        || cause.code() == Some("NOPROTO")
        || cause.code() == Some("ERR") && cause.detail().is_some_and(unknown)
}
