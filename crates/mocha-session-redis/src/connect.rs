//! From a URL to a store: the forms of a Redis URL, its options, and the first connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mocha_session_core::store::{KeySpace, SessionStore};
use mocha_session_core::{BoxFuture, Driver, ErrorKind, Result, StoreUrl};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

use crate::connection::{Connection, Via};
use crate::error::{Effect, Failure};
use crate::link::{Link, Target, Timeouts};
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

/// What it takes to talk to a server, whatever its address.
#[derive(Clone)]
pub(crate) struct Access {
    login: RedisConnectionInfo,
    certificates: Option<Certificates>,
}

impl Access {
    /// A server at this address.
    pub(crate) fn to(&self, (host, port): &(String, u16)) -> RedisResult<ConnectionInfo> {
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

    fn to_all(&self, hosts: &[(String, u16)]) -> RedisResult<Vec<ConnectionInfo>> {
        hosts.iter().map(|host| self.to(host)).collect()
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
    Server((String, u16)),
    Unix(PathBuf),
    Cluster(Vec<(String, u16)>),
    Sentinel { hosts: Vec<(String, u16)>, name: String, login: RedisConnectionInfo },
}

/// Reads the URL at once, and connects later.
pub(crate) fn prepare(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<RedisStore>>> {
    let space = url.take_key_space("session:")?;
    let evicts = url.take_bool("evicts")?;
    // An option of every engine. Here nothing has to be prepared, so nothing has to be forbidden.
    url.take_bool("create")?;
    let mut timeouts = Timeouts::default();
    timeouts.connect = url.take_duration("connect_timeout")?.unwrap_or(timeouts.connect);
    timeouts.response = url.take_duration("response_timeout")?.unwrap_or(timeouts.response);
    let tls = url.scheme().starts_with("rediss") || url.scheme().starts_with("valkeys");
    let files = if tls { Some(Files::take(url)?) } else { None };
    let (form, database) = read(url)?;
    let login = login(url, url.username(), url.password())?.set_db(database);
    Ok(Box::pin(async move {
        let certificates = match files {
            Some(files) => Some(files.read().await?),
            None => None,
        };
        let access = Access { login, certificates };
        let store = open(&form, &access, timeouts, space).await?.detect().await;
        Ok(match evicts {
            Some(evicts) => store.with_eviction(evicts),
            None => store,
        })
    }))
}

/// The form, and the number of the database.
fn read(url: &mut StoreUrl) -> Result<(Form, i64)> {
    let hosts = |port| -> Vec<_> {
        url.hosts().iter().map(|host| (host.name().to_owned(), host.port().unwrap_or(port))).collect()
    };
    let scheme = url.scheme();
    if scheme.ends_with("unix") {
        if !url.hosts().is_empty() || url.path().len() < 2 {
            return Err(
                url.refuse("it needs three slashes and a socket's path, like redis+unix:///run/redis.sock")
            );
        }
        return Ok((Form::Unix(url.path().into()), database(url, "")?));
    }
    if url.hosts().is_empty() {
        return Err(url.refuse("it names no host"));
    }
    if scheme.ends_with("+cluster") {
        if !matches!(url.path(), "" | "/" | "/0") {
            return Err(url.refuse("a cluster has no other database than 0"));
        }
        return Ok((Form::Cluster(hosts(6379)), 0));
    }
    if scheme.ends_with("+sentinel") {
        let hosts = hosts(26379);
        let (name, number) = url.split_path();
        let (name, number) = (name.to_owned(), number.to_owned());
        if name.is_empty() {
            return Err(url.refuse("it must name the primary to ask for, like redis+sentinel://a,b/mymaster"));
        }
        let (username, password) = (url.take("sentinel_username"), url.take("sentinel_password"));
        let login = login(url, username.as_deref(), password.as_deref())?;
        return Ok((Form::Sentinel { hosts, name, login }, database(url, &number)?));
    }
    let host = url.single_host()?;
    let host = (host.name().to_owned(), host.port().unwrap_or(6379));
    let number = url.path().trim_start_matches('/').to_owned();
    Ok((Form::Server(host), database(url, &number)?))
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
            Err(url.refuse("a user name needs a password; a password alone is written :password@"))
        }
    }
}

/// Connects, and gives a server that is starting at the same time a moment; whatever else is wrong is said at once.
async fn open(form: &Form, access: &Access, timeouts: Timeouts, space: KeySpace) -> Result<RedisStore> {
    let mut pauses = [100, 300].into_iter();
    loop {
        let answer = match connect(form, access, timeouts).await {
            Ok(connection) => {
                let store = RedisStore::new(connection, space.clone());
                store.answers("open").await.map(|()| store)
            }
            Err(cause) => Err(Failure::NotSent(cause).into_error("open", Effect::Read)),
        };
        match (answer, pauses.next()) {
            (Err(error), Some(pause)) if error.kind() == ErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            (answer, _) => return answer,
        }
    }
}

async fn connect(form: &Form, access: &Access, timeouts: Timeouts) -> RedisResult<Connection> {
    let target = match form {
        Form::Server(host) => Target::Server(access.to(host)?),
        Form::Unix(path) => {
            let server = ConnectionAddr::Unix(path.clone()).into_connection_info()?;
            Target::Server(server.set_redis_settings(access.login.clone()))
        }
        Form::Sentinel { hosts, name, login } => {
            let sentinel = Access { login: login.clone(), certificates: access.certificates.clone() };
            Target::Sentinel {
                sentinels: sentinel.to_all(hosts)?,
                name: name.clone(),
                primary: access.clone(),
            }
        }
        Form::Cluster(hosts) => {
            let certificates = access.certificates.clone();
            return Ok(cluster::connect(access.to_all(hosts)?, certificates, timeouts).await?.into());
        }
    };
    Ok(Connection(Via::Link(Arc::new(Link::new(target, timeouts)))))
}
