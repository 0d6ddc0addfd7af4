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
