//! Opens a connection: to a server, to the primary that sentinels name, or to a cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mocha_session_core::Result;
use mocha_session_core::backend::{CredentialSource, Role, Timeouts};
use mocha_session_core::store::{Effect, Failure};
use redis::aio::{MultiplexedConnection, SendError};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError, RedisResult,
};
use tokio::task::JoinSet;

use crate::cluster;
use crate::error::Failed;
use crate::open_connection::{Dialled, Wire, role};
use crate::tls::{self, Certificates, Files};
use crate::tracking::Tracking;

type Host = (String, u16);

/// The servers to connect to.
pub(crate) enum Place {
    Server(Host),
    Socket(PathBuf),
    Sentinel {
        hosts: Vec<Host>,
        name: String,
        login: RedisConnectionInfo,
    },
    Cluster(Vec<Host>),
    /// The server of the application's client, with its TLS settings.
    Client(Box<ConnectionInfo>),
    ClusterClient(Box<ClusterClient>),
}

/// The servers to connect to, and the settings of a connection.
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) login: RedisConnectionInfo,
    pub(crate) credentials: Option<CredentialSource>,
    pub(crate) files: Option<Files>,
    pub(crate) timeouts: Timeouts,
    /// How long a call waits for a connection. Shorter than the core's deadline, so that a write
    /// that was not sent is reported as such.
    pub(crate) patience: Duration,
    pub(crate) tracking: Arc<Tracking>,
}

/// The current login and certificates.
#[derive(Clone)]
struct Access {
    login: RedisConnectionInfo,
    certificates: Option<Certificates>,
}

impl Target {
    pub(crate) fn new(place: Place) -> Self {
        let timeouts = Timeouts::default();
        Self {
            place,
            login: RedisConnectionInfo::default(),
            credentials: None,
            files: None,
            timeouts,
            patience: timeouts.response,
            tracking: Arc::default(),
        }
    }

    /// Opens a connection to a primary.
    pub(crate) async fn dial(&self) -> Result<Dialled> {
        let mut login = match &self.place {
            Place::Client(server) => server.redis_settings().clone(),
            _ => self.login.clone(),
        };
        if let Some(credentials) = &self.credentials {
            let asked = tokio::time::timeout(self.timeouts.connect, credentials.ask()).await;
            let late =
                || Failure::NotSent.error(Effect::Read, "the callback gave no credentials in time");
            let fresh = asked.unwrap_or_else(|_| Err(late()))?;
            login = with_credentials(login, fresh.username(), fresh.password());
        }
        // Read each time, because certificates are renewed while a program runs.
        let certificates = match &self.files {
            Some(files) => Some(files.read().await?),
            None => None,
        };
        let access = Access { login, certificates };
        self.connect(access).await.map_err(|failed| failed.into_error(Effect::Read))
    }

    async fn connect(&self, access: Access) -> Result<Dialled, Failed> {
        let unsent = |cause| Failed::Client(cause, Some(Failure::NotSent));
        let config = config_with(self.timeouts);
        match &self.place {
            Place::Server(host) => {
                primary(&access.to(host).map_err(unsent)?, &config, &self.tracking).await
            }
            Place::Socket(path) => {
                let server =
                    ConnectionAddr::Unix(path.clone()).into_connection_info().map_err(unsent)?;
                primary(&server.set_redis_settings(access.login), &config, &self.tracking).await
            }
            Place::Client(server) => {
                primary(
                    &server.as_ref().clone().set_redis_settings(access.login),
                    &config,
                    &self.tracking,
                )
                .await
            }
            Place::Sentinel { hosts, name, login } => {
                let sentinel =
                    Access { login: login.clone(), certificates: access.certificates.clone() };
                let sentinels = hosts.iter().map(|host| sentinel.to(host));
                let sentinels = sentinels.collect::<RedisResult<_>>().map_err(unsent)?;
                find_primary(sentinels, name, &access, &config, &self.tracking).await
            }
            Place::Cluster(hosts) => {
                let seeds = hosts.iter().map(|host| access.to(host)).collect::<RedisResult<_>>();
                let cluster =
                    cluster::connect(seeds.map_err(unsent)?, access.certificates, self.timeouts)
                        .await;
                Ok(of_cluster(cluster.map_err(unsent)?, false))
            }
            Place::ClusterClient(client) => {
                Ok(of_cluster(client.get_async_connection().await.map_err(unsent)?, true))
            }
        }
    }
}

/// The client's own timeouts.
pub(crate) fn config_with(timeouts: Timeouts) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeouts.connect))
        .set_response_timeout(Some(timeouts.response))
}

/// A login with these credentials. An empty user name is the default user.
pub(crate) fn with_credentials(
    mut login: RedisConnectionInfo,
    username: Option<&str>,
    password: Option<&str>,
) -> RedisConnectionInfo {
    if let Some(username) = username.filter(|username| !username.is_empty()) {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

fn of_cluster(cluster: ClusterConnection, tells_role: bool) -> Dialled {
    Dialled { wire: Wire::Cluster(cluster), lost: Arc::default(), tells_role, tracked: false }
}

impl Access {
    /// A server at this address.
    fn to(&self, (host, port): &Host) -> RedisResult<ConnectionInfo> {
        let (host, port) = (host.clone(), *port);
        let address = match self.certificates {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let server = address.into_connection_info()?.set_redis_settings(self.login.clone());
        let server = server.set_tcp_settings(tcp_settings());
        match &self.certificates {
            Some(certificates) => certificates.secure_server(server),
            None => Ok(server),
        }
    }
}

/// Detects a peer that vanished silently in about ten seconds, with or without a pending command.
pub(crate) fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(3));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}

/// Connects to a server and refuses a replica, because a replica may lack acknowledged writes.
async fn primary(
    server: &ConnectionInfo,
    config: &AsyncConnectionConfig,
    tracking: &Arc<Tracking>,
) -> Result<Dialled, Failed> {
    let unsent = |cause| Failed::Client(cause, Some(Failure::NotSent));
    let lost = Arc::default();
    let (mut single, _) =
        dial(server, config, Arc::clone(&lost), Some(tracking)).await.map_err(unsent)?;
    let hello = redis::cmd("HELLO").query_async(&mut single).await;
    if let Err(cause) = &hello
        && cause.is_io_error()
    {
        return Err(unsent(cause.clone()));
    }
    match role(hello) {
        Some(Role::Replica) => Err(Failed::Replica),
        role => {
            let tracked = tracking.begin(&mut single).await;
            let tells_role = role.is_some();
            Ok(Dialled { wire: Wire::Single(single), lost, tells_role, tracked })
        }
    }
}

/// Asks all sentinels for the primary of this name, and uses the first answer that is one. Some
/// sentinels may be down, and one that was cut off names an old primary.
async fn find_primary(
    sentinels: Vec<ConnectionInfo>,
    name: &str,
    access: &Access,
    config: &AsyncConnectionConfig,
    tracking: &Arc<Tracking>,
) -> Result<Dialled, Failed> {
    let mut asked = JoinSet::new();
    for sentinel in sentinels {
        asked.spawn(primary_address(sentinel, config.clone(), name.to_owned()));
    }
    let (mut failure, mut tried) = (None, Vec::new());
    while let Some(Ok(answer)) = asked.join_next().await {
        match answer.and_then(|host| Ok((access.to(&host)?, host))) {
            Ok((_, host)) if tried.contains(&host) => {}
            Ok((server, host)) => {
                match primary(&server, config, tracking).await {
                    Ok(dialled) => return Ok(dialled),
                    Err(failed) => failure = Some(failed),
                }
                tried.push(host);
            }
            Err(cause) => {
                failure.get_or_insert(Failed::Client(cause, Some(Failure::NotSent)));
            }
        }
    }
    Err(failure.unwrap_or_else(|| Failed::Client(unknown_primary(), Some(Failure::NotSent))))
}

/// Asks one sentinel where the primary is.
async fn primary_address(
    sentinel: ConnectionInfo,
    config: AsyncConnectionConfig,
    name: String,
) -> RedisResult<Host> {
    let (mut connection, _) = dial(&sentinel, &config, Arc::default(), None).await?;
    let answer: Option<Host> = redis::cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(name)
        .query_async(&mut connection)
        .await?;
    answer.ok_or_else(unknown_primary)
}

fn unknown_primary() -> RedisError {
    (ErrorKind::MasterNameNotFoundBySentinel, "no such primary").into()
}

/// Connects, with RESP3 where the server has it. In RESP3 the client reports a lost connection at
/// once, so that the next command opens a new one instead of failing.
pub(crate) async fn dial(
    server: &ConnectionInfo,
    config: &AsyncConnectionConfig,
    lost: Arc<AtomicBool>,
    tracking: Option<&Arc<Tracking>>,
) -> RedisResult<(MultiplexedConnection, ProtocolVersion)> {
    if matches!(server.addr(), ConnectionAddr::TcpTls { .. }) {
        tls::provide();
    }
    let tracking = tracking.cloned();
    let watching = config.clone().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            lost.store(true, Ordering::Relaxed);
        }
        if let Some(tracking) = &tracking {
            tracking.note(&push);
        }
        Ok::<_, SendError>(())
    });
    match speak(server, &watching, ProtocolVersion::RESP3).await {
        Err(cause) if speaks_no_resp3(&cause) => {
            speak(server, config, ProtocolVersion::RESP2).await
        }
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
