//! Every promise on every engine that keeps sessions on a server.

use mocha_session_tests::on_engine;

macro_rules! promises {
    ($open:path) => {
        mocha_session_tests::session_cases!($open);
    };
}

on_engine!(memory, async { Some(Engine::by_url("memory:").await) }, promises);
on_engine!(sqlite_memory, async { Some(Engine::by_url("sqlite://").await) }, promises);
on_engine!(sqlite_file, async { Some(Engine::sqlite_file().await) }, promises);
on_engine!(postgres, Engine::by_variable("MOCHA_TEST_POSTGRES_URL"), promises);
on_engine!(mariadb, Engine::by_variable("MOCHA_TEST_MYSQL_URL"), promises);
on_engine!(redis, Engine::by_variable("MOCHA_TEST_REDIS_URL"), promises);
on_engine!(redis_tls, Engine::redis_tls(), promises);
on_engine!(redis_cluster, Engine::by_variable("MOCHA_TEST_REDIS_CLUSTER_URL"), promises);
on_engine!(redis_sentinel, Engine::by_variable("MOCHA_TEST_REDIS_SENTINEL_URL"), promises);
on_engine!(memcached, Engine::by_variable("MOCHA_TEST_MEMCACHE_URL"), promises);
on_engine!(memcached_three, Engine::by_variable("MOCHA_TEST_MEMCACHE_THREE_URL"), promises);
on_engine!(s3, Engine::by_variable("MOCHA_TEST_S3_URL"), promises);
on_engine!(s3_signed, Engine::by_variable("MOCHA_TEST_S3_SIGNED_URL"), promises);
on_engine!(gcs_official, Engine::gcs_official(), promises);
on_engine!(gcs_hmac, Engine::gcs_hmac(), promises);
