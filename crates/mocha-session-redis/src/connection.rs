//! The connection of a store: to a URL's servers, over the application's client, or the
//! application's own connection.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, LazyLock};

use mocha_session_core::Result;
use mocha_session_core::backend::{CredentialSource, Credentials};
use mocha_session_core::store::{Changes, Effect, KeySpace};
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, FromRedisValue, Script, Value};

use crate::cluster;
use crate::dial::{Place, Target};
use crate::error::Failed;
use crate::open_connection::{OpenConnection, Wire};
use crate::reconnecting::Reconnecting;
use crate::store::NUMBER;

/// Compare-and-set for servers without `SET … IFEQ`. The number of the write is in front of the
/// value: a second key would not work in clusters or expire with the first. The script's own
/// numbers are text, because Lua converts numbers slowly. `SETRANGE` of nothing changes nothing, but
/// a replica refuses it: a demoted primary must not report a conflict.
const UPDATE: &str = "if redis.call('GETRANGE',KEYS[1],'0','7')~=ARGV[1] then \
                      redis.call('SETRANGE',KEYS[1],'0','') return 0 end \
                      redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) return 1";

static UPDATE_HASH: LazyLock<String> = LazyLock::new(|| Script::new(UPDATE).get_hash().to_owned());

/// The connection of a [`RedisStore`](crate::RedisStore), made from a client or a connection of
/// your own.
///
/// With a client, the store opens its own connections, as it does for a URL: one for each Tokio
/// runtime that uses the store. The first command opens it, and a later one opens it again after it
/// broke or led to a replica.
///
/// - [`redis::Client`], or a client [with credentials](Self::with_credentials) that a callback
///   returns for each connection.
/// - [`ClusterClient`]: build it with `.retries(0)`. The store follows redirects itself, and a
///   client that repeats a write whose answer was lost hides whether it was done. A strategy that
///   reads from replicas does not apply to sessions: each read goes to the primary and asks for its
///   role.
///
/// A connection that is already open is shared with the rest of your program, and belongs to the
/// runtime that opened it. If it leads to a replica, the store refuses to read it, but cannot
/// replace it.
///
/// - [`ConnectionManager`]: the first command after a disconnect fails. Its default response
///   timeout is half a second. A reconnection that the server refuses (too many clients, still
///   loading) leaves it failing for good.
/// - [`MultiplexedConnection`]: once lost, it stays lost.
/// - [`ClusterConnection`]: build its client with `.retries(0)`, too.
///
/// ```no_run
/// use mocha_session_core::store::KeySpace;
/// use mocha_session_redis::{Connection, RedisStore, redis};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Connection::from(redis::Client::open("redis://127.0.0.1/")?);
/// let store = RedisStore::new(connection, KeySpace::new("session:")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection(Via);

#[derive(Clone)]
enum Via {
    Reconnecting(Arc<Reconnecting>),
    Open(Arc<OpenConnection>),
}

impl From<Client> for Connection {
    fn from(client: Client) -> Self {
        Self::dialling(Target::new(Place::Client(Box::new(client.get_connection_info().clone()))))
    }
}

impl From<ClusterClient> for Connection {
    fn from(client: ClusterClient) -> Self {
        Self::dialling(Target::new(Place::ClusterClient(Box::new(client))))
    }
}

impl From<MultiplexedConnection> for Connection {
    fn from(connection: MultiplexedConnection) -> Self {
        Self::given(Wire::Single(connection))
    }
}

impl From<ConnectionManager> for Connection {
    fn from(manager: ConnectionManager) -> Self {
        Self::given(Wire::Manager(manager))
    }
}

impl From<ClusterConnection> for Connection {
    fn from(cluster: ClusterConnection) -> Self {
        Self::given(Wire::Cluster(cluster))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Via::Reconnecting(_) => "Connection(opened on demand)",
            Via::Open(_) => "Connection(open)",
        })
    }
}

impl Connection {
    /// A client with a callback that returns the user name and password for each new connection:
    /// for passwords that rotate and for tokens that expire, such as those of cloud IAM.
    ///
    /// ```no_run
    /// use mocha_session_core::backend::Credentials;
    /// use mocha_session_redis::{Connection, redis};
    ///
    /// # async fn token() -> mocha_session_core::Result<String> { Ok(String::new()) }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = redis::Client::open("rediss://cache.example:6379/")?;
    /// let connection = Connection::with_credentials(client, || async {
    ///     Ok(Credentials::new("app", token().await?))
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_credentials<F, Fut>(client: Client, ask: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Credentials>> + Send + 'static,
    {
        let place = Place::Client(Box::new(client.get_connection_info().clone()));
        Self::dialling(Target {
            credentials: Some(CredentialSource::asking(ask)),
            ..Target::new(place)
        })
    }

    pub(crate) fn dialling(target: Target) -> Self {
        Self(Via::Reconnecting(Arc::new(Reconnecting::new(target))))
    }

    /// Returns the reports of the keys of a store, if the connection is this crate's own.
    pub(crate) fn changes(&self, space: &KeySpace) -> Option<Changes> {
        match &self.0 {
            Via::Reconnecting(reconnecting) => reconnecting.changes(space),
            Via::Open(_) => None,
        }
    }

    fn given(wire: Wire) -> Self {
        Self(Via::Open(Arc::new(OpenConnection::given(wire))))
    }

    async fn open(&self) -> Result<Arc<OpenConnection>, Failed> {
        match &self.0 {
            Via::Reconnecting(reconnecting) => reconnecting.open().await.map_err(Failed::Undialled),
            Via::Open(open) => Ok(Arc::clone(open)),
        }
    }

    /// The cluster's connection; `None` for a single server.
    async fn cluster(&self) -> Result<Option<ClusterConnection>, Failed> {
        Ok(match &self.open().await?.wire {
            Wire::Cluster(cluster) => Some(cluster.clone()),
            _ => None,
        })
    }

    /// Sends a command to the server that has its key.
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        effect: Effect,
    ) -> Result<T> {
        answer(self.send(command, effect).await, effect)
    }

    /// Replaces the value under this name if it is `old`, and returns whether it was.
    pub(crate) async fn replace(
        &self,
        name: &str,
        old: &[u8],
        new: &[u8],
        ttl: u64,
    ) -> Result<bool> {
        let replaced = async {
            let open = self.open().await?;
            if open.compares() {
                let mut command = redis::cmd("SET");
                command.arg(name).arg(new).arg("IFEQ").arg(old).arg("PX").arg(ttl);
                match open.query(&command, Effect::Write).await {
                    // Valkey 8.1 and Redis 8.4 have it. Older servers refuse it, and do nothing.
                    Err(failed) if failed.code() == Some("ERR") => open.compares_not(),
                    answer => return Ok(!matches!(answer?, Value::Nil)),
                }
            }
            let call = |verb: &str, script: &str| {
                let mut command = redis::cmd(verb);
                command.arg(script).arg(1).arg(name).arg(&old[..NUMBER]).arg(new).arg(ttl).take()
            };
            // Boxed, so that it does not enlarge the future of other servers.
            Box::pin(run_script(&open, call)).await
        };
        replaced.await.map_err(|failed: Failed| failed.into_error(Effect::Write))
    }

    /// Sends a command. A read whose connection broke or led to a replica is sent once more; a
    /// write never is.
    async fn send(&self, command: &Cmd, effect: Effect) -> Result<Value, Failed> {
        let answer = self.open().await?.query(command, effect).await;
        match answer {
            Err(failed) if effect == Effect::Read && failed.needs_another_connection() => {
                // Boxed, so that the rare path does not enlarge the common future.
                Box::pin(async { self.open().await?.query(command, effect).await }).await
            }
            answer => answer,
        }
    }

    /// Sends a read to the server, or to each primary of the cluster.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, Failed> {
        match self.cluster().await? {
            Some(cluster) => {
                let answers = cluster::everywhere(cluster, command).await?;
                Ok(answers.into_iter().map(|(_, answer)| answer).collect())
            }
            None => Ok(vec![self.send(command, Effect::Read).await?]),
        }
    }

    /// The names of the nodes that have keys; one empty name for a single server.
    pub(crate) async fn nodes(&self) -> Result<Vec<String>> {
        let nodes = async {
            Ok(match self.cluster().await? {
                Some(cluster) => cluster::primaries(cluster).await?,
                None => vec![String::new()],
            })
        };
        nodes.await.map_err(|failed: Failed| failed.into_error(Effect::Read))
    }

    /// Sends a read to one of these nodes.
    pub(crate) async fn query_at<T: FromRedisValue>(&self, node: &str, command: &Cmd) -> Result<T> {
        let sent = async {
            match self.cluster().await? {
                Some(cluster) => Ok(cluster::query_at(cluster, command, node).await?),
                None => self.send(command, Effect::Read).await,
            }
        };
        answer(sent.await, Effect::Read)
    }

    /// Returns the values of these keys of one node, in their order.
    pub(crate) async fn get_all(
        &self,
        node: &str,
        names: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let sent = async {
            match self.cluster().await? {
                Some(cluster) => Ok(Value::Array(cluster::get_all(cluster, names, node).await?)),
                None => self.send(redis::cmd("MGET").arg(names), Effect::Read).await,
            }
        };
        answer(sent.await, Effect::Read)
    }
}

/// Runs the compare-and-set script. `call` makes the command from a verb and the script, or its
/// hash.
async fn run_script(
    open: &OpenConnection,
    call: impl Fn(&str, &str) -> Cmd,
) -> Result<bool, Failed> {
    let mut sent = open.query(&call("EVALSHA", &UPDATE_HASH), Effect::Write).await;
    if sent.as_ref().is_err_and(|failed| failed.code() == Some("NOSCRIPT")) {
        // Once after each start of a server. EVAL runs the script and caches it on the key's node.
        sent = open.query(&call("EVAL", UPDATE), Effect::Write).await;
    }
    Ok(redis::from_redis_value(sent?)?)
}

fn answer<T: FromRedisValue>(sent: Result<Value, Failed>, effect: Effect) -> Result<T> {
    let parsed = sent.and_then(|answer| Ok(redis::from_redis_value(answer)?));
    parsed.map_err(|failed| failed.into_error(effect))
}
