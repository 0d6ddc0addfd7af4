#![doc = include_str!("../README.md")]

mod peer;
mod server;

use std::sync::Arc;
use std::time::SystemTime;

use memcache::exp::{MetaCommand, MetaOp, ReturnCode};
use mocha_session_core::store::{
    Capabilities, Durability, Expiry, KeySpace, Revision, ScanCursor, ScanPage, SessionStore, StorageKey,
    Stored, SweepReport, async_trait,
};
use mocha_session_core::{BoxFuture, Driver, Error, ErrorKind, Result, StoreUrl};

use crate::server::{Intent, Lease, Server};

const ENGINE: &str = "memcached";
const PORT: u16 = 11211;

/// How URLs reach this store. The schemes of what is not supported are here to be refused with a reason.
pub const DRIVER: Driver = Driver::new(&["memcache", "memcached", "memcaches", "memcache+*"], |url| {
    let opening = MemcacheStore::from_url(url)?;
    Ok(Box::pin(async move { Ok(Arc::new(opening.await?) as Arc<dyn SessionStore>) }))
});

/// Sessions in one memcached server or several.
///
/// ```no_run
/// use mocha_session_memcache::MemcacheStore;
///
/// # async fn example() -> mocha_session_core::Result<()> {
/// let store = MemcacheStore::connect("memcache://10.0.0.1,10.0.0.2:11212?prefix=shop:session:").await?;
/// let storage = mocha_session_core::Storage::from(store);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemcacheStore {
    servers: Vec<Server>,
    space: KeySpace,
    max_value: usize,
}

impl MemcacheStore {
    /// Connects to the servers of a URL; [what it may hold](crate#urls).
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is wrong, before anything is connected. `Unavailable` when a server cannot be
    /// reached, `Denied` when it refuses the login, `Unsupported` when it is too old or runs without compare-and-set.
    pub async fn connect(url: &str) -> Result<Self> {
        let mut url = StoreUrl::parse(url)?;
        let opening = Self::from_url(&mut url)?;
        url.finish()?;
        opening.await
    }

    /// Takes what it knows from a URL and returns the future that connects.
    ///
    /// # Errors
    /// `InvalidConfig` for what is wrong with the URL; those of [`connect`](Self::connect) from the future.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        if let Some(why) = refusal(url) {
            return Err(url.refuse(why));
        }
        let space = url.take_key_space("session:")?;
        let connections = url.take_parsed::<usize>("max_connections")?.unwrap_or(16);
        if !(1..=1024).contains(&connections) {
            return Err(url.refuse_option("max_connections", "must be from 1 to 1024"));
        }
        let login = match (url.username(), url.password()) {
            (None, None) => None,
            (Some(name), Some(word)) if !name.contains(' ') && !word.contains(' ') => {
                Some(format!("{name} {word}"))
            }
            _ => return Err(url.refuse("a login is username:password; memcached reads no spaces in either")),
        };
        let servers: Vec<_> = url
            .hosts()
            .iter()
            .map(|host| Server::new(host.authority(PORT), login.clone(), connections))
            .collect();
        Ok(Box::pin(async move {
            let name = space.prefix().len() + StorageKey::TEXT;
            let mut max_value = usize::MAX;
            for server in &servers {
                let lease = server.lease().await.map_err(during("connect"))?;
                max_value = max_value.min(lease.peer.max_value(name));
            }
            Ok(Self { servers, space, max_value })
        }))
    }

    /// The server of a key: the one that scores highest for it. Adding or taking away a server moves that server's keys
    /// alone, and the order in the URL doesn't matter.
    fn server(&self, key: &StorageKey) -> Result<&Server> {
        let key = fnv(key.as_bytes());
        let best = self.servers.iter().max_by_key(|server| spread(key ^ fnv(server.address().as_bytes())));
        best.ok_or_else(|| Error::new(ErrorKind::Internal, "there is no server"))
    }

    /// Stores under a condition, unless the value is too large: memcached would refuse it and drop the value there is.
    async fn store(
        &self,
        lease: &mut Lease<'_>,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        condition: String,
    ) -> Result<Option<Revision>> {
        let name = self.space.name(key);
        let limit = lease.peer.max_value(name.len());
        if value.len() > limit {
            let bytes = value.len();
            let why =
                format!("{bytes} bytes, and the server keeps {limit} at most; raise its item size (-I)");
            return Err(Error::new(ErrorKind::TooLarge, why));
        }
        let lifetime = format!("T{}", lease.peer.lifetime(expiry));
        let set = MetaCommand::new(MetaOp::Set, name).flag("c").flag(lifetime).flag(condition).value(value);
        let answer = lease.exchange(&set, Intent::Write).await?;
        match (answer.rc, answer.cas) {
            (ReturnCode::Hd, Some(cas)) => Ok(Some(lease.peer.revision(cas))),
            (ReturnCode::Ns | ReturnCode::Ex | ReturnCode::Nf, _) => Ok(None),
            _ => Err(lease.misunderstood(Intent::Write)),
        }
    }
}

#[async_trait]
impl SessionStore for MemcacheStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let get = MetaCommand::new(MetaOp::Get, self.space.name(key)).flag("v").flag("c");
        let load = async {
            let (mut lease, answer) = self.server(key)?.read(&get).await?;
            match (answer.rc, answer.value, answer.cas) {
                (ReturnCode::Va, Some(value), Some(cas)) => {
                    Ok(Some(Stored::new(value, lease.peer.revision(cas))))
                }
                (ReturnCode::En, ..) => Ok(None),
                _ => Err(lease.misunderstood(Intent::Read)),
            }
        };
        load.await.map_err(during("load"))
    }

    async fn create(&self, key: &StorageKey, value: &[u8], expiry: Expiry) -> Result<Option<Revision>> {
        let create = async {
            let mut lease = self.server(key)?.lease().await?;
            self.store(&mut lease, key, value, expiry, "ME".to_owned()).await
        };
        create.await.map_err(during("create"))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let update = async {
            let mut lease = self.server(key)?.lease().await?;
            // A revision of another run of the server: what it stood for is gone, whatever is there now.
            let Some(cas) = lease.peer.cas(expected) else { return Ok(None) };
            self.store(&mut lease, key, value, expiry, format!("C{cas}")).await
        };
        update.await.map_err(during("update"))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let delete = MetaCommand::new(MetaOp::Delete, self.space.name(key));
        let work = async {
            let mut lease = self.server(key)?.lease().await?;
            match lease.exchange(&delete, Intent::Write).await?.rc {
                ReturnCode::Hd => Ok(true),
                ReturnCode::Nf => Ok(false),
                _ => Err(lease.misunderstood(Intent::Write)),
            }
        };
        work.await.map_err(during("delete"))
    }

    async fn sweep(
        &self,
        _now: SystemTime,
        _cursor: Option<ScanCursor>,
        _limit: usize,
    ) -> Result<SweepReport> {
        Ok(SweepReport::native())
    }

    async fn scan(&self, _cursor: Option<ScanCursor>, _limit: usize) -> Result<ScanPage> {
        Err(during("scan")(Error::new(ErrorKind::Unsupported, "memcached cannot list what it keeps")))
    }

    async fn ping(&self) -> Result<()> {
        for server in &self.servers {
            server.read(&MetaCommand::new(MetaOp::Noop, "")).await.map_err(during("ping"))?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(ENGINE)
            .with_native_expiry(true)
            .with_eviction(true)
            .with_durability(Durability::Server)
            .with_max_value(self.max_value)
    }
}

/// Why a URL of one of our schemes is not one that we can connect to.
fn refusal(url: &StoreUrl) -> Option<&'static str> {
    const TCP: &str = "only plain TCP is supported; for TLS run a tunnel (stunnel, ghostunnel) beside the app and name \
                       its port: memcache://127.0.0.1:port";
    const UNIX: &str = "unix sockets are not supported; let memcached listen on 127.0.0.1 (-l)";
    match (url.scheme(), url.hosts(), url.path()) {
        ("memcache+unix", ..) => Some(UNIX),
        (scheme, ..) if !matches!(scheme, "memcache" | "memcached") => Some(TCP),
        (_, [], "" | "/") => Some("it names no host; for example memcache://127.0.0.1:11211"),
        (_, [], _) => Some(UNIX),
        (_, _, "" | "/") => None,
        _ => Some("memcached has no databases; take away what follows the host"),
    }
}

fn during(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.on(ENGINE).during(operation)
}

/// FNV-1a. Every process must send a key to the same server, so the hash is written down here and not left to the
/// standard library, whose default one may change with a version of Rust.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of `SplitMix64`: every bit of the input moves every bit of the score.
fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another answer would send every session of a running app to another server: a breaking change.
    #[test]
    fn a_key_goes_to_the_same_server_in_every_version() {
        let servers = ["a:11211", "b:11211", "c:11211"];
        let server = |address: &str| Server::new(address.to_owned(), None, 1);
        let space = KeySpace::new("").unwrap_or_else(|error| unreachable!("{error}"));
        let store = MemcacheStore { servers: servers.map(server).into(), space, max_value: 0 };
        let chosen = (0..24).map(|number| {
            let key = StorageKey::from_bytes([number; StorageKey::BYTES]);
            store.server(&key).map_or("", |server| &server.address()[..1])
        });
        assert_eq!(chosen.collect::<String>(), "babcaabcaccacaccbabccbba");
    }
}
