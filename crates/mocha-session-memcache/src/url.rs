//! From a URL to a store: the forms and the options of a memcached URL.

use mocha_session_core::backend::{Timeouts, shared};
use mocha_session_core::store::KeySpace;
use mocha_session_core::{BoxFuture, Driver, Result, StoreUrl};

use crate::address::Address;
use crate::server::Access;
use crate::store::MemcacheStore;

const PORT: u16 = 11211;

/// Opens `memcache://` and `memcached://`. The schemes of TLS and Unix sockets are refused with the
/// alternative. [Forms and options](crate#urls).
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_memcache::DRIVER);
/// registry.check("memcache://10.0.0.1,10.0.0.2:11212?prefix=shop:").unwrap();
/// assert!(registry.check("memcaches://10.0.0.1").is_err());
/// ```
pub const DRIVER: Driver =
    Driver::new(&["memcache", "memcached", "memcaches", "memcache+*"], |url| open(url).map(shared))
        .with_examination(|url| {
            let opening = open(url)?;
            Ok(Box::pin(async move { opening.await?.examine().await }))
        });

/// Reads the URL, and returns the future that connects.
pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<MemcacheStore>>> {
    let space = url.take_key_space("session:")?;
    let store = read(url, space)?;
    Ok(Box::pin(store.detect()))
}

/// Makes the store of a URL, with its keys under this prefix. Does no I/O.
pub(crate) fn read(url: &mut StoreUrl, space: KeySpace) -> Result<MemcacheStore> {
    if let Some(why) = refusal(url) {
        return Err(url.refuse(why));
    }
    let connections = url.take_parsed::<usize>("max_connections")?.unwrap_or(16);
    if !(1..=1024).contains(&connections) {
        return Err(url.refuse_option("max_connections", "must be from 1 to 1024"));
    }
    match (url.username(), url.password()) {
        (None, None) => {}
        (Some(name), Some(word)) if !name.contains(' ') && !word.contains(' ') => {}
        _ => {
            return Err(
                url.refuse("a login is username:password; memcached accepts no space in either")
            );
        }
    }
    let access = Access {
        credentials: url.credentials(),
        connections,
        deadline: url.deadline(),
        timeouts: Timeouts::within(url.deadline()),
        marker: space.prefix().to_owned() + "run",
    };
    let addresses = url.hosts().iter().map(|host| Address::new(host.authority(PORT)));
    Ok(MemcacheStore::over(addresses, &access, space))
}

/// Returns the reason why the store cannot connect to a URL of one of its schemes.
fn refusal(url: &StoreUrl) -> Option<&'static str> {
    const TCP: &str = "only plain TCP is supported; for TLS run a tunnel (stunnel, ghostunnel) \
                       beside the app and name its port: memcache://127.0.0.1:port";
    const UNIX: &str = "Unix sockets are not supported; let memcached listen on 127.0.0.1 (-l)";
    match (url.scheme(), url.hosts(), url.path()) {
        ("memcache+unix", ..) => Some(UNIX),
        (scheme, ..) if !matches!(scheme, "memcache" | "memcached") => Some(TCP),
        (_, [], "" | "/") => Some("it names no host; for example memcache://127.0.0.1:11211"),
        (_, [], _) => Some(UNIX),
        (_, _, "" | "/") => None,
        _ => Some("memcached has no databases; remove the path"),
    }
}
