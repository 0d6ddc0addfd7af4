//! Which engines there are, and how each is opened for a test.

use std::sync::Arc;

use mocha_session::{Registry, Secrets, SessionManager, SessionManagerBuilder, Storage};
use mocha_session_conformance::{Proxy, engine_url};
use mocha_session_gcs_double::Double;

use crate::secrecy::{self, Watch};

/// A secret for the engines' tests.
const SECRET: &str = "for tests alone: gQ3kXz7RwVbN1mLp9sTjYd2HfUcAe5Ko";

/// An engine that a test runs on: what opens it again, as another process would.
#[derive(Clone)]
pub struct Engine {
    url: String,
    /// What must live as long as the engine: a folder, a server inside this process.
    _keep: Option<Arc<dyn std::any::Any + Send + Sync>>,
    shared: Option<Storage>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// An engine by its URL. Its sessions share the engine with those of other tests.
    pub async fn by_url(url: &str) -> Self {
        let in_process = matches!(url, "" | "memory:" | "sqlite://");
        let shared =
            if in_process { Some(Registry::builtin().open(url).await.unwrap()) } else { None };
        Self { url: url.to_owned(), _keep: None, shared }
    }

    /// An engine whose URL an environment variable holds; `None` where it is not there.
    pub async fn by_variable(variable: &str) -> Option<Self> {
        Some(Self::by_url(&engine_url(variable)?).await)
    }

    /// Redis over TLS, with the certificate authority that the tests' server has.
    pub async fn redis_tls() -> Option<Self> {
        let (url, ca) =
            (engine_url("MOCHA_TEST_REDIS_TLS_URL")?, engine_url("MOCHA_TEST_REDIS_TLS_CA")?);
        Some(
            Self::by_url(&format!("{url}{}ca={ca}", if url.contains('?') { '&' } else { '?' }))
                .await,
        )
    }

    /// SQLite in a file of its own.
    pub async fn sqlite_file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:///{}", folder.path().join("sessions.db").display());
        Self { _keep: Some(Arc::new(folder)), ..Self::by_url(&url).await }
    }

    /// Google Cloud Storage's double, through the official client.
    pub async fn gcs_official() -> Option<Self> {
        let double = Double::start().await;
        Some(Self::by_url(&double.gs_url()).await.keeping(double))
    }

    /// Google Cloud Storage's double, with HMAC keys through the XML API.
    pub async fn gcs_hmac() -> Option<Self> {
        let double = Double::start().await;
        Some(Self::by_url(&double.hmac_url()).await.keeping(double))
    }

    /// The engine behind a proxy, and the proxy: what cuts, holds and refuses connections.
    pub async fn through_proxy(&self) -> (Self, Proxy) {
        let server = self
            .url
            .split("://")
            .nth(1)
            .unwrap()
            .split('/')
            .next()
            .unwrap()
            .split('?')
            .next()
            .unwrap();
        let server = server.rsplit('@').next().unwrap();
        let proxy = Proxy::to(server).await.unwrap();
        let url = self.url.replace(server, &proxy.address().to_string());
        (Self::by_url(&url).await, proxy)
    }

    /// Keeps something alive as long as the engine.
    #[must_use]
    pub fn keeping(self, it: impl std::any::Any + Send + Sync) -> Self {
        Self { _keep: Some(Arc::new(it)), ..self }
    }

    /// The engine's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The engine, opened: a connection of its own, unless it lives in this process.
    pub async fn open(&self) -> Storage {
        match &self.shared {
            Some(storage) => storage.clone(),
            None => Registry::builtin().open(&self.url).await.unwrap(),
        }
    }

    /// A manager on it, as a process of its own would have.
    pub async fn manager(&self) -> SessionManager {
        self.manager_with(|builder| builder).await
    }

    /// A manager with rules of its own.
    pub async fn manager_with(
        &self,
        rules: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
    ) -> SessionManager {
        secrecy::learn(SECRET);
        let storage = self.open().await;
        let evicts = storage.capabilities().evicts();
        let builder = SessionManager::builder(storage)
            .secrets(Secrets::parse(SECRET).unwrap())
            .observer(Watch::new())
            // Owners are indexed everywhere: on engines that evict at the price of one more trip.
            .check_owner_at_load(evicts);
        rules(builder).build().unwrap()
    }
}

/// A table: every case of a module, by name, on one engine.
#[macro_export]
macro_rules! on_engine {
    ($name:ident, $open:expr, $run:ident) => {
        mod $name {
            #[allow(unused_imports, reason = "what an engine's opening needs differs")]
            use mocha_session_tests::engines::Engine;

            async fn open() -> Option<Engine> {
                $open.await
            }

            $run!(open);
        }
    };
}

/// A table over the engines that are one server behind one address, where a proxy can stand
/// between. Their names have the versions that `cargo xtask services` starts.
#[macro_export]
macro_rules! on_each_server {
    ($run:ident) => {
        $crate::on_engine!(postgres_15, Engine::by_variable("MOCHA_TEST_POSTGRES_URL"), $run);
        $crate::on_engine!(postgres_17, Engine::by_variable("MOCHA_TEST_POSTGRES_17_URL"), $run);
        $crate::on_engine!(pgbouncer_1_24, Engine::by_variable("MOCHA_TEST_PGBOUNCER_URL"), $run);
        $crate::on_engine!(mariadb_10_11, Engine::by_variable("MOCHA_TEST_MYSQL_URL"), $run);
        $crate::on_engine!(mysql_9, Engine::by_variable("MOCHA_TEST_MYSQL_9_URL"), $run);
        $crate::on_engine!(redis_7_0, Engine::by_variable("MOCHA_TEST_REDIS_URL"), $run);
        $crate::on_engine!(valkey_8_1, Engine::by_variable("MOCHA_TEST_VALKEY_URL"), $run);
        $crate::on_engine!(memcached_1_6, Engine::by_variable("MOCHA_TEST_MEMCACHE_URL"), $run);
        $crate::on_engine!(s3_moto_5, Engine::by_variable("MOCHA_TEST_S3_URL"), $run);
    };
}

/// A table over every engine with a store.
#[macro_export]
macro_rules! on_each_store {
    ($run:ident) => {
        $crate::on_each_server!($run);
        $crate::on_engine!(memory, async { Some(Engine::by_url("memory:").await) }, $run);
        $crate::on_engine!(sqlite_memory, async { Some(Engine::by_url("sqlite://").await) }, $run);
        $crate::on_engine!(sqlite_file, async { Some(Engine::sqlite_file().await) }, $run);
        $crate::on_engine!(redis_7_0_tls, Engine::redis_tls(), $run);
        $crate::on_engine!(
            redis_7_0_cluster,
            Engine::by_variable("MOCHA_TEST_REDIS_CLUSTER_URL"),
            $run
        );
        $crate::on_engine!(
            redis_7_0_sentinel,
            Engine::by_variable("MOCHA_TEST_REDIS_SENTINEL_URL"),
            $run
        );
        $crate::on_engine!(
            memcached_1_6_three,
            Engine::by_variable("MOCHA_TEST_MEMCACHE_THREE_URL"),
            $run
        );
        $crate::on_engine!(s3_moto_5_signed, Engine::by_variable("MOCHA_TEST_S3_SIGNED_URL"), $run);
        $crate::on_engine!(gcs_double, Engine::gcs_official(), $run);
        $crate::on_engine!(gcs_double_hmac, Engine::gcs_hmac(), $run);
    };
}
