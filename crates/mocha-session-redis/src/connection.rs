//! What the store sends its commands through: a client or a connection that the user owns, or what
//! a URL leads to.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, LazyLock};

use mocha_session_core::Result;
use mocha_session_core::backend::{CredentialSource, Credentials};
use mocha_session_core::store::Effect;
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, FromRedisValue, Script, Value};

use crate::cluster;
use crate::dial::{Place, Target};
use crate::error::Failed;
use crate::link::Link;
use crate::session::{Session, Wire};

/// Compare and set: a revision in front of a value costs no second key, so it works in clusters and
/// expires with it. The numbers are text, because turning numbers of Lua into text takes the server
/// an eighth of the script's time.
const UPDATE: &str = "if redis.call('GETRANGE',KEYS[1],'0','7')~=ARGV[1] then return 0 end \
                      redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3]) return 1";

static UPDATE_HASH: LazyLock<String> = LazyLock::new(|| Script::new(UPDATE).get_hash().to_owned());

/// What a [`RedisStore`](crate::RedisStore) talks through: made from a client or a connection that
/// you own.
///
/// From a client the store dials for itself, as it does for a URL: one connection for each Tokio
/// runtime that uses the store, opened by the first command, and again after it broke or turned out
/// to lead to a replica.
///
/// - [`redis::Client`], or [with credentials](Self::with_credentials) that are asked for at each
///   dial.
/// - [`ClusterClient`]: build it with `.retries(0)`. The store follows redirects itself, and a
///   client that repeats a write whose answer was lost hides whether it was done.
///
/// A connection that is open already is shared with the rest of your program, and belongs to the
/// runtime that opened it. The store finds out when it leads to a replica and refuses to read it,
/// but cannot replace it.
///
/// - [`ConnectionManager`]: the first command after a disconnect fails, its default response
///   timeout is half a second, and a reconnection that the server refuses (too many clients, still
///   loading) leaves it failing for good.
/// - [`MultiplexedConnection`]: once it is lost it stays lost.
/// - [`ClusterConnection`]: as for its client, `.retries(0)`.
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
    Link(Arc<Link>),
    Given(Arc<Session>),
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
            Via::Link(_) => "Connection(dialled when needed)",
            Via::Given(_) => "Connection(open)",
        })
    }
}

impl Connection {
    /// A client whose user name and password are asked for before each connection: passwords that
    /// rotate, and tokens that expire, as those of cloud IAM.
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
        Self(Via::Link(Arc::new(Link::new(target))))
    }

    fn given(wire: Wire) -> Self {
        Self(Via::Given(Arc::new(Session::given(wire))))
    }

    async fn session(&self) -> Result<Arc<Session>, Failed> {
        match &self.0 {
            Via::Link(link) => link.session().await.map_err(Failed::Undialled),
            Via::Given(session) => Ok(Arc::clone(session)),
        }
    }

    /// The cluster, if it is one.
    async fn cluster(&self) -> Result<Option<ClusterConnection>, Failed> {
        Ok(match &self.session().await?.wire {
            Wire::Cluster(cluster) => Some(cluster.clone()),
            _ => None,
        })
    }

    /// Sends a command where its key lives.
    pub(crate) async fn query<T: FromRedisValue>(
        &self,
        command: &Cmd,
        effect: Effect,
    ) -> Result<T> {
        answer(self.send(command, effect).await, effect)
    }

    /// Runs the script that compares and sets. `call` makes the command from the way of naming the
    /// script.
    pub(crate) async fn update(&self, call: impl Fn(&str, &str) -> Cmd) -> Result<bool> {
        let mut sent = self.send(&call("EVALSHA", &UPDATE_HASH), Effect::Write).await;
        if sent.as_ref().is_err_and(|failed| failed.code() == Some("NOSCRIPT")) {
            // Once after each start of a server. EVAL runs it and keeps it, on the node that serves
            // the key.
            sent = Box::pin(self.send(&call("EVAL", UPDATE), Effect::Write)).await;
        }
        answer(sent, Effect::Write)
    }

    /// A read whose connection broke, or led to a replica, is sent once more; a write never is.
    async fn send(&self, command: &Cmd, effect: Effect) -> Result<Value, Failed> {
        let answer = self.session().await?.query(command, effect).await;
        match answer {
            Err(failed) if effect == Effect::Read && failed.needs_another_connection() => {
                // Boxed, so that what is sent for every request has a small future.
                Box::pin(async { self.session().await?.query(command, effect).await }).await
            }
            answer => answer,
        }
    }

    /// What the server answers, or each primary of the cluster.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, Failed> {
        match self.cluster().await? {
            Some(cluster) => {
                let answers = cluster::everywhere(cluster, command).await?;
                Ok(answers.into_iter().map(|(_, answer)| answer).collect())
            }
            None => Ok(vec![self.send(command, Effect::Read).await?]),
        }
    }

    /// The names of the nodes that have keys; a single server has none.
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

    /// The values of these keys of one node, in their order.
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

fn answer<T: FromRedisValue>(sent: Result<Value, Failed>, effect: Effect) -> Result<T> {
    let parsed = sent.and_then(|answer| Ok(redis::from_redis_value(answer)?));
    parsed.map_err(|failed| failed.into_error(effect))
}
