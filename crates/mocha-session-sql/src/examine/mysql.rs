//! Examines a MySQL or MariaDB server and the table for dangers.

use std::time::SystemTime;

use mocha_session_core::store::Finding;
use sqlx::MySqlConnection;

use super::{clock, mib};
use crate::dialect::Table;

const SETTINGS: &str = "SELECT CAST(VERSION() AS CHAR), \
    CAST(@@innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@log_bin AS SIGNED), \
    CAST(@@sync_binlog AS SIGNED), CAST(@@innodb_doublewrite AS CHAR), \
    CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), CAST(@@max_allowed_packet AS SIGNED)";

const TABLE: &str = "SELECT CAST(COALESCE(ENGINE, '') AS CHAR), \
    CAST(COALESCE(DATA_LENGTH + INDEX_LENGTH, 0) AS SIGNED), \
    CAST(COALESCE(DATA_FREE, 0) AS SIGNED) FROM information_schema.TABLES \
    WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) AND TABLE_NAME = ?";

/// A value of a mebibyte, the largest record by default, and its statement.
const LARGEST_RECORD: i64 = 1024 * 1024 + 4096;
/// InnoDB keeps some free space in every file.
const USUAL_FREE: i64 = 64 * 1024 * 1024;

type Settings = (String, i64, i64, i64, String, i64, i64);

pub(crate) async fn examine(
    connection: &mut MySqlConnection,
    table: &Table,
) -> sqlx::Result<Vec<Finding>> {
    let since = SystemTime::now();
    let (version, flush, binlog, synced, doublewrite, time, packet): Settings =
        sqlx::query_as(SETTINGS).fetch_one(&mut *connection).await?;
    let server = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    let mut found =
        vec![Finding::note(format!("the server is {server} {version}")), clock(since, time)];
    if flush != 1 {
        found.push(Finding::danger(format!(
            "innodb_flush_log_at_trx_commit is {flush}: a crash loses up to a second of writes, so \
             that a logout may come back; set it to 1"
        )));
    }
    if binlog == 1 && synced != 1 {
        found.push(Finding::note(format!(
            "sync_binlog is {synced}: after a crash a replica may have other sessions than the \
             server; set it to 1"
        )));
    }
    if matches!(&*doublewrite, "0" | "OFF") {
        found.push(Finding::danger(
            "innodb_doublewrite is off: a power cut may damage the table; turn it on",
        ));
    }
    if packet < LARGEST_RECORD {
        found.push(Finding::note(format!(
            "max_allowed_packet is {packet} bytes, so sessions must be smaller than that"
        )));
    }
    let about: Option<(String, i64, i64)> = sqlx::query_as(TABLE)
        .bind(table.schema())
        .bind(table.name())
        .fetch_optional(connection)
        .await?;
    let Some((engine, bytes, free)) = about else { return Ok(found) };
    found.push(Finding::note(format!("the table takes {}", mib(bytes + free))));
    if !engine.eq_ignore_ascii_case("InnoDB") {
        found.push(Finding::danger(format!(
            "the table's engine is {engine}: a crash damages it or loses writes, and every write \
             locks the whole table; run `ALTER TABLE … ENGINE=InnoDB`"
        )));
    }
    if free > USUAL_FREE && free > bytes {
        found.push(Finding::danger(format!(
            "the table is bloated: {} of it are free; run `OPTIMIZE TABLE`",
            mib(free)
        )));
    }
    Ok(found)
}
