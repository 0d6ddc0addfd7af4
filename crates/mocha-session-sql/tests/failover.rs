//! Failover: a standby or a demoted server at the address of the primary, and back.

#![cfg(all(feature = "postgres", feature = "mysql", feature = "_sqlite"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::servers::Server;
use common::{Engine, eventually, fresh_key, fresh_name, hour, until, with_pool};
use mocha_session_conformance::Proxy;
use mocha_session_conformance::tools::assert_says;
use mocha_session_core::store::{SessionStore, StorageKey};
use mocha_session_core::{Error, ErrorKind, Storage};
use mocha_session_sql::{SqlOptions, SqlStore, Table, sqlx};
use sqlx::Executor as _;

async fn open(url: &str) -> Storage {
    Engine { name: "", url: url.to_owned() }.open().await.unwrap()
}

fn is_read_only(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable && error.to_string().contains("primary")
}

/// Reads and writes for a while, and asserts that every call is refused because the server is no
/// primary.
async fn assert_refused(name: &str, store: &dyn SessionStore, key: &StorageKey, calls: usize) {
    for _ in 0..calls {
        let loaded = store.load(key).await.map(|stored| stored.is_some());
        let error = loaded.expect_err(name);
        assert!(is_read_only(&error), "{name}: {error}");
        let error = store.create(&fresh_key(), b"x", hour()).await.expect_err(name);
        assert!(is_read_only(&error) && !error.is_ambiguous(), "{name}: {error}");
    }
}

/// Two stores on a server that a proxy stands before: by its URL, and on a pool as the
/// documentation asks for.
struct Behind {
    proxy: Proxy,
    stable: String,
    storage: Storage,
    own: SqlStore,
}

impl Behind {
    async fn postgres(server: &Server) -> Self {
        Self::of("postgresql", server, Server::url_at).await
    }

    async fn mariadb(server: &Server) -> Self {
        Self::of("mysql", server, mariadb_at).await
    }

    async fn of(name: &'static str, server: &Server, url_at: fn(&str) -> String) -> Self {
        let proxy = Proxy::to(server.authority()).await.unwrap();
        let engine = Engine { name, url: url_at(&proxy.address().to_string()) };
        let own = with_pool!(engine, |pool| pool.test_before_acquire(false), |pool| {
            SqlStore::new(pool, SqlOptions::new()).await.unwrap()
        });
        Self { storage: engine.open().await.unwrap(), proxy, stable: engine.url, own }
    }

    fn stores(&self) -> [(&str, &dyn SessionStore); 2] {
        [("by URL", &**self.storage.store().unwrap()), ("own pool", &self.own)]
    }

    /// The primary is lost: its connections end, and the address leads to a replica that does not
    /// know of a logout.
    async fn assert_replica_is_not_read(&self, replica: &Server, logged_out: &StorageKey) {
        self.proxy.lead_to(replica.authority());
        self.proxy.cut();
        for (name, store) in self.stores() {
            let refused = |error: Error| assert!(error.is_unavailable(), "{name}: {error}");
            // The write that finds the dead connection does not know; from then on the replica is
            // refused.
            let _ = store
                .create(&fresh_key(), b"x", hour())
                .await
                .map(|_| panic!("{name}"))
                .map_err(refused);
            assert_refused(name, store, logged_out, 1).await;
        }
        for (name, store) in self.stores() {
            let dialled = self.proxy.dials();
            assert_refused(name, store, logged_out, 200).await;
            let dials = self.proxy.dials() - dialled;
            assert!(dials < 40, "{name}: {dials} dials");
        }
    }

    async fn assert_promoted_is_used(&self, logged_out: &StorageKey, live: &StorageKey) {
        for (name, store) in self.stores() {
            assert!(eventually(|| store.load(logged_out)).await.is_none(), "{name}: logged out");
            assert!(store.load(live).await.unwrap().is_some(), "{name}");
            assert!(store.create(&fresh_key(), b"x", hour()).await.unwrap().is_some(), "{name}");
        }
    }

    /// The server that turned read-only takes writes again.
    async fn assert_used_again(&self, key: &StorageKey) {
        for (name, store) in self.stores() {
            assert!(eventually(|| store.load(key)).await.is_some(), "{name}");
            let fresh = fresh_key();
            assert!(eventually(|| store.create(&fresh, b"x", hour())).await.is_some(), "{name}");
        }
    }
}

fn mariadb_at(authority: &str) -> String {
    format!("mysql://app:pw@{authority}/mocha")
}

/// Asserts which of two MariaDB servers has an entry.
async fn assert_written(key: &StorageKey, there: &Server, not_there: &Server) {
    let rows = format!("SELECT count(*) AS it FROM mocha.mocha_sessions WHERE id = '{key}'");
    assert_eq!(there.root_ask(&rows, "it").await, "1");
    assert_eq!(not_there.root_ask(&rows, "it").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_standby_at_the_primarys_address_is_never_read_and_is_used_once_promoted() {
    if Engine::postgres().is_none() {
        return;
    }
    let primary = Server::postgres().await;
    let behind = Behind::postgres(&primary).await;
    let own = &behind.own;
    let standby = primary.standby().await;
    let (logged_out, live) = (fresh_key(), fresh_key());
    own.create(&logged_out, b"old", hour()).await.unwrap().unwrap();
    own.create(&live, b"live", hour()).await.unwrap().unwrap();
    let rows = "SELECT count(*)::text FROM mocha_sessions";
    until("the standby catches up", async || standby.ask(rows).await == "2").await;
    // From here on the standby lags: a logout has arrived there and is not applied.
    standby.ask("SELECT pg_wal_replay_pause()").await;
    own.delete(&logged_out).await.unwrap();
    let written = primary.ask("SELECT pg_current_wal_lsn()::text").await;
    let arrived = format!("SELECT (pg_last_wal_receive_lsn() >= '{written}')::text");
    until("the logout arrives", async || standby.ask(&arrived).await == "true").await;

    behind.assert_replica_is_not_read(&standby, &logged_out).await;

    // Of several hosts the one that is the primary is used.
    let both = format!("{},{}", standby.authority(), primary.authority());
    let by_list = open(&format!("{}?target_session_attrs=read-write", Server::url_at(&both))).await;
    assert!(by_list.store().unwrap().load(&live).await.unwrap().is_some());

    standby.ask("SELECT pg_wal_replay_resume()").await;
    standby.ask("SELECT pg_promote()").await;
    behind.assert_promoted_is_used(&logged_out, &live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_that_turns_read_only_is_left_at_once_and_used_again_after() {
    if Engine::postgres().is_none() {
        return;
    }
    let server = Server::postgres().await;
    let behind = Behind::postgres(&server).await;
    let key = fresh_key();
    behind.own.create(&key, b"kept", hour()).await.unwrap().unwrap();

    let turn = async |to: &str| {
        server.ask(&format!("ALTER SYSTEM SET default_transaction_read_only = {to}")).await;
        server.ask("SELECT pg_reload_conf()").await;
        let now = async || server.ask("SHOW default_transaction_read_only").await;
        until("the setting is read", async || now().await == to).await;
        // The server's other processes read the change when they are idle, a moment later.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    turn("on").await;
    for (name, store) in behind.stores() {
        let before = behind.proxy.dials();
        assert_refused(name, store, &key, 3).await;
        assert!(behind.proxy.dials() > before, "{name}: the old connection was kept");
    }
    turn("off").await;
    behind.assert_used_again(&key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_that_is_demoted_is_left_at_once_and_autocommit_is_the_stores_own() {
    if Engine::mysql().is_none() {
        return;
    }
    let server = Server::mariadb().await;
    let behind = Behind::mariadb(&server).await;
    let (stable, own) = (&behind.stable, &behind.own);
    let key = fresh_key();
    own.create(&key, b"kept", hour()).await.unwrap().unwrap();

    server.root("SET GLOBAL read_only = 1").await;
    for (name, store) in behind.stores() {
        let before = behind.proxy.dials();
        // The write comes first: the server's own refusal (1290) ends the connection's use as well.
        let error = store.create(&fresh_key(), b"x", hour()).await.expect_err(name);
        assert!(is_read_only(&error) && !error.is_ambiguous(), "{name}: {error}");
        assert!(behind.proxy.dials() > before, "{name}: the old connection was kept");
        assert_refused(name, store, &key, 3).await;
    }
    server.root("SET GLOBAL read_only = 0").await;
    behind.assert_used_again(&key).await;

    // As the server's default, autocommit=0 would undo every write when its connection ends.
    server.root("SET GLOBAL autocommit = 0").await;
    let written = fresh_key();
    let storage = open(stable).await;
    storage.store().unwrap().create(&written, b"committed", hour()).await.unwrap().unwrap();
    drop(storage);
    assert!(own.load(&written).await.unwrap().is_some(), "acknowledged and lost");
    let pool = sqlx::MySqlPool::connect(stable).await.unwrap();
    let error = SqlStore::new(pool, SqlOptions::new()).await.unwrap_err();
    assert_says(&error, ErrorKind::InvalidConfig, &["autocommit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_replica_at_the_primarys_address_is_never_read_and_is_used_once_promoted() {
    if Engine::mysql().is_none() {
        return;
    }
    let (primary, replica) = Server::mariadb_pair().await;
    let behind = Behind::mariadb(&primary).await;
    let own = &behind.own;
    let (logged_out, live) = (fresh_key(), fresh_key());
    own.create(&logged_out, b"old", hour()).await.unwrap().unwrap();
    own.create(&live, b"live", hour()).await.unwrap().unwrap();
    replica.caught_up("SELECT @@gtid_slave_pos AS it", "it", &primary).await;
    // From here on the replica lags: a logout has arrived there and is not applied.
    replica.root("STOP SLAVE SQL_THREAD").await;
    own.delete(&logged_out).await.unwrap();
    replica.caught_up("SHOW SLAVE STATUS", "Gtid_IO_Pos", &primary).await;

    behind.assert_replica_is_not_read(&replica, &logged_out).await;

    // Of several hosts the one that is the primary is used.
    let by_list =
        open(&mariadb_at(&format!("{},{}", replica.authority(), primary.authority()))).await;
    assert!(by_list.store().unwrap().load(&live).await.unwrap().is_some());

    replica.root("START SLAVE SQL_THREAD").await;
    replica.caught_up("SELECT @@gtid_slave_pos AS it", "it", &primary).await;
    replica.root("STOP SLAVE").await;
    replica.root("RESET SLAVE ALL").await;
    replica.root("SET GLOBAL read_only = 0").await;
    behind.assert_promoted_is_used(&logged_out, &live).await;
    let written = fresh_key();
    own.create(&written, b"x", hour()).await.unwrap().unwrap();
    assert_written(&written, &replica, &primary).await;
}

/// A switch of roles that was planned: the old primary goes on as a replica, and keeps the
/// connections it has.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_that_changed_roles_is_left_though_it_keeps_its_connections() {
    if Engine::mysql().is_none() {
        return;
    }
    let (primary, replica) = Server::mariadb_pair().await;
    let behind = Behind::mariadb(&primary).await;
    let (proxy, own) = (&behind.proxy, &behind.own);
    let logged_out = fresh_key();
    own.create(&logged_out, b"old", hour()).await.unwrap().unwrap();
    replica.caught_up("SELECT @@gtid_slave_pos AS it", "it", &primary).await;

    primary.root("SET GLOBAL read_only = 1").await;
    replica.root("STOP SLAVE").await;
    replica.root("RESET SLAVE ALL").await;
    replica.root("SET GLOBAL read_only = 0").await;
    proxy.lead_to(replica.authority());
    // Another process, which knows of the new primary, logs the session out.
    let other = open(&behind.stable).await;
    other.store().unwrap().delete(&logged_out).await.unwrap();

    for (name, store) in behind.stores() {
        let dialled = proxy.dials();
        // The connection still leads to the old primary, where the session is alive.
        let loaded = store.load(&logged_out).await;
        assert!(matches!(loaded, Ok(None)), "{name}: {loaded:?}");
        assert!(proxy.dials() > dialled, "{name}: the old connection was kept");
        let written = fresh_key();
        assert!(store.create(&written, b"x", hour()).await.unwrap().is_some(), "{name}");
        assert_written(&written, &replica, &primary).await;
    }
}

#[tokio::test]
async fn mysql_pool_with_autocommit_off_is_refused() {
    let Some(engine) = Engine::mysql() else { return };
    let pool = sqlx::mysql::MySqlPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET autocommit = 0").await.map(drop) })
        })
        .connect(&engine.url)
        .await
        .unwrap();
    let options = SqlOptions::new().with_table(Table::new(&fresh_name()).unwrap());
    let error = SqlStore::new(pool, options).await.unwrap_err();
    assert_says(&error, ErrorKind::InvalidConfig, &["autocommit"]);
}
