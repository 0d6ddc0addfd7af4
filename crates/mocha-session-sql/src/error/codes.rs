//! The engines' error codes: the meaning of each for the statement and its connection.

use mocha_session_core::ErrorKind;
use mocha_session_core::backend::Role;
use mocha_session_core::store::Failure;

use super::Sign;
use crate::dialect::Dialect;

type Verdict = (Failure, Sign, &'static str);

const fn refused(kind: ErrorKind, why: &'static str) -> Verdict {
    (Failure::Refused(kind), Sign::Nothing, why)
}

/// The statement was not done, and another connection may succeed.
const fn left(why: &'static str) -> Verdict {
    (Failure::Refused(ErrorKind::Unavailable), Sign::Leave, why)
}

/// The statement may have been done.
const fn lost(sign: Sign, why: &'static str) -> Verdict {
    (Failure::Unanswered, sign, why)
}

const READ_ONLY: Verdict =
    (Failure::Refused(ErrorKind::Unavailable), Sign::NotPrimary, Role::READ_ONLY);
const LOGIN: Verdict =
    refused(ErrorKind::Denied, "the server refused the user name or the password");
const FULL: Verdict = refused(ErrorKind::Full, "the server has no room left");
const BUSY: Verdict = refused(
    ErrorKind::Unavailable,
    "the row or the table stayed locked, or the server is too slow; the statement was not done",
);
const ROLLED_BACK: Verdict = (Failure::Refused(ErrorKind::Unavailable), Sign::RolledBack, BUSY.2);
const NO_TABLE: Verdict = (
    Failure::Refused(ErrorKind::Unavailable),
    Sign::NoTable,
    "the table does not exist; let the store create it (without `create=false`) or run the \
     statement that `mocha_session_sql::schema_sql` returns",
);
const NO_DATABASE: Verdict =
    refused(ErrorKind::Unavailable, "the database or schema of the URL does not exist; create it");
const COLUMNS: Verdict = refused(
    ErrorKind::InvalidConfig,
    "the table's columns are not the store's; choose another table with the option `table`",
);
const LARGE: Verdict =
    refused(ErrorKind::TooLarge, "the value is larger than the server or the column allows");
const CROWDED: Verdict = refused(ErrorKind::Unavailable, "the server has too many connections");
const ENDED: Verdict = lost(Sign::Leave, "the server ended the connection");
const FILES: Verdict = lost(Sign::Nothing, "the server cannot use its files; see its log");
const UNFORESEEN: Verdict = refused(ErrorKind::Internal, "the server refused the statement");

/// The error of a table in which two rows could have one id.
pub(crate) const NO_KEY: &str = "the table has no primary key or unique index on `id` alone; \
     create it with the statement that `mocha_session_sql::schema_sql` returns";

/// The meaning of a server's error, and whether the server ends the connection with it.
pub(super) fn verdict(dialect: Dialect, code: &str, text: &str, ends: bool) -> Verdict {
    match dialect {
        Dialect::Postgres if ends => {
            let (failure, _, why) = postgres(code, text, ENDED);
            (failure, Sign::Leave, why)
        }
        Dialect::Postgres => postgres(code, text, UNFORESEEN),
        Dialect::MySql => mysql(code),
        Dialect::Sqlite => sqlite(code, text),
    }
}

/// Returns whether a pooler refused a setting of a new connection: `protocol_violation`, with a
/// text that is never translated.
pub(crate) fn is_refused_setting(code: &str, text: &str) -> bool {
    code == "08P01" && text.contains("unsupported startup parameter")
}

fn postgres(code: &str, text: &str, unforeseen: Verdict) -> Verdict {
    match code {
        "3D000" | "3F000" => NO_DATABASE,
        "25006" => READ_ONLY,
        "26000" => left(
            "the connection lost its prepared statements; behind PgBouncer in transaction mode set \
             its max_prepared_statements (1.21 or later)",
        ),
        "42P05" => refused(
            ErrorKind::Unavailable,
            "the name of a prepared statement is taken: PgBouncer in transaction mode needs \
             max_prepared_statements (1.21 or later); set it, or connect past PgBouncer",
        ),
        "0A000" => left("the table was altered while the connection was open"),
        "42501" => refused(
            ErrorKind::Denied,
            "the user lacks rights: the store needs SELECT, INSERT, UPDATE and DELETE on the table, \
             and to create it, CREATE on its schema, which since PostgreSQL 15 only the owner of \
             the database has on `public`; grant it, or run the statement that \
             `mocha_session_sql::schema_sql` returns as the owner",
        ),
        "42P10" => refused(ErrorKind::InvalidConfig, NO_KEY),
        "42703" | "42804" | "22P02" => COLUMNS,
        "42P01" => NO_TABLE,
        "53100" | "53200" => FULL,
        "54000" | "22001" => LARGE,
        "57P03" => left("the server is starting or stopping"),
        // The server closed an idle connection, or the database was dropped: no statement was
        // running.
        "57P04" | "57P05" => left("the server closed the connection"),
        _ if is_refused_setting(code, text) => refused(
            ErrorKind::InvalidConfig,
            "PgBouncer does not pass on a setting of the connection: remove `options` and \
             `synchronous_commit` from the URL and set them for the user (ALTER ROLE … SET …), or \
             connect past PgBouncer",
        ),
        // PgBouncer uses this code for its own failures, too.
        "08P01" => lost(
            Sign::Leave,
            "the server, or a pooler before it, refused the connection; see PgBouncer's log (too \
             many clients, or a server that it cannot reach)",
        ),
        // PostgreSQL 17's transaction_timeout is 25P04.
        "55P03" | "57014" | "25P04" => BUSY,
        "40001" | "40P01" => ROLLED_BACK,
        _ if code.starts_with("28") => LOGIN,
        // 57P01 while a commit waits for a synchronous standby comes after the write was done.
        _ if code.starts_with("57P") || code.starts_with("08") => ENDED,
        _ if code.starts_with("53") => CROWDED,
        _ if code.starts_with("58") || code.starts_with("XX") => FILES,
        _ => unforeseen,
    }
}

fn mysql(code: &str) -> Verdict {
    match code {
        "1045" | "1698" | "1820" | "1862" | "3118" | "4151" => LOGIN,
        "1044" | "1142" | "1143" | "1227" | "1410" => refused(
            ErrorKind::Denied,
            "the user lacks rights: the store needs SELECT, INSERT, UPDATE and DELETE on the table, \
             and CREATE to create it",
        ),
        "3159" => refused(
            ErrorKind::Denied,
            "the server requires encryption; set sslmode=require or verify-full",
        ),
        "1049" => NO_DATABASE,
        "1146" => NO_TABLE,
        "1054" | "1136" | "1366" => COLUMNS,
        "1290" | "1792" | "1836" => READ_ONLY,
        "1021" | "1037" | "1038" | "1041" | "1114" => FULL,
        "1153" | "1301" | "1406" => LARGE,
        "1205" | "1969" | "3024" => BUSY,
        "1213" | "1412" => ROLLED_BACK,
        "1040" | "1203" | "1226" => CROWDED,
        "1461" => refused(
            ErrorKind::Unavailable,
            "the server has too many prepared statements; raise its max_prepared_stmt_count",
        ),
        "1243" | "1615" => left("the connection lost its prepared statements"),
        "1047" => left("the node is not part of its cluster now; wait until it has joined again"),
        "3100" | "3101" => left("the cluster rolled the statement back"),
        // The server closed an idle connection before it read the statement.
        "4031" => left("the server closed the connection"),
        "1053" | "1077" | "1317" | "1927" | "3169" => ENDED,
        "1026" | "1030" | "1180" => FILES,
        _ => UNFORESEEN,
    }
}

fn sqlite(code: &str, text: &str) -> Verdict {
    match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(1) if text.starts_with("no such table") => NO_TABLE,
        Ok(1) if text.contains("no such column") || text.contains("has no column") => COLUMNS,
        Ok(1) if text.starts_with("ON CONFLICT") => refused(ErrorKind::InvalidConfig, NO_KEY),
        Ok(3 | 23) => refused(
            ErrorKind::Denied,
            "the file may not be opened like this; check its permissions",
        ),
        Ok(5 | 6) => refused(
            ErrorKind::Unavailable,
            "another process kept the database file locked; the statement was not done",
        ),
        Ok(7 | 13) => {
            refused(ErrorKind::Full, "the disk or the memory is full; the statement was not done")
        }
        Ok(8) => refused(ErrorKind::Unavailable, "the database file or its folder is read-only"),
        Ok(10) => lost(Sign::Nothing, "the database file could not be read or written"),
        Ok(11) => refused(
            ErrorKind::Unavailable,
            "the database file is damaged; restore it from a backup",
        ),
        Ok(14) => refused(
            ErrorKind::Unavailable,
            "the database file cannot be opened; does it exist, and may the process read and write \
             it and its folder?",
        ),
        Ok(18) => LARGE,
        Ok(26) => refused(ErrorKind::InvalidConfig, "the file is not an SQLite database"),
        _ => UNFORESEEN,
    }
}
