//! Cluster commands beyond the client's: redirects without repeating a write that may have been
//! done, and the list of primaries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mocha_session_core::backend::{Role, Timeouts};
use mocha_session_core::store::Effect;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{
    Arg, Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::dial::{config_with, dial, tcp_settings};
use crate::error::code;
use crate::open_connection::role;
use crate::tls::Certificates;

/// The shortest time for further seeds after the first has answered.
const SOON: Duration = Duration::from_millis(20);

/// Milliseconds to wait before each repetition of a command that was not done. Meanwhile the client
/// renews its map of the slots, and a failover can complete.
const PAUSES: [u64; 4] = [10, 50, 150, 400];

/// The number of hash slots of every cluster.
const SLOTS: i64 = 16_384;

/// Connects to a cluster. One of the seeds must be reachable.
pub(crate) async fn connect(
    seeds: Vec<ConnectionInfo>,
    certificates: Option<Certificates>,
    timeouts: Timeouts,
) -> RedisResult<ClusterConnection> {
    let config = config_with(timeouts);
    // The cluster's client logs why it cannot connect, and for a server without HELLO that log
    // quotes the password. So the protocol and the login are tried on a single connection first.
    // All seeds at once, because some may be silent.
    let mut tried = JoinSet::new();
    for seed in seeds {
        let config = config.clone();
        tried.spawn(async move {
            let (_, protocol) = dial(&seed, &config, Arc::default(), None).await?;
            Ok((seed, protocol))
        });
    }
    let (begun, mut seeds, mut spoken) = (Instant::now(), Vec::new(), None);
    let mut failure = RedisError::from((ErrorKind::Io, "no seed"));
    // Once one has answered, the others have as much time again.
    let mut until = None;
    while let Some(Ok(answer)) = match until {
        None => tried.join_next().await,
        Some(until) => timeout_at(until, tried.join_next()).await.unwrap_or_default(),
    } {
        match answer {
            Ok((seed, protocol)) => {
                seeds.push(seed);
                spoken.get_or_insert(protocol);
                until.get_or_insert_with(|| Instant::now() + begun.elapsed().max(SOON));
            }
            // A refusal says more than a lost connection.
            Err(_) if !failure.is_io_error() => {}
            Err(cause) => failure = cause,
        }
    }
    let Some(protocol) = spoken else { return Err(failure) };
    // The client waits for all its seeds, and believes most of them about the slots. So it gets
    // those that answered.
    let mut builder = ClusterClientBuilder::new(seeds)
        // Otherwise the client repeats a write whose answer was lost, and reports the error of its
        // own slot refresh as that of pending commands.
        .retries(0)
        .use_protocol(protocol)
        .connection_timeout(timeouts.connect)
        .response_timeout(timeouts.response)
        .tcp_settings(tcp_settings());
    if let Some(certificates) = certificates {
        builder = certificates.secure_cluster(builder);
    }
    builder.build()?.get_async_connection().await
}

/// Sends a command to the primary that has its key and follows redirects. Repeats it only after an
/// answer that says it was not done; a read also when the connection broke or led to a replica.
pub(crate) async fn query(
    mut cluster: ClusterConnection,
    command: &Cmd,
    effect: Effect,
    asks_role: bool,
) -> RedisResult<Value> {
    let mut answer = send(&mut cluster, command, effect, asks_role).await;
    for pause in PAUSES {
        if let Err(cause) = &answer
            && code(cause) == Some("ASK")
            && let Some((node, _)) = cause.redirect_node()
        {
            answer = ask(&mut cluster, command, node).await;
        }
        let Err(cause) = &answer else { break };
        let lost =
            cause.is_connection_dropped() || cause.kind() == ErrorKind::ClusterConnectionNotFound;
        if !(is_redirect(cause) || lost && effect == Effect::Read) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        answer = send(&mut cluster, command, effect, asks_role).await;
    }
    answer
}

/// Sends a command to the primary that has its key, whatever the client's strategy for reads is.
async fn send(
    cluster: &mut ClusterConnection,
    command: &Cmd,
    effect: Effect,
    asks_role: bool,
) -> RedisResult<Value> {
    // The client sends writes to primaries. The only read with an argument is `GET`.
    let (Effect::Read, Some(Arg::Simple(key))) = (effect, command.args_iter().nth(1)) else {
        return command.query_async(cluster).await;
    };
    let primary = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
    if !asks_role {
        let routing = RoutingInfo::SingleNode(primary);
        return cluster.route_command(command.clone(), routing).await?.extract_error();
    }
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.add_command(command.clone());
    let mut answers = read(cluster, pipeline, primary).await?;
    answers.pop().unwrap_or(Value::Nil).extract_error()
}

/// Sends reads to a node and asks for its role. A replica fails as `READONLY`.
///
/// A client with a strategy for reads tells all nodes to answer them as replicas. It sends a
/// command to any node while that of the route is not connected, and its map can be older than a
/// failover.
async fn read(
    cluster: &mut ClusterConnection,
    mut reads: Pipeline,
    node: SingleNodeRoutingInfo,
) -> RedisResult<Vec<Value>> {
    let count = reads.cmd("HELLO").len();
    let mut answers = cluster.route_pipeline(reads, 0, count, node).await?;
    match answers.pop().and_then(|hello| role(hello.extract_error())) {
        Some(Role::Replica) => {
            Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "a replica").into())
        }
        _ => Ok(answers),
    }
}

/// Returns whether the answer says that the command was not done and should be sent elsewhere or
/// later.
fn is_redirect(cause: &RedisError) -> bool {
    matches!(code(cause), Some("MOVED" | "ASK" | "TRYAGAIN" | "READONLY"))
}

/// Returns whether the error certainly answers this command. The client reports the error of its
/// own slot refresh, which opens connections, as that of every pending command.
pub(crate) fn is_own(cause: &RedisError) -> bool {
    let refused =
        ["OOM", "CLUSTERDOWN", "WRONGTYPE", "NOPERM", "NOSCRIPT", "MISCONF", "NOREPLICAS"];
    is_redirect(cause)
        || code(cause).is_some_and(|code| refused.contains(&code))
        // The answer of an older server to `SET … IFEQ`. Opening a connection has no such error.
        || code(cause) == Some("ERR")
            && cause.detail().is_some_and(|detail| detail.starts_with("syntax error"))
}

/// Sends a command to the node that a slot is moving to.
async fn ask(cluster: &mut ClusterConnection, command: &Cmd, node: &str) -> RedisResult<Value> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.cmd("ASKING").add_command(command.clone());
    let mut answers = cluster.route_pipeline(pipeline, 1, 1, by_address(node)).await?;
    answers.pop().unwrap_or(Value::Nil).extract_error()
}

/// Sends a command to this node and no other.
pub(crate) async fn query_at(
    mut cluster: ClusterConnection,
    command: &Cmd,
    node: &str,
) -> RedisResult<Value> {
    cluster
        .route_command(command.clone(), RoutingInfo::SingleNode(by_address(node)))
        .await?
        .extract_error()
}

/// Returns the values of keys of this node. A key that has moved is fetched from its new node.
pub(crate) async fn get_all(
    mut cluster: ClusterConnection,
    names: &[Vec<u8>],
    node: &str,
) -> RedisResult<Vec<Value>> {
    let mut pipeline = Pipeline::with_capacity(names.len() + 1);
    for name in names {
        pipeline.cmd("GET").arg(name);
    }
    match read(&mut cluster, pipeline, by_address(node)).await {
        // One redirect fails the whole pipeline.
        Err(cause) if is_redirect(&cause) => {}
        answer => return answer,
    }
    let mut values = Vec::with_capacity(names.len());
    for name in names {
        let get = redis::cmd("GET").arg(name).take();
        values.push(query(cluster.clone(), &get, Effect::Read, true).await?);
    }
    Ok(values)
}

/// Returns every primary's answer to this command.
pub(crate) async fn everywhere(
    mut cluster: ClusterConnection,
    command: &Cmd,
) -> RedisResult<Vec<(String, Value)>> {
    let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answers = match cluster.route_command(command.clone(), everywhere).await? {
        Value::Map(answers) => answers,
        _ => Vec::new(),
    };
    Ok(answers
        .into_iter()
        .filter_map(|(node, answer)| Some((redis::from_redis_value(node).ok()?, answer)))
        .collect())
}

/// Returns the primaries as `host:port`, in a stable order.
pub(crate) async fn primaries(cluster: ClusterConnection) -> RedisResult<Vec<String>> {
    // Not the connected nodes, because a node that is not connected would be missing silently.
    let answers = everywhere(cluster, redis::cmd("CLUSTER").arg("SLOTS")).await?;
    let complete = answers.into_iter().find_map(|(asked, slots)| complete_primaries(&asked, slots));
    complete.ok_or_else(|| (ErrorKind::ClusterConnectionNotFound, "slots without a node").into())
}

/// The primaries in one node's answer to `CLUSTER SLOTS`, if together they serve all slots.
fn complete_primaries(asked: &str, slots: Value) -> Option<Vec<String>> {
    let ranges: Vec<Vec<Value>> = redis::from_redis_value(slots).ok()?;
    let mut covered = 0;
    let mut primaries = BTreeSet::new();
    for range in ranges {
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice()
        else {
            return None;
        };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        // A node that does not know its own address has the one that was asked.
        let host = match host {
            Value::BulkString(host) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            _ => asked.rsplit_once(':')?.0.to_owned(),
        };
        primaries.insert(format!("{host}:{port}"));
        covered += last - first + 1;
    }
    (covered == SLOTS).then(|| primaries.into_iter().collect())
}

fn by_address(node: &str) -> SingleNodeRoutingInfo {
    let (host, port) = node.rsplit_once(':').unwrap_or((node, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    SingleNodeRoutingInfo::ByAddress { host, port: port.parse().unwrap_or_default() }
}
