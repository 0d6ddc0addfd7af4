//! Every promise on every engine that keeps sessions on a server.

use mocha_session_tests::{on_engine, session_cases};

on_engine!(memory, async { Some(Engine::by_url("memory:").await) }, session_cases);
on_engine!(sqlite_memory, async { Some(Engine::by_url("sqlite://").await) }, session_cases);
on_engine!(sqlite_file, async { Some(Engine::sqlite_file().await) }, session_cases);
on_engine!(postgres, Engine::by_variable("MOCHA_TEST_POSTGRES_URL"), session_cases);
on_engine!(mariadb, Engine::by_variable("MOCHA_TEST_MYSQL_URL"), session_cases);
on_engine!(redis, Engine::by_variable("MOCHA_TEST_REDIS_URL"), session_cases);
