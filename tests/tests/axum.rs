//! Every HTTP situation on every engine, under axum.

use mocha_session_tests::frameworks::Axum;
use mocha_session_tests::on_engine;

macro_rules! under_axum {
    ($open:path) => {
        mocha_session_tests::http_cases!(super::Axum, $open);
    };
}

on_engine!(client_side, async { Some(Engine::by_url("").await) }, under_axum);
on_engine!(memory, async { Some(Engine::by_url("memory:").await) }, under_axum);
on_engine!(sqlite_memory, async { Some(Engine::by_url("sqlite://").await) }, under_axum);
on_engine!(sqlite_file, async { Some(Engine::sqlite_file().await) }, under_axum);
on_engine!(postgres, Engine::by_variable("MOCHA_TEST_POSTGRES_URL"), under_axum);
on_engine!(mariadb, Engine::by_variable("MOCHA_TEST_MYSQL_URL"), under_axum);
on_engine!(redis, Engine::by_variable("MOCHA_TEST_REDIS_URL"), under_axum);
on_engine!(redis_tls, Engine::redis_tls(), under_axum);
on_engine!(redis_cluster, Engine::by_variable("MOCHA_TEST_REDIS_CLUSTER_URL"), under_axum);
on_engine!(redis_sentinel, Engine::by_variable("MOCHA_TEST_REDIS_SENTINEL_URL"), under_axum);
on_engine!(memcached, Engine::by_variable("MOCHA_TEST_MEMCACHE_URL"), under_axum);
on_engine!(memcached_three, Engine::by_variable("MOCHA_TEST_MEMCACHE_THREE_URL"), under_axum);
on_engine!(s3, Engine::by_variable("MOCHA_TEST_S3_URL"), under_axum);
on_engine!(s3_signed, Engine::by_variable("MOCHA_TEST_S3_SIGNED_URL"), under_axum);
on_engine!(gcs_official, Engine::gcs_official(), under_axum);
on_engine!(gcs_hmac, Engine::gcs_hmac(), under_axum);
