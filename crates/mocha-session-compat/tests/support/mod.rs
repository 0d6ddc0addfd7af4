//! Engines to run on, and a look into what they store.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "shared by several test binaries, each of which uses a part"
)]

mod counting;

pub(crate) use counting::Counting;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use mocha_session_conformance::Proxy;
use mocha_session_conformance::engine_url;
use mocha_session_core::store::{Bytes, Expiry, SessionStore, StorageKey};
use mocha_session_core::{Registry, Storage};

/// An engine with a place of its own for one test.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    url: String,
    pub(crate) storage: Storage,
    _folder: Option<Arc<tempfile::TempDir>>,
}

impl Engine {
    async fn open(url: String) -> Self {
        let storage = registry().open(&url).await.unwrap();
        Self { url, storage, _folder: None }
    }

    /// The engine as another process opens it. A memory store is in one process alone.
    pub(crate) async fn other_process(&self) -> Storage {
        match self.url.as_str() {
            "memory:" => self.storage.clone(),
            url => registry().open(url).await.unwrap(),
        }
    }

    fn store(&self) -> &Arc<dyn SessionStore> {
        self.storage.store().unwrap()
    }

    /// Each record, as it is in the engine.
    pub(crate) async fn records(&self) -> Vec<(StorageKey, Bytes)> {
        let (mut records, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.store().scan(cursor.take(), 100).await.unwrap();
            cursor = page.next().cloned();
            let entries = page.into_entries();
            records.extend(entries.into_iter().map(|(key, at)| (key, at.into_parts().0)));
            if cursor.is_none() {
                return records;
            }
        }
    }

    /// How many live records there are: no tombstones, and none that expired.
    pub(crate) async fn live(&self) -> usize {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let live = |record: &Bytes| {
            let deadline = u64::from_be_bytes(record[3..11].try_into().unwrap());
            record[2] & 0x3f == 1 && u128::from(deadline) > now
        };
        self.records().await.iter().filter(|(_, record)| live(record)).count()
    }

    /// Overwrites every record, as a failing disk or a stranger would.
    pub(crate) async fn damage(&self) {
        for (key, _) in self.records().await {
            let revision = self.store().load(&key).await.unwrap().unwrap().revision().clone();
            let expiry = Expiry::after(Duration::from_secs(3600), SystemTime::now());
            self.store().update(&key, b"damaged", expiry, &revision).await.unwrap().unwrap();
        }
    }

    /// Whether no record has this text in its key or its bytes.
    pub(crate) async fn hides(&self, text: &str) -> bool {
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        let records = self.records().await;
        assert!(!records.is_empty());
        !records.iter().any(|(key, record)| has(key.to_string().as_bytes()) || has(record))
    }
}

fn registry() -> Registry {
    Registry::new()
        .register(mocha_session_memory::DRIVER)
        .register(mocha_session_sql::DRIVER)
        .register(mocha_session_redis::DRIVER)
        .register(mocha_session_s3::DRIVER)
}

/// A prefix that no other test has.
fn some_prefix() -> String {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    format!("prefix=compat-{}-{nanos}/", std::process::id())
}

fn with_prefix(url: &str) -> String {
    format!("{url}{}{}", if url.contains('?') { '&' } else { '?' }, some_prefix())
}

pub(crate) async fn memory() -> Option<Engine> {
    Some(Engine::open("memory:".to_owned()).await)
}

pub(crate) async fn sqlite() -> Option<Engine> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("sessions.db").display());
    Some(Engine { _folder: Some(Arc::new(folder)), ..Engine::open(url).await })
}

pub(crate) async fn redis() -> Option<Engine> {
    Some(Engine::open(with_prefix(&engine_url("MOCHA_TEST_REDIS_URL")?)).await)
}

/// The test double of S3. It answers one request after the other, hence the time.
pub(crate) async fn s3() -> Option<Engine> {
    let url = with_prefix(&engine_url("MOCHA_TEST_S3_URL")?);
    Some(Engine::open(format!("{url}&timeout=30s")).await)
}

/// Redis behind an address that can go down.
pub(crate) async fn redis_behind_a_proxy() -> Option<(Storage, Proxy)> {
    let url = engine_url("MOCHA_TEST_REDIS_URL")?;
    let server = url.trim_start_matches("redis://").split(['/', '?']).next().unwrap().to_owned();
    let proxy = Proxy::to(&server).await.unwrap();
    let url = format!("redis://{}/?timeout=1s&{}", proxy.address(), some_prefix());
    Some((registry().open(&url).await.unwrap(), proxy))
}

/// One test for each case of a module and each engine: `on_engines!(tokio::test, cases: a, b)`.
macro_rules! on_engines {
    ($test:meta, $cases:ident: $($case:ident),* $(,)?) => {
        on_engines!(@ $test, memory, $cases, $($case),*);
        on_engines!(@ $test, sqlite, $cases, $($case),*);
        on_engines!(@ $test, redis, $cases, $($case),*);
        on_engines!(@ $test, s3, $cases, $($case),*);
    };
    (@ $test:meta, $engine:ident, $cases:ident, $($case:ident),*) => {
        mod $engine {
            $(
                #[$test]
                async fn $case() {
                    let Some(engine) = crate::support::$engine().await else { return };
                    super::$cases::$case(engine).await;
                }
            )*
        }
    };
}
pub(crate) use on_engines;
