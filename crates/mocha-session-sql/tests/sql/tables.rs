//! Tables made by hand: what would let two sessions share an id, or hide some from a sweep, is
//! refused at opening.

use mocha_session_conformance::tools::assert_says;
use mocha_session_core::ErrorKind;

use crate::common::{Engine, fresh_name};
use crate::opening::run_sql;

async fn assert_refused(engine: &Engine, columns: &str, word: &str) {
    let name = fresh_name();
    run_sql(engine, |_| format!("CREATE TABLE {name} {columns}")).await;
    let error = engine.with(&format!("table={name}")).open().await.expect_err(columns);
    assert_says(&error, ErrorKind::InvalidConfig, &[word]);
    assert!(error.to_string().contains("schema_sql"), "{}: {error}", engine.name);
    run_sql(engine, |_| format!("DROP TABLE {name}")).await;
}

async fn assert_taken(engine: &Engine, columns: &str) {
    let name = fresh_name();
    run_sql(engine, |_| format!("CREATE TABLE {name} {columns}")).await;
    let opened = engine.with(&format!("table={name}&create=false")).open().await;
    assert!(opened.is_ok(), "{}: {columns}: {opened:?}", engine.name);
    drop(opened);
    run_sql(engine, |_| format!("DROP TABLE {name}")).await;
}

#[tokio::test]
async fn mysql_table_without_a_key_of_its_ids_is_refused() {
    let Some(engine) = Engine::mysql() else { return };
    let rest = "revision BIGINT NOT NULL, expires_at BIGINT NOT NULL, data LONGBLOB NOT NULL";
    let id = "id VARCHAR(168) CHARACTER SET ascii COLLATE ascii_bin NOT NULL";
    for keys in [
        "",
        ", KEY (id)",
        ", PRIMARY KEY (id, revision)",
        ", UNIQUE (id(20))",
        ", UNIQUE (revision)",
    ] {
        assert_refused(&engine, &format!("({id}, {rest}{keys})"), "unique").await;
    }
    for keys in [", UNIQUE (id)", ", PRIMARY KEY (id), KEY (expires_at)"] {
        assert_taken(&engine, &format!("({id}, {rest}{keys})")).await;
    }
    let id =
        "id VARCHAR(168) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY";
    assert_refused(&engine, &format!("({id}, {rest})"), "byte by byte").await;
}

#[tokio::test]
async fn postgresql_table_without_a_key_of_its_ids_is_refused() {
    let Some(engine) = Engine::postgres() else { return };
    let rest = "revision bigint NOT NULL, expires_at bigint NOT NULL, data bytea NOT NULL";
    let id = "id text COLLATE \"C\" NOT NULL";
    for keys in ["", ", PRIMARY KEY (id, revision)", ", UNIQUE (revision)"] {
        assert_refused(&engine, &format!("({id}, {rest}{keys})"), "unique").await;
    }
    assert_taken(&engine, &format!("({id}, {rest}, UNIQUE (id))")).await;
    assert_taken(&engine, &format!("(id varchar(168) COLLATE \"POSIX\" PRIMARY KEY, {rest})"))
        .await;
    assert_refused(
        &engine,
        &format!("(id text COLLATE \"und-x-icu\" PRIMARY KEY, {rest})"),
        "byte by byte",
    )
    .await;
}

#[tokio::test]
async fn sqlite_table_without_a_key_of_its_ids_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::sqlite(&folder);
    let rest = "revision INTEGER NOT NULL, expires_at INTEGER NOT NULL, data BLOB NOT NULL";
    for keys in ["", ", PRIMARY KEY (id, revision)"] {
        assert_refused(&engine, &format!("(id TEXT NOT NULL, {rest}{keys})"), "unique").await;
    }
    assert_taken(&engine, &format!("(id TEXT NOT NULL PRIMARY KEY, {rest}) WITHOUT ROWID")).await;
    let id = "id TEXT COLLATE NOCASE NOT NULL PRIMARY KEY";
    assert_refused(&engine, &format!("({id}, {rest})"), "byte by byte").await;
}
