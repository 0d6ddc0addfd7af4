//! How commands reach a server: over one multiplexed connection that is opened when it is needed and again after it
//! broke, or through a client that somebody else made.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::{ConnectionManager, MultiplexedConnection, SendError};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connect::{Access, Timeouts};
use crate::error::{Effect, Failure, code};
use crate::{cluster, tls};

/// What a [`RedisStore`](crate::RedisStore) talks through: made from a client or a connection that you own.
///
/// - From a [`redis::Client`]: the store keeps one connection of its own, as it does for a URL. It is opened by the
///   first command, and again after it broke or turned out to lead to a replica.
/// - From a [`ConnectionManager`]: shared with the rest of your program. Know its limits: the first command after a
///   disconnect fails, its default response timeout is half a second, and a reconnection that the server refuses
///   (too many clients, still loading) leaves it failing for good.
/// - From a [`ClusterConnection`]: build its client with `.retries(0)`. The store follows redirects itself, and a
///   client that repeats a write whose answer was lost hides whether it was done.
///
/// ```no_run
/// use mocha_session_core::store::KeySpace;
/// use mocha_session_redis::{Connection, RedisStore};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Connection::from(redis::Client::open("redis://127.0.0.1/")?);
/// let store = RedisStore::new(connection, KeySpace::new("session:")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection(pub(crate) Via);

#[derive(Clone)]
pub(crate) enum Via {
    Link(Arc<Link>),
    Manager(ConnectionManager),
    Cluster(ClusterConnection),
}

impl From<Client> for Connection {
    fn from(client: Client) -> Self {
        let target = Target::Server(client.get_connection_info().clone());
        Self(Via::Link(Arc::new(Link::new(target, Timeouts::default()))))
    }
}

impl From<ConnectionManager> for Connection {
    fn from(manager: ConnectionManager) -> Self {
        Self(Via::Manager(manager))
    }
}

impl From<ClusterConnection> for Connection {
    fn from(cluster: ClusterConnection) -> Self {
        Self(Via::Cluster(cluster))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Via::Link(_) => "Connection(own)",
            Via::Manager(_) => "Connection(manager)",
            Via::Cluster(_) => "Connection(cluster)",
        })
    }
}

impl Connection {
    /// Sends a command where its key lives. A read whose connection broke is sent once more; a write never is.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd, effect: Effect) -> Result<T, Failure> {
        let answer = match (&self.0, self.once(command, effect).await) {
            (Via::Link(_) | Via::Manager(_), Err(Failure::Sent(cause)))
                if effect == Effect::Read && cause.is_connection_dropped() =>
            {
                self.once(command, effect).await?
            }
            (_, answer) => answer?,
        };
        T::from_redis_value(answer).map_err(|cause| Failure::Sent(cause.into()))
    }

    /// What the server answers, or each primary of the cluster.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        match &self.0 {
            Via::Cluster(cluster) => {
                let answers = cluster::everywhere(cluster.clone(), command).await.map_err(Failure::Sent)?;
                Ok(answers.into_iter().map(|(_, answer)| answer).collect())
            }
            _ => Ok(vec![self.query(command, Effect::Read).await?]),
        }
    }

    /// The names of the nodes that have keys; a single server has none.
    pub(crate) async fn nodes(&self) -> Result<Vec<String>, Failure> {
        match &self.0 {
            Via::Cluster(cluster) => cluster::primaries(cluster.clone()).await.map_err(Failure::Sent),
            _ => Ok(vec![String::new()]),
        }
    }

    /// Sends a read to one of these nodes.
    pub(crate) async fn query_at<T: FromRedisValue>(&self, node: &str, command: &Cmd) -> Result<T, Failure> {
        let answer = match &self.0 {
            Via::Cluster(cluster) => {
                cluster::query_at(cluster.clone(), command, node).await.map_err(Failure::Sent)?
            }
            _ => self.query(command, Effect::Read).await?,
        };
        T::from_redis_value(answer).map_err(|cause| Failure::Sent(cause.into()))
    }

    /// The values of these keys of one node, in their order.
    pub(crate) async fn get_all(
        &self,
        node: &str,
        names: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        match &self.0 {
            Via::Cluster(cluster) => {
                let values = cluster::get_all(cluster.clone(), names, node).await.map_err(Failure::Sent)?;
                FromRedisValue::from_redis_value(Value::Array(values))
                    .map_err(|cause| Failure::Sent(cause.into()))
            }
            _ => self.query(redis::cmd("MGET").arg(names), Effect::Read).await,
        }
    }

    async fn once(&self, command: &Cmd, effect: Effect) -> Result<Value, Failure> {
        match &self.0 {
            Via::Link(link) => link.query(command).await,
            Via::Manager(manager) => {
                command.query_async(&mut manager.clone()).await.map_err(|cause: RedisError| {
                    // Only a connection that was never made is refused, or finds no socket file.
                    if cause.is_connection_refusal() { Failure::NotSent(cause) } else { Failure::Sent(cause) }
                })
            }
            Via::Cluster(cluster) => {
                cluster::query(cluster.clone(), command, effect).await.map_err(Failure::Sent)
            }
        }
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
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response));
        let (_, outcome) = watch::channel(None);
        let none = Attempt { outcome, broken: Arc::new(AtomicBool::new(true)) };
        Self { dialer: Arc::new(Dialer { target, config }), attempt: Mutex::new(Arc::new(none)) }
    }

    async fn query(&self, command: &Cmd) -> Result<Value, Failure> {
        let attempt = self.attempt();
        let outcome = match attempt.outcome.clone().wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        let aborted = || Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into());
        let mut connection = outcome.unwrap_or_else(aborted).map_err(Failure::NotSent)?;
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
                            match primary(&access.to(&address.0, address.1)?, &self.config, broken.clone())
                                .await
                            {
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
