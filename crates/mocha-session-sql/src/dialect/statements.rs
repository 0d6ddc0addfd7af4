//! The statements of the store, rendered once for a dialect and a table.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::{Dialect, Table, schema_sql};

/// How many ids one statement of a sweep removes: few enough to hold locks for a moment only.
pub(crate) const SWEEP_WIDTH: usize = 64;

/// The statements for one table. Each line says `[parameters] → columns`.
#[derive(Clone, Debug)]
pub(crate) struct Statements<S> {
    /// `[id] → whether the server takes no writes, revision, data`: always one row, because
    /// "nothing there" counts only from a primary
    pub load: S,
    /// `[id, revision, expires_at, data]`; no row, or a unique violation, when the id is taken
    pub create: S,
    /// `[revision, expires_at, data, id, expected revision]`
    pub update: S,
    /// `[id]`
    pub delete: S,
    /// `[after, before, limit] → id, revision, data`
    pub scan: S,
    /// `[after, before, limit] → id, expires_at`
    pub expiries: S,
    /// the same in the table's physical order, where the dialect can
    pub by_block: Option<ByBlock<S>>,
    /// `[now, SWEEP_WIDTH ids]`; the condition that was looked at is asked again, so that what was
    /// refreshed stays
    pub sweep: S,
    /// `[] → nothing`, unless the table or a column is missing
    pub probe: S,
    /// makes the table; run as plain text
    pub prepare: S,
    /// `[] → ids` in the order of the column: `B`, `a`, `a1`, `a:` where it compares byte by byte
    pub order: S,
    /// `[] → anything` if a unique key keeps two rows from having one id; nothing, or an error, if
    /// not
    pub keys: S,
}

/// A sweep in physical order: it reads each page of the table once, in sequence. On PostgreSQL 1 µs
/// per row was measured, against 6 to 10 in the order of the ids.
#[derive(Clone, Debug)]
pub(crate) struct ByBlock<S> {
    /// `[] → how many blocks the table has`
    pub count: S,
    /// `[block, end block] → id, expires_at`
    pub expiries: S,
}

impl Statements<SqlStr> {
    /// The statements as the client takes them. They are safe: a table's name is all that is put
    /// into them.
    pub(crate) fn new(dialect: Dialect, table: &Table) -> Self {
        Statements::render(dialect, table).map(|text| AssertSqlSafe(text).into_sql_str())
    }
}

impl Statements<String> {
    fn render(dialect: Dialect, table: &Table) -> Self {
        let quoted = table.quoted(dialect);
        // `?` stands for a parameter. None is compared with the column through a function: all use
        // the primary key.
        let sql = |template: &str| {
            number(dialect, &template.replace("{table}", &quoted).replace("{name}", table.name()))
        };
        Self {
            load: sql(&format!(
                "SELECT one.read_only, revision, data FROM (SELECT {} AS read_only) AS one \
                 LEFT JOIN {{table}} ON id = ?",
                dialect.read_only()
            )),
            create: sql(match dialect {
                // MySQL's INSERT IGNORE would turn other errors into warnings; there the violation
                // is read instead.
                Dialect::MySql => "INSERT INTO {table} (id, revision, expires_at, data) VALUES (?, ?, ?, ?)",
                Dialect::Postgres | Dialect::Sqlite => {
                    "INSERT INTO {table} (id, revision, expires_at, data) VALUES (?, ?, ?, ?) \
                     ON CONFLICT (id) DO NOTHING"
                }
            }),
            update: sql("UPDATE {table} SET revision = ?, expires_at = ?, data = ? \
                         WHERE id = ? AND revision = ?"),
            delete: sql("DELETE FROM {table} WHERE id = ?"),
            scan: sql("SELECT id, revision, data FROM {table} WHERE id > ? AND id < ? ORDER BY id LIMIT ?"),
            expiries: sql("SELECT id, expires_at FROM {table} WHERE id > ? AND id < ? ORDER BY id LIMIT ?"),
            by_block: (dialect == Dialect::Postgres).then(|| ByBlock {
                count: sql(&format!(
                    "SELECT pg_relation_size('{quoted}'::regclass) / current_setting('block_size')::bigint"
                )),
                expiries: sql("SELECT id, expires_at FROM {table} \
                     WHERE ctid >= ('(' || ?::bigint || ',0)')::tid AND ctid < ('(' || ?::bigint || ',0)')::tid"),
            }),
            sweep: sql(&format!(
                "DELETE FROM {{table}} WHERE expires_at < ? AND id IN (?{})",
                ", ?".repeat(SWEEP_WIDTH - 1)
            )),
            probe: sql("SELECT id, revision, expires_at, data FROM {table} WHERE id = ''"),
            prepare: match dialect {
                // CREATE TABLE IF NOT EXISTS can still fail on the catalogue's own unique index
                // when several run it at once. Statements sent as one text are one transaction, so
                // the lock lasts until the table is there.
                Dialect::Postgres => {
                    format!("SELECT pg_advisory_xact_lock({LOCK}); {}", schema_sql(dialect, table))
                }
                Dialect::MySql | Dialect::Sqlite => schema_sql(dialect, table),
            },
            // The literals take the collation of the column above them.
            order: sql("SELECT id FROM (SELECT id FROM {table} WHERE 1 = 0 UNION ALL SELECT 'a1' UNION ALL \
                 SELECT 'a:' UNION ALL SELECT 'a' UNION ALL SELECT 'B') AS ids ORDER BY id"),
            keys: sql(match dialect {
                Dialect::MySql => {
                    "SELECT index_name FROM information_schema.statistics \
                     WHERE table_schema = DATABASE() AND table_name = '{name}' AND non_unique = 0 \
                     GROUP BY index_name \
                     HAVING count(*) = 1 AND max(column_name) = 'id' AND max(sub_part) IS NULL"
                }
                Dialect::Postgres | Dialect::Sqlite => {
                    "EXPLAIN INSERT INTO {table} (id, revision, expires_at, data) VALUES ('', 0, 0, '') \
                     ON CONFLICT (id) DO NOTHING"
                }
            }),
        }
    }

    fn map<S>(self, mut f: impl FnMut(String) -> S) -> Statements<S> {
        Statements {
            load: f(self.load),
            create: f(self.create),
            update: f(self.update),
            delete: f(self.delete),
            scan: f(self.scan),
            expiries: f(self.expiries),
            by_block: self
                .by_block
                .map(|it| ByBlock { count: f(it.count), expiries: f(it.expiries) }),
            sweep: f(self.sweep),
            probe: f(self.probe),
            prepare: f(self.prepare),
            order: f(self.order),
            keys: f(self.keys),
        }
    }
}

impl Dialect {
    /// An expression that is 1 on a server that takes no writes, and 0 on a primary.
    pub(crate) const fn read_only(self) -> &'static str {
        match self {
            // Always on while a standby recovers; `default_transaction_read_only` sets it, too.
            Self::Postgres => "(current_setting('transaction_read_only') = 'on')::int::bigint",
            // `super_read_only` sets `read_only`. As text the values are words on some servers,
            // numbers on others.
            Self::MySql => {
                "CAST(REPLACE(CONCAT(@@read_only, @@innodb_read_only), 'OFF', '0') <> '00' AS SIGNED)"
            }
            Self::Sqlite => "0",
        }
    }
}

/// The advisory lock under which the table is made: "mocha" and a number, so that nobody else's
/// lock is meant.
const LOCK: i64 = 0x6d6f_6368_6100_0001;

/// PostgreSQL numbers its parameters; the others take `?` as it is.
fn number(dialect: Dialect, template: &str) -> String {
    if dialect != Dialect::Postgres {
        return template.to_owned();
    }
    let mut out = String::with_capacity(template.len() + 16);
    for (parameter, part) in template.split('?').enumerate() {
        if parameter > 0 {
            out.push('$');
            out.push_str(&parameter.to_string());
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_quoted_in_the_dialects_way_and_parameters_numbered() {
        let table = Table::new("order").unwrap().in_schema("auth").unwrap();
        let postgres = Statements::render(Dialect::Postgres, &table);
        assert!(
            postgres.load.ends_with(r#"LEFT JOIN "auth"."order" ON id = $1"#),
            "{}",
            postgres.load
        );
        assert_eq!(
            postgres.update,
            r#"UPDATE "auth"."order" SET revision = $1, expires_at = $2, data = $3 WHERE id = $4 AND revision = $5"#
        );
        assert!(postgres.sweep.ends_with("$64, $65)"), "{}", postgres.sweep);
        let mysql = Statements::render(Dialect::MySql, &Table::new("order").unwrap());
        assert_eq!(mysql.delete, "DELETE FROM `order` WHERE id = ?");
        assert_eq!(mysql.sweep.matches('?').count(), 1 + SWEEP_WIDTH);
    }

    #[test]
    fn an_update_never_creates_and_a_create_never_overwrites() {
        for dialect in [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite] {
            let sql = Statements::render(dialect, &Table::default());
            assert!(sql.update.starts_with("UPDATE ") && sql.update.contains("AND revision = "));
            for upsert in ["DO UPDATE", "ON DUPLICATE", "REPLACE", "IGNORE"] {
                assert!(
                    !sql.create.contains(upsert) && !sql.update.contains(upsert),
                    "{dialect:?}"
                );
            }
        }
    }
}
