//! From a URL to a store: the forms and the options of a Redis URL.

use std::time::Duration;

use mocha_session_core::backend::{Timeouts, shared};
use mocha_session_core::store::SessionStore as _;
use mocha_session_core::{BoxFuture, Driver, ErrorKind, Result, StoreUrl};
use redis::RedisConnectionInfo;

use crate::connection::Connection;
use crate::dial::{Place, Target, with_credentials};
use crate::store::{ENGINE, RedisStore};
use crate::tls::Files;

/// Opens `redis://`, `rediss://`, `valkey://` and `valkeys://`, also with `+cluster`, `+sentinel`
/// or `+unix`. [Forms and options](crate#urls).
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
    |url| open(url).map(shared),
)
.with_examination(|url| {
    let opening = open(url)?;
    Ok(Box::pin(async move { opening.await?.examine().await }))
});

/// Reads the URL, and returns the future that connects.
pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<RedisStore>>> {
    let space = url.take_key_space("session:")?;
    let evicts = url.take_bool("evicts")?;
    // An option of every engine. Redis needs no preparation, so it changes nothing.
    url.take_bool("create")?;
    let deadline = url.deadline();
    let mut timeouts = Timeouts::within(deadline);
    let patience = timeouts.response;
    timeouts.connect = shorter(url, "connect_timeout")?.unwrap_or(timeouts.connect);
    timeouts.response = shorter(url, "response_timeout")?.unwrap_or(timeouts.response);
    let tls = url.scheme().starts_with("rediss") || url.scheme().starts_with("valkeys");
    let files = if tls { Some(Files::take(url)?) } else { None };
    let (place, database) = read(url)?;
    let login = login(url, url.username(), url.password())?.set_db(database);
    let credentials = Some(url.credentials());
    let target = Target { login, credentials, files, timeouts, patience, ..Target::new(place) };
    Ok(Box::pin(async move {
        let store = RedisStore::new(Connection::dialling(target), space).with_deadline(deadline);
        answers(&store).await.map_err(|error| error.on(ENGINE).during("open"))?;
        let store = store.detect().await;
        Ok(match evicts {
            Some(evicts) => store.with_eviction(evicts),
            None => store,
        })
    }))
}

/// Takes a timeout of the client, which must not be longer than the core's deadline.
fn shorter(url: &mut StoreUrl, option: &'static str) -> Result<Option<Duration>> {
    match url.take_duration(option)? {
        Some(time) if time > url.deadline() => Err(url.refuse_option(
            option,
            "must not be longer than `timeout`, which is the deadline of a call",
        )),
        time => Ok(time),
    }
}

/// Waits a moment for a server that is starting at the same time. Reports any other error at once.
async fn answers(store: &RedisStore) -> Result<()> {
    for pause in [100, 300] {
        match store.ping().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            answer => return answer,
        }
    }
    store.ping().await
}

/// Reads the servers to connect to, and the number of the database.
fn read(url: &mut StoreUrl) -> Result<(Place, i64)> {
    let hosts = |port| -> Vec<_> {
        url.hosts()
            .iter()
            .map(|host| (host.name().to_owned(), host.port().unwrap_or(port)))
            .collect()
    };
    let scheme = url.scheme();
    if scheme.ends_with("unix") {
        if !url.hosts().is_empty() || url.path().len() < 2 {
            return Err(url.refuse(
                "it needs three slashes and a socket's path, like redis+unix:///run/redis.sock",
            ));
        }
        return Ok((Place::Socket(url.path().into()), database(url, "")?));
    }
    if url.hosts().is_empty() {
        return Err(url.refuse("it names no host"));
    }
    if scheme.ends_with("+cluster") {
        if !matches!(url.path(), "" | "/" | "/0") {
            return Err(url.refuse("a cluster has database 0 only; leave the path out"));
        }
        return Ok((Place::Cluster(hosts(6379)), 0));
    }
    if scheme.ends_with("+sentinel") {
        let hosts = hosts(26379);
        let (name, number) = url.split_path();
        let (name, number) = (name.to_owned(), number.to_owned());
        if name.is_empty() {
            return Err(
                url.refuse("it must name the primary's group, like redis+sentinel://a,b/mymaster")
            );
        }
        let (username, password) = (url.take("sentinel_username"), url.take("sentinel_password"));
        let login = login(url, username.as_deref(), password.as_deref())?;
        return Ok((Place::Sentinel { hosts, name, login }, database(url, &number)?));
    }
    let host = url.single_host()?;
    let host = (host.name().to_owned(), host.port().unwrap_or(6379));
    let number = url.path().trim_start_matches('/').to_owned();
    Ok((Place::Server(host), database(url, &number)?))
}

/// Takes the database's number, from the path or from the option `db`.
fn database(url: &mut StoreUrl, path: &str) -> Result<i64> {
    let option = url.take("db");
    let number = match (path.trim_end_matches('/'), option.as_deref()) {
        ("", None) => return Ok(0),
        ("", Some(number)) | (number, None) => number.parse::<u16>().ok(),
        _ => None,
    };
    number
        .map(i64::from)
        .ok_or_else(|| url.refuse("the database must be one number, in the path or as `db`"))
}

fn login(
    url: &StoreUrl,
    username: Option<&str>,
    password: Option<&str>,
) -> Result<RedisConnectionInfo> {
    let login =
        RedisConnectionInfo::default().set_lib_name("mocha-session", env!("CARGO_PKG_VERSION"));
    match (username, password) {
        (Some(_), None) => {
            Err(url.refuse("a user name needs a password; a password alone is written :password@"))
        }
        _ => Ok(with_credentials(login, username, password)),
    }
}
