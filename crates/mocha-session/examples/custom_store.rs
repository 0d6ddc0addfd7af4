//! A custom store: sessions in a `redb` database, with its own URL scheme, `redb:///path`.
//!
//! ```console
//! $ cargo run --example custom_store
//! ```
//!
//! `tests/custom_store.rs` runs the conformance suite on it.

use std::ops::Bound;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mocha_session::store::{
    Bytes, Capabilities, Durability, Expiry, Revision, ScanCursor, ScanPage, SessionStore,
    StorageKey, Stored, SweepReport, async_trait,
};
use mocha_session::{Driver, Error, ErrorKind, Registry, Result, SessionManager};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};

/// The driver for its scheme. The closure reads the URL at once, and the future opens the file.
pub const DRIVER: Driver = Driver::new(&["redb"], |url| {
    let path = url.path().strip_prefix('/').unwrap_or_default().to_owned();
    if path.is_empty() {
        return Err(url.refuse("it names no file; for example redb:///sessions.redb"));
    }
    Ok(Box::pin(async move {
        let store: Arc<dyn SessionStore> =
            Arc::new(RedbStore::new(Database::create(path).map_err(failed)?));
        Ok(store)
    }))
});

/// By key: revision, expiry in milliseconds since 1970, value.
const SESSIONS: TableDefinition<'static, &[u8], (u64, i64, &[u8])> =
    TableDefinition::new("sessions");
type Sessions<'t> = Table<'t, &'static [u8], (u64, i64, &'static [u8])>;

/// Sessions in a `redb` database. Its write transactions take turns, so a comparison and a write in
/// one transaction are atomic.
#[derive(Clone, Debug)]
pub struct RedbStore(Arc<Database>);

impl RedbStore {
    /// Creates a store in an open database.
    pub fn new(database: Database) -> Self {
        Self(Arc::new(database))
    }

    /// Runs `work` in one transaction, on a thread that may block, and to its end even if the
    /// caller is dropped.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Sessions<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T> {
        let database = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            let transaction = database.begin_write()?;
            let answer = work(&mut transaction.open_table(SESSIONS)?)?;
            transaction.commit()?;
            Ok::<_, redb::Error>(answer)
        });
        done.await.map_err(failed)?.map_err(failed)
    }
}

#[async_trait]
impl SessionStore for RedbStore {
    async fn load(&self, key: &StorageKey) -> Result<Option<Stored>> {
        let (database, key) = (Arc::clone(&self.0), *key);
        let loaded = tokio::task::spawn_blocking(move || {
            match database.begin_read()?.open_table(SESSIONS) {
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(None), // nothing was ever written
                table => Ok::<_, redb::Error>(
                    table?.get(&key.as_bytes()[..])?.map(|entry| stored(entry.value())),
                ),
            }
        });
        loaded.await.map_err(failed)?.map_err(failed)
    }

    async fn create(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Revision>> {
        let (key, value) = (*key, value.to_vec());
        self.write(move |sessions| {
            if sessions.get(&key.as_bytes()[..])?.is_some() {
                return Ok(None);
            }
            put(sessions, &key, &value, expiry).map(Some)
        })
        .await
    }

    async fn update(
        &self,
        key: &StorageKey,
        value: &[u8],
        expiry: Expiry,
        expected: &Revision,
    ) -> Result<Option<Revision>> {
        let (key, value, expected) = (*key, value.to_vec(), expected.as_u64());
        self.write(move |sessions| {
            let current = sessions.get(&key.as_bytes()[..])?.map(|entry| entry.value().0);
            if current.is_none() || current != expected {
                return Ok(None);
            }
            put(sessions, &key, &value, expiry).map(Some)
        })
        .await
    }

    async fn delete(&self, key: &StorageKey) -> Result<bool> {
        let key = *key;
        self.write(move |sessions| Ok(sessions.remove(&key.as_bytes()[..])?.is_some())).await
    }

    async fn sweep(
        &self,
        now: SystemTime,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<SweepReport> {
        let now = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
            .unwrap_or(i64::MAX);
        let after = cursor.and_then(|cursor| StorageKey::parse(cursor.as_str()));
        // One transaction examines and removes, so no entry is refreshed in between.
        self.write(move |sessions| {
            let from =
                after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&key.as_bytes()[..]));
            let mut batch = Vec::new();
            for entry in sessions.range::<&[u8]>((from, Bound::Unbounded))?.take(limit) {
                let (key, value) = entry?;
                batch.extend(
                    <[u8; StorageKey::BYTES]>::try_from(key.value())
                        .map(|key| (key, value.value().1 <= now)),
                );
            }
            let mut removed = 0;
            for (key, _) in batch.iter().filter(|(_, expired)| *expired) {
                removed += u64::from(sessions.remove(&key[..])?.is_some());
            }
            let last = batch.last().filter(|_| batch.len() == limit);
            let next =
                last.map(|(key, _)| ScanCursor::new(StorageKey::from_bytes(*key).to_string()));
            Ok(SweepReport::new(batch.len() as u64, removed, next))
        })
        .await
    }

    async fn scan(&self, _cursor: Option<ScanCursor>, _limit: usize) -> Result<ScanPage> {
        Err(Error::new(ErrorKind::Unsupported, "this example does not list its sessions")
            .on("redb"))
    }

    async fn ping(&self) -> Result<()> {
        self.0.begin_read().map(drop).map_err(failed)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("redb").with_durability(Durability::Disk)
    }
}

fn stored((revision, _, value): (u64, i64, &[u8])) -> Stored {
    Stored::new(Bytes::copy_from_slice(value), Revision::from(revision))
}

fn put(
    sessions: &mut Sessions<'_>,
    key: &StorageKey,
    value: &[u8],
    expiry: Expiry,
) -> Result<Revision, redb::Error> {
    let revision = Revision::random();
    let number = revision.as_u64().unwrap_or_default();
    sessions.insert(&key.as_bytes()[..], (number, expiry.at_millis(), value))?;
    Ok(revision)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the database failed; is the disk full or the file damaged?")
        .on("redb")
        .with_source(error)
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let url = format!("redb:///{}", folder.path().join("sessions.redb").display());
    let manager = SessionManager::new(Registry::builtin().register(DRIVER).open(&url).await?)?;
    let cookie = manager.seed(|session| session.insert("color", "blue")).await?;
    let session = manager.open(mocha_session::RequestInfo::new(cookie)).load().await?;
    println!("{}: the color is {:?}", manager.capabilities(), session.get::<String>("color")?);
    Ok(())
}
