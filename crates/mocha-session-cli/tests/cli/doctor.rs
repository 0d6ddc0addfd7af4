//! `doctor`: what it says of servers that are set up dangerously, each on the real server.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use mocha_session_conformance::engine_url;
use mocha_session_sql::sqlx;

use super::servers::{Server, talk};
use super::{json, run, sqlite, stderr};

/// The dangers and the notes that `doctor` finds.
fn examined(url: &str) -> (Vec<String>, Vec<String>) {
    let output = run(url, &["doctor", "--rounds", "2", "--json"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", stderr(&output));
    let report = json(&output);
    let list = |name: &str| -> Vec<String> {
        let all = report[name].as_array().cloned().unwrap_or_default();
        all.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(output.status.code() == Some(1), !list("warnings").is_empty());
    for operation in ["create", "load", "update", "delete"] {
        let of = &report[operation];
        assert!(of["p50_us"].as_u64().unwrap() <= of["p99_us"].as_u64().unwrap());
    }
    (list("warnings"), list("notes"))
}

/// A URL with an option more.
fn with(url: &str, option: &str) -> String {
    format!("{url}{}{option}", if url.contains('?') { '&' } else { '?' })
}

#[track_caller]
fn says(texts: &[String], part: &str) {
    assert!(texts.iter().any(|text| text.contains(part)), "`{part}` is not in {texts:#?}");
}

#[test]
fn redis_that_evicts_and_keeps_nothing_is_a_danger() {
    let Some(server) =
        Server::redis(&["--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
    else {
        return;
    };
    let (dangers, notes) = examined(&server.redis_url());
    says(&dangers, "maxmemory-policy is allkeys-lru: at maxmemory (64 MiB)");
    says(&dangers, "persistence is off");
    says(&notes, "the server is Redis");
    says(&notes, "compare");
    says(&notes, "the server's clock is 0.");
}

#[test]
fn redis_with_snapshots_alone_or_an_unsynced_log_is_a_danger_and_a_safe_one_is_not() {
    let Some(snapshots) = Server::redis(&["--save", "3600 1"]) else { return };
    says(&examined(&snapshots.redis_url()).0, "only snapshots are written");
    let lazy = Server::redis(&["--appendonly", "yes", "--appendfsync", "no"]).unwrap();
    says(&examined(&lazy.redis_url()).0, "appendfsync is no");
    let each_second = Server::redis(&["--appendonly", "yes"]).unwrap();
    let (dangers, notes) = examined(&each_second.redis_url());
    assert_eq!(dangers, [""; 0]);
    says(&notes, "appendfsync is everysec");
    says(&notes, "maxmemory is not set");
    let replica =
        Server::redis(&["--replicaof", "127.0.0.1", &each_second.port.to_string()]).unwrap();
    let refused = run(&replica.redis_url(), &["doctor"]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(stderr(&refused).contains("read-only") || stderr(&refused).contains("replica"));
    let begun = Instant::now();
    while !examined(&each_second.redis_url())
        .1
        .iter()
        .any(|note| note.contains("1 replicas follow"))
    {
        assert!(begun.elapsed() < Duration::from_secs(15));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn memcached_tells_its_item_limit_and_its_evictions() {
    let Some(server) = Server::memcached(&["-m", "2", "-I", "512k"]) else { return };
    let (dangers, notes) = examined(&server.memcached_url());
    says(&dangers, "in memory alone");
    says(&dangers, "the item limit is 524288 bytes (-I)");
    says(&notes, "the server is memcached");
    assert!(!dangers.iter().any(|text| text.contains("evicted")), "{dangers:#?}");
    let value = "x".repeat(100_000);
    for n in 0..60 {
        let stored = server.tell(&format!("set filler{n} 0 0 100000\r\n{value}\r\n"));
        assert_eq!(stored, "STORED\r\n");
    }
    says(&examined(&server.memcached_url()).0, "items since it started");
    let quiet = Server::memcached(&["-M"]).unwrap();
    says(&examined(&quiet.memcached_url()).1, "evicts nothing (-M)");
}

#[tokio::test]
async fn postgres_without_synchronous_commit_an_unlogged_table_and_bloat_are_dangers() {
    let Some(url) = engine_url("MOCHA_TEST_POSTGRES_URL") else { return };
    let own = with(&url, "table=doctor_dangers");
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let execute = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    };
    execute("DROP TABLE IF EXISTS doctor_dangers").await;
    let (dangers, notes) = examined(&own);
    assert_eq!(dangers.iter().filter(|text| !text.contains("fsync")).count(), 0, "{dangers:#?}");
    says(&notes, "the server is PostgreSQL");
    says(&notes, "the table takes 0 MiB");
    let lazy = with(&own, "options=-c%20synchronous_commit%3Doff");
    says(&examined(&lazy).0, "synchronous_commit is off");
    execute("ALTER TABLE doctor_dangers SET UNLOGGED").await;
    execute("ALTER TABLE doctor_dangers SET (autovacuum_enabled = false)").await;
    let (dangers, _) = examined(&own);
    says(&dangers, "the table is UNLOGGED");
    says(&dangers, "autovacuum is off for the table");
    execute(
        "INSERT INTO doctor_dangers (id, revision, expires_at, data)
         SELECT 'dead' || n, 1, 1, '' FROM generate_series(1, 3000) AS n;
         DELETE FROM doctor_dangers",
    )
    .await;
    let begun = Instant::now();
    // The server tells its counters after a while.
    while !examined(&own).0.iter().any(|text| text.contains("dead rows beside 0 live ones")) {
        assert!(begun.elapsed() < Duration::from_secs(15), "{:#?}", examined(&own));
    }
    execute("DROP TABLE doctor_dangers").await;
}

#[tokio::test]
async fn a_table_without_its_key_is_refused_with_a_sentence() {
    let Some(url) = engine_url("MOCHA_TEST_POSTGRES_URL") else { return };
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let sql = "DROP TABLE IF EXISTS doctor_keyless; CREATE TABLE doctor_keyless (id TEXT COLLATE \
               \"C\" NOT NULL, revision BIGINT NOT NULL, expires_at BIGINT NOT NULL, data BYTEA NOT \
               NULL)";
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    let refused = run(&with(&url, "table=doctor_keyless"), &["doctor"]);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("key"), "{}", stderr(&refused));
    sqlx::raw_sql("DROP TABLE doctor_keyless").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn mysql_with_a_table_of_another_engine_is_a_danger() {
    let Some(url) = engine_url("MOCHA_TEST_MYSQL_URL") else { return };
    let own = with(&url, "table=doctor_engine");
    let pool = sqlx::MySqlPool::connect(&url).await.unwrap();
    let execute = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    };
    execute("DROP TABLE IF EXISTS doctor_engine").await;
    let (dangers, notes) = examined(&own);
    says(&notes, "the server is MariaDB");
    says(&notes, "the server's clock is");
    assert!(!dangers.iter().any(|text| text.contains("engine is")), "{dangers:#?}");
    execute("ALTER TABLE doctor_engine ENGINE=MyISAM").await;
    says(&examined(&own).0, "the table's engine is MyISAM");
    execute("DROP TABLE doctor_engine").await;
}

#[tokio::test]
async fn sqlite_in_another_journal_mode_or_with_open_permissions_is_a_danger() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite(folder.path(), "s.db");
    let (dangers, notes) = examined(&url);
    assert_eq!(dangers, [""; 0]);
    says(&notes, "synchronous is normal");
    says(&notes, "no second clock to compare");
    let file = folder.path().join("s.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    says(&examined(&url).0, "every user of the machine can change the file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let plain = format!("sqlite://{}", file.display());
    let pool = sqlx::SqlitePool::connect(&plain).await.unwrap();
    sqlx::raw_sql("PRAGMA journal_mode = DELETE").execute(&pool).await.unwrap();
    pool.close().await;
    says(&examined(&with(&url, "create=false")).0, "journal_mode is delete");
    says(&examined("sqlite://").0, "in memory");
}

#[test]
fn a_bucket_without_a_lifecycle_rule_and_a_public_one_are_dangers() {
    let Some(url) = engine_url("MOCHA_TEST_S3_URL") else { return };
    let server = url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let (host, port) = server.split_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    let bucket = format!("doctor-{}", std::process::id());
    let (start, _) = url.split_once(&server).unwrap();
    let options = url.split_once('?').map_or(String::new(), |(_, options)| format!("?{options}"));
    let own = format!("{start}{server}/{bucket}{options}");
    let (dangers, notes) = examined(&own);
    says(&notes, "the server's clock is ");
    says(&dangers, "the bucket has no lifecycle rule");
    assert!(!dangers.iter().any(|text| text.contains("anyone can reach")), "{dangers:#?}");
    let put = |what: &str, header: &str, body: &str| {
        let answer = talk(
            (host, port),
            format!(
                "PUT /{bucket}?{what} HTTP/1.1\r\nhost: {server}\r\n{header}content-type: \
                 application/xml\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            )
            .as_bytes(),
        );
        assert!(answer.contains(" 200 "), "{answer}");
    };
    put("acl", "x-amz-acl: public-read\r\n", "");
    put(
        "lifecycle",
        "",
        "<LifecycleConfiguration><Rule><ID>sessions</ID><Filter><Prefix></Prefix></Filter><Status>\
         Enabled</Status><Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>",
    );
    let (dangers, _) = examined(&own);
    says(&dangers, "anyone can reach the bucket");
    assert!(!dangers.iter().any(|text| text.contains("lifecycle rule")), "{dangers:#?}");
}

#[cfg(feature = "gcs")]
#[tokio::test]
async fn a_bucket_of_google_without_a_lifecycle_rule_or_with_everyone_in_its_list_is_a_danger() {
    use mocha_session_gcs_double::{BUCKET, Double, Rules};

    let double = Double::start().await;
    double.set_rules(BUCKET, Rules { names_everyone: true, ..Rules::default() });
    for url in [double.gs_url(), double.hmac_url()] {
        let (dangers, notes) = examined(&url);
        says(&dangers, "no lifecycle rule that deletes objects");
        says(&dangers, "anyone can reach the bucket");
        says(&notes, "the server's clock is ");
    }
}
