//! What the store sends its commands through: a connection of its own, or a client that somebody else made.

use std::fmt;
use std::sync::Arc;

use redis::aio::ConnectionManager;
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, FromRedisValue, RedisError, Value};

use crate::cluster;
use crate::error::{Effect, Failure};
use crate::link::{Link, Target, Timeouts};

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
        let mut answer = self.once(command, effect).await;
        if let Err(Failure::Sent(cause)) = &answer
            && effect == Effect::Read
            && cause.is_connection_dropped()
            && !matches!(self.0, Via::Cluster(_))
        {
            // Boxed, like all that is rare: what is sent for every request has a small future.
            answer = Box::pin(self.once(command, effect)).await;
        }
        Ok(T::from_redis_value(answer?)?)
    }

    async fn once(&self, command: &Cmd, effect: Effect) -> Result<Value, Failure> {
        match &self.0 {
            Via::Link(link) => link.query(command).await,
            Via::Manager(manager) => match Box::pin(command.query_async(&mut manager.clone())).await {
                // Only a connection that was never made is refused, or finds no socket file.
                Err(cause) if RedisError::is_connection_refusal(&cause) => Err(Failure::NotSent(cause)),
                answer => Ok(answer?),
            },
            Via::Cluster(cluster) => match Box::pin(cluster::query(cluster.clone(), command, effect)).await {
                Err(cause) if !cluster::is_own(&cause) => Err(Failure::Lost(cause)),
                answer => Ok(answer?),
            },
        }
    }

    /// What the server answers, or each primary of the cluster.
    pub(crate) async fn everywhere(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        match &self.0 {
            Via::Cluster(cluster) => {
                let answers = cluster::everywhere(cluster.clone(), command).await?;
                Ok(answers.into_iter().map(|(_, answer)| answer).collect())
            }
            _ => Ok(vec![self.query(command, Effect::Read).await?]),
        }
    }

    /// The names of the nodes that have keys; a single server has none.
    pub(crate) async fn nodes(&self) -> Result<Vec<String>, Failure> {
        match &self.0 {
            Via::Cluster(cluster) => Ok(cluster::primaries(cluster.clone()).await?),
            _ => Ok(vec![String::new()]),
        }
    }

    /// Sends a read to one of these nodes.
    pub(crate) async fn query_at<T: FromRedisValue>(&self, node: &str, command: &Cmd) -> Result<T, Failure> {
        match &self.0 {
            Via::Cluster(cluster) => {
                Ok(T::from_redis_value(cluster::query_at(cluster.clone(), command, node).await?)?)
            }
            _ => self.query(command, Effect::Read).await,
        }
    }

    /// The values of these keys of one node, in their order.
    pub(crate) async fn get_all(
        &self,
        node: &str,
        names: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, Failure> {
        match &self.0 {
            _ if names.is_empty() => Ok(Vec::new()),
            Via::Cluster(cluster) => {
                let values = cluster::get_all(cluster.clone(), names, node).await?;
                Ok(FromRedisValue::from_redis_value(Value::Array(values))?)
            }
            _ => self.query(redis::cmd("MGET").arg(names), Effect::Read).await,
        }
    }
}
