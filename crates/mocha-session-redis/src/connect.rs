//! From a URL to a store: the forms of a Redis URL, its options, and the first connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mocha_session_core::store::SessionStore;
use mocha_session_core::{BoxFuture, Driver, ErrorKind, Result, StoreUrl};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

use crate::connection::{Connection, Link, Target, Via};
use crate::error::{Effect, Failure};
use crate::tls::{Certificates, Files};
use crate::{RedisStore, cluster};

/// Opens `redis://`, `rediss://`, `valkey://`, `valkeys://` and their forms `+cluster`, `+sentinel` and `+unix`.
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_redis::DRIVER);
/// registry.check("redis://app:secret@127.0.0.1:6379/0?prefix=shop:").unwrap();
/// registry.check("redis+sentinel://a,b,c/mymaster").unwrap();
/// assert!(registry.check("redis://127.0.0.1/?prefiks=shop:").is_err());
/// ```
pub const DRIVER: Driver = Driver::new(
    &[
        "redis",
        "rediss",
        "valkey",
        "valkeys",
        "redis+cluster",
        "rediss+cluster",
        "valkey+cluster",
        "valkeys+cluster",
        "redis+sentinel",
        "rediss+sentinel",
        "valkey+sentinel",
        "valkeys+sentinel",
        "redis+unix",
        "valkey+unix",
        "unix",
    ],
    |url| {
        let opening = prepare(url)?;
        Ok(Box::pin(async move { Ok(Arc::new(opening.await?) as Arc<dyn SessionStore>) }))
    },
);

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

/// What it takes to talk to a server, whatever its address.
pub(crate) struct Access {
    login: RedisConnectionInfo,
    certificates: Option<Certificates>,
}

impl Access {
    /// A server at this address.
    pub(crate) fn to(&self, host: &str, port: u16) -> RedisResult<ConnectionInfo> {
        let host = host.to_owned();
        let address = match self.certificates {
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            None => ConnectionAddr::Tcp(host, port),
        };
        let server = address
            .into_connection_info()?
            .set_redis_settings(self.login.clone())
            .set_tcp_settings(tcp_settings());
        match &self.certificates {
            Some(certificates) => certificates.secure_server(server),
            None => Ok(server),
        }
    }
}

/// A peer that vanished without a word is noticed in about ten seconds, whether or not something is under way.
pub(crate) fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}

enum Form {
    Server { host: (String, u16), database: i64 },
    Unix { path: PathBuf, database: i64 },
    Cluster { hosts: Vec<(String, u16)> },
    Sentinel { hosts: Vec<(String, u16)>, name: String, database: i64, login: RedisConnectionInfo },
}

/// Reads the URL at once, and connects later.
pub(crate) fn prepare(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<RedisStore>>> {
    let space = url.take_key_space("session:")?;
    let evicts = url.take_bool("evicts")?;
    // An option of every engine. Here nothing has to be prepared, so nothing has to be forbidden.
    url.take_bool("create")?;
    let defaults = Timeouts::default();
    let timeouts = Timeouts {
        connect: url.take_duration("connect_timeout")?.unwrap_or(defaults.connect),
        response: url.take_duration("response_timeout")?.unwrap_or(defaults.response),
    };
    let login = login(url, url.username(), url.password())?;
    let scheme = url.scheme().to_owned();
    let files = if scheme.starts_with("rediss") || scheme.starts_with("valkeys") {
        Some(Files::take(url)?)
    } else {
        None
    };
    let form = form(url, &scheme)?;
    Ok(Box::pin(async move {
        let certificates = match files {
            Some(files) => Some(files.read().await?),
            None => None,
        };
        let connection = connect(form, login, certificates, timeouts).await?;
        let store = answering(RedisStore::new(connection, space)).await?.detect().await;
        Ok(match evicts {
            Some(evicts) => store.with_eviction(evicts),
            None => store,
        })
    }))
}

fn form(url: &mut StoreUrl, scheme: &str) -> Result<Form> {
    let hosts = |port| {
        let hosts: Vec<_> =
            url.hosts().iter().map(|host| (host.name().to_owned(), host.port().unwrap_or(port))).collect();
        if hosts.is_empty() { Err(url.refuse("it names no host")) } else { Ok(hosts) }
    };
    if scheme.ends_with("unix") {
        if !url.hosts().is_empty() || url.path().len() < 2 {
            return Err(url.refuse(
                "it needs three slashes and the path of a socket, like redis+unix:///run/redis.sock",
            ));
        }
        let path = PathBuf::from(url.path());
        Ok(Form::Unix { path, database: database(url, "")? })
    } else if scheme.ends_with("+cluster") {
        if !matches!(url.path(), "" | "/" | "/0") {
            return Err(url.refuse("a cluster has no other database than 0"));
        }
        Ok(Form::Cluster { hosts: hosts(6379)? })
    } else if scheme.ends_with("+sentinel") {
        let hosts = hosts(26379)?;
        let (name, number) = url.split_path();
        let (name, number) = (name.to_owned(), number.to_owned());
        if name.is_empty() {
            return Err(url.refuse(
                "it must name the primary that the sentinels watch, like redis+sentinel://a,b/mymaster",
            ));
        }
        let (username, password) = (url.take("sentinel_username"), url.take("sentinel_password"));
        let login = self::login(url, username.as_deref(), password.as_deref())?;
        Ok(Form::Sentinel { hosts, name, database: database(url, &number)?, login })
    } else {
        let host = url.single_host()?;
        let host = (host.name().to_owned(), host.port().unwrap_or(6379));
        let number = url.path().trim_start_matches('/').to_owned();
        Ok(Form::Server { host, database: database(url, &number)? })
    }
}

/// The database's number, from the path or from the option `db`.
fn database(url: &mut StoreUrl, path: &str) -> Result<i64> {
    let option = url.take("db");
    let number = match (path.trim_end_matches('/'), option.as_deref()) {
        ("", None) => return Ok(0),
        ("", Some(number)) | (number, None) => number.parse::<u16>().ok(),
        _ => None,
    };
    number.map(i64::from).ok_or_else(|| url.refuse("the database is one number, in the path or as `db`"))
}

fn login(url: &StoreUrl, username: Option<&str>, password: Option<&str>) -> Result<RedisConnectionInfo> {
    let login = RedisConnectionInfo::default().set_lib_name("mocha-session", env!("CARGO_PKG_VERSION"));
    match (username, password) {
        (None, None) => Ok(login),
        (None, Some(password)) => Ok(login.set_password(password)),
        (Some(username), Some(password)) => Ok(login.set_username(username).set_password(password)),
        (Some(_), None) => {
            Err(url.refuse("it has a user name and no password; a password alone is written :password@"))
        }
    }
}

async fn connect(
    form: Form,
    login: RedisConnectionInfo,
    certificates: Option<Certificates>,
    timeouts: Timeouts,
) -> Result<Connection> {
    let unusable = |cause| Failure::NotSent(cause).into_error("open", Effect::Read);
    let all = |access: &Access, hosts: Vec<(String, u16)>| {
        hosts
            .iter()
            .map(|(host, port)| access.to(host, *port))
            .collect::<RedisResult<Vec<_>>>()
            .map_err(unusable)
    };
    let target = match form {
        Form::Server { host: (host, port), database } => {
            let access = Access { login: login.set_db(database), certificates };
            Target::Server(access.to(&host, port).map_err(unusable)?)
        }
        Form::Unix { path, database } => {
            let address = ConnectionAddr::Unix(path).into_connection_info().map_err(unusable)?;
            Target::Server(address.set_redis_settings(login.set_db(database)))
        }
        Form::Sentinel { hosts, name, database, login: sentinel } => {
            let access = Access { login: sentinel, certificates: certificates.clone() };
            let sentinels = all(&access, hosts)?;
            Target::Sentinel {
                sentinels,
                name,
                primary: Access { login: login.set_db(database), certificates },
            }
        }
        Form::Cluster { hosts } => {
            let access = Access { login, certificates };
            let seeds = all(&access, hosts)?;
            let cluster = cluster::connect(seeds, access.certificates, timeouts).await.map_err(unusable)?;
            return Ok(cluster.into());
        }
    };
    Ok(Connection(Via::Link(Arc::new(Link::new(target, timeouts)))))
}

/// A server that is starting at the same time gets a moment; whatever else is wrong is said at once.
async fn answering(store: RedisStore) -> Result<RedisStore> {
    for pause in [100, 300] {
        match store.answers("open").await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            answer => return answer.map(|()| store),
        }
    }
    store.answers("open").await.map(|()| store)
}
