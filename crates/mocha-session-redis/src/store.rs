//! The store: sessions as Redis strings, each behind the number of its last write.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mocha_session_core::store::{
    Bytes, Capabilities, Durability, Effect, Expiry, KeySpace, Revision, ScanCursor, ScanPage,
    SessionStore, StorageKey, Stored, SweepReport, async_trait,
};
use mocha_session_core::{BoxFuture, Error, ErrorKind, Result, StoreUrl};
use redis::{Cmd, Value, cmd};

use crate::connection::Connection;
use crate::error::FOREIGN;
use crate::url;

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "redis";

/// The size of the number at the start of a value, which makes each write unique.
pub(crate) const NUMBER: usize = size_of::<u64>();

/// The largest page of a scan. The server does nothing else while it reads one.
const LARGEST_PAGE: usize = 1_000;

/// The longest value that fits into a Redis string.
const MAX_VALUE: usize = 512 * 1024 * 1024 - NUMBER;

/// A session store on Redis or Valkey.
///
/// ```no_run
/// use mocha_session_core::{Storage, store::KeySpace};
/// use mocha_session_redis::RedisStore;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://127.0.0.1/")?;
/// let store = RedisStore::new(client, KeySpace::new("shop:session:")?).detect().await;
/// let storage = Storage::from(store);
/// storage.ping().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RedisStore {
    connection: Connection,
    space: KeySpace,
    capabilities: Capabilities,
}

impl RedisStore {
    /// A store on a client or connection of your own, with its keys under the prefix of `space`.
    /// Does no I/O.
    ///
    /// Until [`detect`](Self::detect) has asked the server, the store assumes that the server
    /// evicts, and that a write does not survive its restart.
    pub fn new(connection: impl Into<Connection>, space: KeySpace) -> Self {
        let connection = connection.into();
        let mut capabilities = Capabilities::new(ENGINE)
            .with_listing(true)
            .with_native_expiry(true)
            .with_eviction(true)
            .with_durability(Durability::Server)
            .with_max_value(MAX_VALUE);
        if let Some(changes) = connection.changes(&space) {
            capabilities = capabilities.with_changes(changes);
        }
        Self { connection, space, capabilities }
    }

    /// Reads a URL, and returns the future that opens the store: what [`DRIVER`](crate::DRIVER)
    /// does, with the type of this store.
    ///
    /// ```no_run
    /// use mocha_session_core::StoreUrl;
    /// use mocha_session_redis::RedisStore;
    ///
    /// # async fn run() -> mocha_session_core::Result<()> {
    /// let mut url = StoreUrl::parse("redis://127.0.0.1:6379/0")?;
    /// let opening = RedisStore::from_url(&mut url)?;
    /// url.finish()?; // no unknown option
    /// let store = opening.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidConfig` for a wrong URL, before any I/O. The future fails as `Unavailable` or
    /// `Timeout` when the server cannot be reached, and as `Denied` when it refuses the login.
    pub fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<Self>>> {
        url::open(url)
    }

    /// Sets whether the server may drop live sessions to make room, where
    /// [`detect`](Self::detect) may not ask it.
    #[must_use]
    pub fn with_eviction(mut self, evicts: bool) -> Self {
        self.capabilities = self.capabilities.with_eviction(evicts);
        self
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn with_deadline(mut self, deadline: Duration) -> Self {
        self.capabilities = self.capabilities.with_deadline(deadline);
        self
    }

    /// Asks the server for its durability and eviction policy, for
    /// [`capabilities`](SessionStore::capabilities).
    ///
    /// It sends `INFO` and `CONFIG GET`. What an ACL or a hosting service forbids to ask stays as
    /// assumed. In a cluster the weakest node counts.
    pub async fn detect(mut self) -> Self {
        if let Some(memory) = self.ask(cmd("INFO").arg("memory")).await {
            let evicts = memory.iter().any(|memory| {
                field(memory, "maxmemory") != Some("0")
                    && field(memory, "maxmemory_policy") != Some("noeviction")
            });
            self.capabilities = self.capabilities.with_eviction(evicts);
        }
        if let Some(persistence) = self.ask(cmd("INFO").arg("persistence")).await
            && persistence.iter().all(|persistence| field(persistence, "aof_enabled") == Some("1"))
        {
            let synced = self.ask(cmd("CONFIG").arg("GET").arg("appendfsync")).await;
            let always =
                synced.is_some_and(|synced| synced.iter().all(|synced| synced == "always"));
            let durability = if always { Durability::Disk } else { Durability::Delayed };
            self.capabilities = self.capabilities.with_durability(durability);
        }
        self
    }

    /// The answer of the server, or of each primary of the cluster; `None` when one is missing.
    pub(crate) async fn ask(&self, command: &Cmd) -> Option<Vec<String>> {
        let answers = self.connection.everywhere(command).await.ok()?;
        let answers: Vec<_> = answers.into_iter().map(text).collect::<Option<_>>()?;
        (!answers.is_empty()).then_some(answers)
    }

    /// The key of a name that `SCAN` found; `None` for a name that this store did not write.
    fn key(&self, name: &[u8]) -> Option<StorageKey> {
        self.space.parse(std::str::from_utf8(name).ok()?)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl SessionStore for RedisStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let command = cmd("GET").arg(self.space.name(key)).take();
        let Some(found) = self.connection.query::<Option<Vec<u8>>>(&command, Effect::Read).await?
        else {
            return Ok(None);
        };
        split(found).map(Some).ok_or_else(|| Error::new(ErrorKind::Corrupt, FOREIGN))
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        self.capabilities.check_size(value)?;
        let new = frame(value);
        let mut command = cmd("SET");
        command.arg(self.space.name(key)).arg(&new).arg("NX").arg("PX").arg(expiry.ttl_millis());
        let stored: Option<Value> = self.connection.query(&command, Effect::Write).await?;
        Ok(stored.map(|_| Revision::from(new)))
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        self.capabilities.check_size(value)?;
        // A revision without a number in front was not made by this store, so it matches nothing.
        let Some(old) = expected.as_bytes().filter(|old| old.len() >= NUMBER) else {
            return Ok(None);
        };
        let new = frame(value);
        let name = self.space.name(key);
        let replaced = self.connection.replace(&name, old, &new, expiry.ttl_millis()).await?;
        Ok(replaced.then(|| Revision::from(new)))
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let command = cmd("UNLINK").arg(self.space.name(key)).take();
        self.connection.query(&command, Effect::Write).await
    }

    async fn sweep(&self, _: SystemTime, _: Option<ScanCursor>, _: usize) -> Result<SweepReport> {
        Ok(SweepReport::native())
    }

    async fn scan(&self, cursor: Option<ScanCursor>, limit: usize) -> Result<ScanPage> {
        let nodes = self.connection.nodes().await?;
        // The cursor is the node's name, a space, and the node's own cursor.
        let (at, position) = match &cursor {
            None => (0, 0),
            Some(cursor) => {
                let parts = cursor.as_str().rsplit_once(' ');
                let parsed =
                    parts.and_then(|(node, position)| Some((node, position.parse::<u64>().ok()?)));
                let (node, position) = parsed.ok_or_else(|| {
                    Error::new(ErrorKind::InvalidInput, "the cursor is not one of this store's")
                })?;
                let at = nodes.iter().position(|known| known == node);
                let changed =
                    "the cluster's primaries have changed since the scan began; begin again";
                (at.ok_or_else(|| Error::new(ErrorKind::Unavailable, changed))?, position)
            }
        };
        let Some(node) = nodes.get(at) else { return Ok(ScanPage::new(Vec::new(), None)) };
        // `KeySpace` allows no character that has a meaning in a pattern.
        let pattern = format!("{}*", self.space.prefix());
        let mut command = cmd("SCAN");
        command
            .arg(position)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(limit.clamp(1, LARGEST_PAGE));
        command.arg("TYPE").arg("string");
        let (next, mut names): (u64, Vec<Vec<u8>>) =
            self.connection.query_at(node, &command).await?;
        names.retain(|name| self.key(name).is_some());
        let values = self.connection.get_all(node, &names).await?;
        // Values that were removed meanwhile, and those that are not sessions, are left out.
        let entry =
            |(name, value): (&Vec<u8>, Option<Vec<u8>>)| Some((self.key(name)?, split(value?)?));
        let entries = names.iter().zip(values).filter_map(entry).collect();
        let next = match next {
            0 => nodes.get(at + 1).map(|node| format!("{node} 0")),
            next => Some(format!("{node} {next}")),
        };
        Ok(ScanPage::new(entries, next.map(ScanCursor::new)))
    }

    async fn ping(&self) -> Result<()> {
        self.connection.query::<Value>(&cmd("PING"), Effect::Read).await.map(drop)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

/// Puts a number in front of a value that no other write has.
fn frame(value: &[u8]) -> Vec<u8> {
    let number = Revision::random().as_u64().unwrap_or_default();
    let mut framed = Vec::with_capacity(NUMBER + value.len());
    framed.extend_from_slice(&number.to_be_bytes());
    framed.extend_from_slice(value);
    framed
}

/// Takes a stored value apart; `None` for one that is too short to have a number. The whole is the
/// revision, because servers compare whole values.
fn split(framed: Vec<u8>) -> Option<Stored> {
    let value = Bytes::copy_from_slice(framed.get(NUMBER..)?);
    Some(Stored::new(value, Revision::from(framed)))
}

/// The text of an `INFO`, or the value of a `CONFIG GET` for one parameter.
fn text(answer: Value) -> Option<String> {
    match answer {
        Value::Map(_) | Value::Array(_) => {
            redis::from_redis_value::<HashMap<String, String>>(answer).ok()?.into_values().next()
        }
        other => redis::from_redis_value(other).ok(),
    }
}

/// A field of an `INFO`.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}
