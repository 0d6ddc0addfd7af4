//! Examines a PostgreSQL server and the table for dangers.

use std::time::SystemTime;

use mocha_session_core::store::Finding;
use sqlx::PgConnection;

use super::{clock, mib};
use crate::dialect::{Dialect, Table};

const SETTINGS: &str = "SELECT current_setting('server_version'), \
    current_setting('synchronous_commit'), current_setting('fsync'), \
    current_setting('full_page_writes'), current_setting('autovacuum'), \
    current_setting('synchronous_standby_names'), \
    (extract(epoch FROM clock_timestamp()) * 1000)::bigint, \
    (SELECT count(*) FROM pg_stat_replication)::bigint, \
    (SELECT count(*) FROM pg_stat_activity)::bigint, \
    current_setting('max_connections')::bigint";

const TABLE: &str = "SELECT c.relpersistence::text, \
    coalesce(array_to_string(c.reloptions, ','), ''), coalesce(s.n_live_tup, 0), \
    coalesce(s.n_dead_tup, 0), pg_total_relation_size(c.oid) \
    FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid \
    WHERE c.oid = to_regclass($1)";

/// Dead rows beside as many live ones are usual between two runs of autovacuum.
const USUAL_DEAD: i64 = 1_000;

type Settings = (String, String, String, String, String, String, i64, i64, i64, i64);

pub(crate) async fn examine(
    connection: &mut PgConnection,
    table: &Table,
) -> sqlx::Result<Vec<Finding>> {
    let since = SystemTime::now();
    let (version, commit, fsync, pages, autovacuum, standbys, time, replicas, used, most): Settings =
        sqlx::query_as(SETTINGS).fetch_one(&mut *connection).await?;
    let mut found =
        vec![Finding::note(format!("the server is PostgreSQL {version}")), clock(since, time)];
    if fsync == "off" {
        found.push(Finding::danger(
            "fsync is off: a crash of the machine may damage the table; set `fsync = on`",
        ));
    }
    if commit == "off" {
        found.push(Finding::danger(
            "synchronous_commit is off: a crash loses the last writes, so that a logout may come \
             back; set `synchronous_commit = on` for the role or the database",
        ));
    }
    if pages == "off" {
        found.push(Finding::danger(
            "full_page_writes is off: a power cut may damage the table; set `full_page_writes = on`",
        ));
    }
    if replicas > 0 && (standbys.is_empty() || commit == "local") {
        found.push(Finding::note(format!(
            "{replicas} standbys follow asynchronously: a failover loses the last writes, so that a \
             logout may come back; name them in `synchronous_standby_names`"
        )));
    }
    if used * 10 > most * 8 {
        found.push(Finding::danger(format!(
            "{used} of {most} connections are in use: the next processes cannot connect; raise \
             `max_connections`, or put PgBouncer in front"
        )));
    }
    let about: Option<(String, String, i64, i64, i64)> = sqlx::query_as(TABLE)
        .bind(table.quoted(Dialect::Postgres))
        .fetch_optional(connection)
        .await?;
    let Some((persistence, options, live, dead, bytes)) = about else { return Ok(found) };
    found.push(Finding::note(format!("the table takes {}", mib(bytes))));
    if persistence == "u" {
        found.push(Finding::danger(
            "the table is UNLOGGED: a crash empties it, and a standby does not have it; run \
             `ALTER TABLE … SET LOGGED`",
        ));
    }
    if autovacuum == "off" || options.contains("autovacuum_enabled=false") {
        found.push(Finding::danger(
            "autovacuum is off for the table: it grows with every write; run `ALTER TABLE … RESET \
             (autovacuum_enabled)`, and set `autovacuum = on`",
        ));
    }
    if dead > live + USUAL_DEAD {
        found.push(Finding::danger(format!(
            "the table is bloated: {dead} dead rows beside {live} live ones; autovacuum does not \
             keep up; lower the table's `autovacuum_vacuum_scale_factor`, and look for transactions \
             that stay open"
        )));
    }
    Ok(found)
}
