//! Every fault of a connection, on every engine that has one.

use mocha_session_tests::on_engine;

macro_rules! faults {
    ($open:path) => {
        mocha_session_tests::fault_cases!($open);
    };
}

on_engine!(postgres, Engine::by_variable("MOCHA_TEST_POSTGRES_URL"), faults);
on_engine!(mariadb, Engine::by_variable("MOCHA_TEST_MYSQL_URL"), faults);
on_engine!(redis, Engine::by_variable("MOCHA_TEST_REDIS_URL"), faults);
on_engine!(memcached, Engine::by_variable("MOCHA_TEST_MEMCACHE_URL"), faults);
on_engine!(s3, Engine::by_variable("MOCHA_TEST_S3_URL"), faults);
