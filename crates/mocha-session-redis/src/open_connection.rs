//! One open connection: sends commands through it, and watches whether its server is still there
//! and still the primary.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mocha_session_core::backend::{Dialer, Era, Pulse, Role};
use mocha_session_core::store::{Effect, Failure};
use redis::aio::{ConnectionManager, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};

use crate::cluster;
use crate::error::{Failed, code};

/// The client's connection.
#[derive(Clone)]
pub(crate) enum Wire {
    Single(MultiplexedConnection),
    Manager(ConnectionManager),
    Cluster(ClusterConnection),
}

/// A connection that was just opened.
pub(crate) struct Dialled {
    pub(crate) wire: Wire,
    /// Set by the client when the connection is lost.
    pub(crate) lost: Arc<AtomicBool>,
    /// Whether a read may ask for the role: the server reports it, or the cluster's client is the
    /// application's. The nodes of a cluster redirect, except to a client that reads from replicas.
    pub(crate) tells_role: bool,
    /// Whether the server was asked to report changes.
    pub(crate) tracked: bool,
}

/// An open connection, and where to report that it is lost.
pub(crate) struct OpenConnection {
    pub(crate) wire: Wire,
    lost: Arc<AtomicBool>,
    tells_role: bool,
    /// Whether the server was asked to report changes.
    pub(crate) tracked: bool,
    /// Whether the server may have `SET … IFEQ`. It is tried instead of asking for the version,
    /// because ACLs and proxies hide that, and the nodes of a cluster can differ.
    compares: AtomicBool,
    pulse: Pulse,
    /// Its dialer and its era; `None` for a connection that the application owns.
    home: Option<(Arc<Dialer>, Era)>,
}

impl OpenConnection {
    pub(crate) fn new(dialled: Dialled, home: Option<(Arc<Dialer>, Era)>) -> Self {
        let Dialled { wire, lost, tells_role, tracked } = dialled;
        let pulse = Pulse::new();
        if home.is_some() {
            // Dialling asked for the role.
            pulse.role_is_known();
        }
        let compares = AtomicBool::new(true);
        Self { wire, lost, tells_role, tracked, compares, pulse, home }
    }

    /// Returns whether to compare and set without a script.
    pub(crate) fn compares(&self) -> bool {
        self.compares.load(Ordering::Relaxed)
    }

    /// The server has refused it.
    pub(crate) fn compares_not(&self) {
        self.compares.store(false, Ordering::Relaxed);
    }

    /// A connection that the application owns.
    pub(crate) fn given(wire: Wire) -> Self {
        Self::new(Dialled { wire, lost: Arc::default(), tells_role: true, tracked: false }, None)
    }

    /// Returns whether another command may use it.
    pub(crate) fn is_good(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
            && self.home.as_ref().is_none_or(|(dialer, era)| dialer.is_current(*era))
    }

    /// Sends a command to the server that has its key.
    pub(crate) async fn query(&self, command: &Cmd, effect: Effect) -> Result<Value, Failed> {
        let call = self.home.as_ref().map(|(dialer, era)| self.pulse.call(dialer, *era));
        // A replica refuses a write by itself, so only reads ask for the role.
        let asks = effect == Effect::Read && self.tells_role && !self.pulse.is_role_known();
        let answer = if asks && !matches!(self.wire, Wire::Cluster(_)) {
            Box::pin(self.query_and_ask_for_role(command)).await
        } else {
            self.once(command, effect).await
        };
        match &answer {
            Err(Failed::Replica) => self.leave(),
            Err(Failed::Client(cause, _)) if self.is_lost_with(cause) => self.leave(),
            _ => drop(call.map(mocha_session_core::backend::Call::answered)),
        }
        answer
    }

    async fn once(&self, command: &Cmd, effect: Effect) -> Result<Value, Failed> {
        Ok(match &self.wire {
            Wire::Single(single) => command.query_async(&mut single.clone()).await?,
            Wire::Manager(manager) => {
                let answer = Box::pin(command.query_async(&mut manager.clone())).await;
                answer.map_err(|cause: RedisError| {
                    // "Refused" and "no socket file" come from connecting, before anything is sent.
                    let known = cause.is_connection_refusal().then_some(Failure::NotSent);
                    Failed::Client(cause, known)
                })?
            }
            Wire::Cluster(cluster) => {
                let sent = cluster::query(cluster.clone(), command, effect, self.tells_role);
                Box::pin(sent).await.map_err(|cause| {
                    if effect == Effect::Read && code(&cause) == Some("READONLY") {
                        return Failed::Replica;
                    }
                    let known = (!cluster::is_own(&cause)).then_some(Failure::Unanswered);
                    Failed::Client(cause, known)
                })?
            }
        })
    }

    /// Sends a read and asks for the server's role in one round trip. The role is asked last,
    /// because a primary after the read was the primary during it.
    async fn query_and_ask_for_role(&self, command: &Cmd) -> Result<Value, Failed> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(command.clone()).cmd("HELLO");
        let mut answers = match &self.wire {
            Wire::Single(single) => single.clone().send_packed_commands(&pipeline, 0, 2).await?,
            Wire::Manager(manager) => manager.clone().send_packed_commands(&pipeline, 0, 2).await?,
            Wire::Cluster(_) => return self.once(command, Effect::Read).await,
        };
        if let Some(Role::Replica) = answers.pop().and_then(|answer| role(answer.extract_error())) {
            return Err(Failed::Replica);
        }
        self.pulse.role_is_known();
        Ok(answers.pop().unwrap_or(Value::Nil).extract_error()?)
    }

    /// Returns whether the connection cannot be used after this error. A timeout counts: a new
    /// connection fails fast if the server is gone.
    fn is_lost_with(&self, cause: &RedisError) -> bool {
        if matches!(self.wire, Wire::Cluster(_)) {
            // The cluster's client reconnects to its nodes by itself, but with its old login. So it
            // is replaced when it cannot connect. At most once a second, because a node may simply
            // be down.
            let unconnected = [
                redis::ErrorKind::AuthenticationFailed,
                redis::ErrorKind::ClusterConnectionNotFound,
            ];
            return !self.pulse.is_role_known()
                && (cause.is_io_error() || unconnected.contains(&cause.kind()));
        }
        cause.is_io_error()
            || cause.is_unrecoverable_error()
            || matches!(code(cause), Some("READONLY" | "MASTERDOWN" | "NOAUTH"))
    }

    fn leave(&self) {
        if let Some((dialer, era)) = &self.home {
            dialer.leave(*era);
        }
    }
}

/// The role in an answer to `HELLO`, the one command that tells it and that no ACL forbids. `None`
/// from a server that does not know the command; it is used as a primary.
pub(crate) fn role(hello: RedisResult<Value>) -> Option<Role> {
    let mut fields: HashMap<String, Value> = redis::from_redis_value(hello.ok()?).ok()?;
    let role: String = redis::from_redis_value(fields.remove("role")?).ok()?;
    Some(if matches!(role.as_str(), "replica" | "slave") { Role::Replica } else { Role::Primary })
}
