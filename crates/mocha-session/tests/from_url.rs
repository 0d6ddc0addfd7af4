//! `from_url` of every backend: what the driver does, with the type of the store.

#![cfg(all(
    feature = "memory",
    feature = "redis",
    feature = "memcache",
    feature = "s3",
    feature = "gcs",
    feature = "postgres",
    feature = "mysql",
    feature = "sqlite"
))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use mocha_session::store::SessionStore;
use mocha_session::{Storage, StoreUrl};
use mocha_session_conformance::engine_url;

use mocha_session::gcs::GcsStore;
use mocha_session::memcache::MemcacheStore;
use mocha_session::memory::MemoryStore;
use mocha_session::redis::RedisStore;
use mocha_session::s3::S3Store;
use mocha_session::sql::SqlStore;

/// The option is every engine's, so no backend need take it, and none can forget to.
#[test]
fn a_timeout_is_taken_by_from_url_of_every_backend() {
    macro_rules! taken {
        ($($store:ident $url:literal)*) => {$(
            let mut url = StoreUrl::parse(concat!($url, "?timeout=1500ms")).unwrap();
            assert_eq!(url.deadline(), Duration::from_millis(1500));
            drop($store::from_url(&mut url).unwrap());
            url.finish().expect($url);
        )*};
    }
    taken! {
        MemoryStore "memory:"
        RedisStore "redis://127.0.0.1"
        RedisStore "redis+cluster://a,b"
        MemcacheStore "memcache://127.0.0.1"
        S3Store "s3://key:secret@s3.eu-central-1.amazonaws.com/bucket"
        GcsStore "google_storage://key:secret@cloud.google.com/bucket"
        SqlStore "postgresql://h/db"
        SqlStore "mysql://h/db"
        SqlStore "sqlite://"
    }
}

/// A store that was opened without a registry brings its deadline along, so that the manager's and
/// its own agree.
#[tokio::test]
async fn the_manager_takes_the_deadline_of_the_url_over_from_the_store() {
    async fn check<S: SessionStore>(
        url: Option<String>,
        open: impl FnOnce(
            &mut StoreUrl,
        ) -> mocha_session::Result<
            mocha_session::core::BoxFuture<'static, mocha_session::Result<S>>,
        >,
    ) {
        let Some(url) = url else { return };
        let joint = if url.contains('?') { '&' } else { '?' };
        let mut url = StoreUrl::parse(&format!("{url}{joint}timeout=7s")).unwrap();
        let store = open(&mut url).unwrap().await.unwrap();
        assert_eq!(store.capabilities().deadline(), Some(Duration::from_secs(7)), "{store:?}");
        let shown = format!("{:?}", Storage::from(store));
        assert!(shown.contains("timeout: Some(7s)"), "{shown}");
    }
    check(Some("sqlite://".to_owned()), SqlStore::from_url).await;
    check(engine_url("MOCHA_TEST_REDIS_URL"), RedisStore::from_url).await;
    check(engine_url("MOCHA_TEST_MEMCACHE_URL"), MemcacheStore::from_url).await;
    check(engine_url("MOCHA_TEST_POSTGRES_URL"), SqlStore::from_url).await;
    check(engine_url("MOCHA_TEST_MYSQL_URL"), SqlStore::from_url).await;
    check(engine_url("MOCHA_TEST_S3_URL"), S3Store::from_url).await;
}
