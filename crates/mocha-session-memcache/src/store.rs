//! The store: sessions as items, each on one of the servers, written with compare-and-set.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use memcache::exp::{MetaCommand, MetaOp, ReturnCode};
use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{
    Capabilities, Durability, Effect, Expiry, KeySpace, Revision, ScanCursor, ScanPage,
    SessionStore, StorageKey, Stored, SweepReport, async_trait,
};
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl};

use crate::address::Address;
use crate::server::{Access, Lease, Server};
use crate::url;

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "memcached";

/// The default item size of a server (`-I`).
const DEFAULT_ITEM_SIZE: usize = 1024 * 1024;

/// A session store on one memcached server or several.
///
/// ```no_run
/// use mocha_session_core::{Storage, store::KeySpace};
/// use mocha_session_memcache::MemcacheStore;
///
/// # async fn example() -> mocha_session_core::Result<()> {
/// let servers = ["10.0.0.1", "10.0.0.2:11212"];
/// let store = MemcacheStore::new(servers, KeySpace::new("shop:session:")?)?.detect().await?;
/// let storage = Storage::from(store);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemcacheStore {
    servers: Arc<[Server]>,
    space: KeySpace,
    capabilities: Capabilities,
}

impl MemcacheStore {
    /// A store on these servers (`host` or `host:port`), with its keys under the prefix of `space`.
    /// Does no I/O.
    ///
    /// It takes addresses and not a client. A revision names the server process behind the
    /// connection, and no client tells that. Until [`detect`](Self::detect) has asked the servers,
    /// the store assumes the default item size of 1 MiB. A value that is too large for its server
    /// is refused in any case.
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong address, and for no address.
    pub fn new<S: AsRef<str>>(
        servers: impl IntoIterator<Item = S>,
        space: KeySpace,
    ) -> Result<Self> {
        Self::at(url_of(servers)?, space)
    }

    /// A store with a callback that returns the user name and password for each new connection: for
    /// passwords that rotate.
    ///
    /// ```
    /// use mocha_session_core::backend::Credentials;
    /// use mocha_session_core::store::KeySpace;
    /// use mocha_session_memcache::MemcacheStore;
    ///
    /// # async fn token() -> mocha_session_core::Result<String> { Ok(String::new()) }
    /// let space = KeySpace::new("session:")?;
    /// let store = MemcacheStore::with_credentials(["10.0.0.1"], space, || async {
    ///     Ok(Credentials::new("app", token().await?))
    /// })?;
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_credentials<S, F, A>(
        servers: impl IntoIterator<Item = S>,
        space: KeySpace,
        ask: F,
    ) -> Result<Self>
    where
        S: AsRef<str>,
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self::at(url_of(servers)?.with_credentials(ask), space)
    }

    /// Reads a URL, and returns the future that opens the store: what [`DRIVER`](crate::DRIVER)
    /// does, with the type of this store.
    ///
    /// ```no_run
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_memcache::MemcacheStore;
    ///
    /// # async fn example() -> mocha_session_core::Result<()> {
    /// let mut url = StoreUrl::parse("memcache://10.0.0.1,10.0.0.2:11212?prefix=shop:session:")?;
    /// let opening = MemcacheStore::from_url(&mut url)?;
    /// url.finish()?; // no unknown option
    /// let store = opening.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong URL, before any I/O. The future fails as
    /// [`detect`](Self::detect) does.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        url::open(url)
    }

    /// Connects to every server once, for [`capabilities`](SessionStore::capabilities).
    ///
    /// A server that cannot be reached is named in a warning of `tracing`. Calls for its sessions
    /// fail until it is back; the other servers work.
    ///
    /// # Errors
    /// `Unavailable` when no server can be reached, `Denied` when one refuses the login,
    /// `Unsupported` when one is too old or runs without compare-and-set.
    pub async fn detect(self) -> Result<Self> {
        let name = self.space.prefix().len() + StorageKey::TEXT;
        let (mut reached, mut unreachable) = (None, None);
        for lease in futures_util::future::join_all(self.servers.iter().map(Server::lease)).await {
            match lease {
                Ok(lease) => {
                    let limit = lease.run.max_value(name);
                    reached = Some(reached.map_or(limit, |least: usize| least.min(limit)));
                }
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(
                        %error,
                        "a memcached server cannot be reached; calls for its sessions fail until \
                         it is back"
                    );
                    unreachable = Some(error);
                }
                Err(error) => return Err(error.on(ENGINE).during("open")),
            }
        }
        match (reached, unreachable) {
            (None, Some(error)) => Err(error.on(ENGINE).during("open")),
            (Some(limit), _) => {
                Ok(Self { capabilities: self.capabilities.with_max_value(limit), ..self })
            }
            (None, None) => Ok(self),
        }
    }

    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    pub(crate) fn over(
        addresses: impl Iterator<Item = Address>,
        access: &Access,
        space: KeySpace,
    ) -> Self {
        let servers = addresses.map(|address| Server::new(address, access.clone())).collect();
        Self {
            servers,
            space,
            capabilities: capabilities(DEFAULT_ITEM_SIZE).with_deadline(access.deadline),
        }
    }

    fn at(mut url: StoreUrl, space: KeySpace) -> Result<Self> {
        let store = url::read(&mut url, space)?;
        url.finish()?;
        Ok(store)
    }

    /// The server of a key: the one that scores highest for it (rendezvous hashing). Adding or
    /// removing a server moves that server's keys alone, and the order in the URL does not matter.
    fn server(&self, key: &StorageKey) -> Result<&Server> {
        let key = fnv(key.as_bytes());
        let best =
            self.servers.iter().max_by_key(|server| spread(key ^ fnv(server.address().as_bytes())));
        best.ok_or_else(|| Error::new(ErrorKind::Internal, "there is no server"))
    }

    /// Stores under a condition. A value that is too large is refused first, because memcached
    /// would refuse it and drop the old one.
    async fn store(
        &self,
        lease: &mut Lease<'_>,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        condition: String,
    ) -> Result<Option<Revision>> {
        let name = self.space.name(key);
        capabilities(lease.run.max_value(name.len())).check_size(value)?;
        let lifetime = format!("T{}", lease.run.lifetime(expiry));
        let set = MetaCommand::new(MetaOp::Set, name)
            .flag("c")
            .flag(lifetime)
            .flag(condition)
            .value(value);
        let answer = lease.exchange(&set, Effect::Write).await?;
        match (answer.rc, answer.cas) {
            (ReturnCode::Hd, Some(cas)) => Ok(Some(lease.run.revision(cas))),
            (ReturnCode::Ns | ReturnCode::Ex | ReturnCode::Nf, _) => Ok(None),
            _ => Err(lease.misunderstood(Effect::Write)),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for MemcacheStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let get = MetaCommand::new(MetaOp::Get, self.space.name(key)).flag("v").flag("c");
        let (mut lease, answer) = self.server(key)?.read(&get).await?;
        match (answer.rc, answer.value, answer.cas) {
            (ReturnCode::Va, Some(value), Some(cas)) => {
                Ok(Some(Stored::new(value, lease.run.revision(cas))))
            }
            (ReturnCode::En, ..) => Ok(None),
            _ => Err(lease.misunderstood(Effect::Read)),
        }
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let mut lease = self.server(key)?.lease().await?;
        self.store(&mut lease, key, value, expiry, "ME".to_owned()).await
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let mut lease = self.server(key)?.lease().await?;
        // A revision of another run of the server matches nothing, because that value is gone.
        let Some(cas) = lease.run.cas(expected) else { return Ok(None) };
        self.store(&mut lease, key, value, expiry, format!("C{cas}")).await
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let delete = MetaCommand::new(MetaOp::Delete, self.space.name(key));
        let mut lease = self.server(key)?.lease().await?;
        match lease.exchange(&delete, Effect::Write).await?.rc {
            ReturnCode::Hd => Ok(true),
            ReturnCode::Nf => Ok(false),
            _ => Err(lease.misunderstood(Effect::Write)),
        }
    }

    async fn sweep(&self, _: SystemTime, _: Option<ScanCursor>, _: usize) -> Result<SweepReport> {
        Ok(SweepReport::native())
    }

    async fn scan(&self, _: Option<ScanCursor>, _: usize) -> Result<ScanPage> {
        Err(Error::new(ErrorKind::Unsupported, "memcached cannot list its items"))
    }

    async fn ping(&self) -> Result<()> {
        for server in self.servers.iter() {
            server.read(&MetaCommand::new(MetaOp::Noop, "")).await?;
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

/// The URL of these addresses, which are checked by the same rules.
fn url_of<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Result<StoreUrl> {
    let servers: Vec<_> = servers.into_iter().map(|server| server.as_ref().to_owned()).collect();
    StoreUrl::parse(&format!("memcache://{}", servers.join(",")))
}

fn capabilities(max_value: usize) -> Capabilities {
    Capabilities::new(ENGINE)
        .with_native_expiry(true)
        .with_eviction(true)
        .with_durability(Durability::Server)
        .with_max_value(max_value)
}

/// FNV-1a. Every process must send a key to the same server, and the standard library's hash may
/// change with a version of Rust.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finalizer of `SplitMix64`: every bit of the input affects every bit of the score.
fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Another result would be a breaking change: it would move the sessions of running apps.
    #[test]
    fn a_key_goes_to_the_same_server_in_every_version() {
        let store = MemcacheStore::new(["a", "b", "c:11211"], KeySpace::new("").unwrap()).unwrap();
        let chosen = (0..24).map(|number| {
            let key = StorageKey::from_bytes([number; StorageKey::BYTES]);
            store.server(&key).map_or("", |server| &server.address()[..1])
        });
        assert_eq!(chosen.collect::<String>(), "babcaabcaccacaccbabccbba");
    }
}
