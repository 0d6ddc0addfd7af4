//! The statements of a store, rendered once for a dialect and a table.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::{Dialect, Table, schema_sql};

/// The number of ids that one statement of a sweep removes. It is small, so that locks are held
/// only briefly.
pub(crate) const SWEEP_WIDTH: usize = 64;

/// The statements for one table. Each line says `[parameters] → columns`.
#[derive(Clone, Debug)]
pub(crate) struct Statements<S> {
    /// `[id] → whether the server refuses writes, revision, data`: always one row, because "no
    /// session" counts only from a primary
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
    /// `[now, SWEEP_WIDTH ids]`; it checks the expiry again, so that refreshed sessions stay
    pub sweep: S,
    /// `[] → no row`; fails if the table or a column is missing
    pub probe: S,
    /// creates the table; run as plain text
    pub prepare: S,
    /// `[] → ids` in the order of the column: `B`, `a`, `a1`, `a:` where it compares byte by byte
    pub order: S,
    /// `[] → some row` if a unique key prevents two rows with one id; otherwise no row, or an error
    pub keys: S,
}

/// The statements of a sweep in physical order, which reads each page of the table once, in
/// sequence.
#[derive(Clone, Debug)]
pub(crate) struct ByBlock<S> {
    /// `[] → how many blocks the table has`
    pub count: S,
    /// `[block, end block] → id, expires_at`
    pub expiries: S,
}

impl Statements<SqlStr> {
    /// Renders the statements. They are safe, because only a checked table name is inserted.
    pub(crate) fn new(dialect: Dialect, table: &Table) -> Self {
        Statements::render(dialect, table).map(|text| AssertSqlSafe(text).into_sql_str())
    }
}

impl Statements<String> {
    fn render(dialect: Dialect, table: &Table) -> Self {
        let quoted = table.quoted(dialect);
        // `?` is a parameter. No condition puts `id` into a function, so all use the primary key.
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
                // MySQL's INSERT IGNORE would turn other errors into warnings, so there the
                // violation is an error that the store reads.
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
                // CREATE TABLE IF NOT EXISTS can fail on the catalogue's unique index when several
                // processes run it at once. Statements of one text are one transaction, so the
                // lock lasts until the table exists.
                Dialect::Postgres => {
                    format!("SELECT pg_advisory_xact_lock({LOCK}); {}", schema_sql(dialect, table))
                }
                Dialect::MySql | Dialect::Sqlite => schema_sql(dialect, table),
            },
            // The literals get the collation of the column above them.
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
    /// An expression that is 1 on a server that refuses writes, and 0 on a primary.
    pub(crate) const fn read_only(self) -> &'static str {
        match self {
            // On while a standby recovers; `default_transaction_read_only` sets it, too.
            Self::Postgres => "(current_setting('transaction_read_only') = 'on')::int::bigint",
            // `super_read_only` sets `read_only`. As text the values are words on some servers and
            // numbers on others.
            Self::MySql => {
                "CAST(REPLACE(CONCAT(@@read_only, @@innodb_read_only), 'OFF', '0') <> '00' AS SIGNED)"
            }
            Self::Sqlite => "0",
        }
    }
}

/// The advisory lock for creating the table: "mocha" and a number, so that it is not another
/// application's.
const LOCK: i64 = 0x6d6f_6368_6100_0001;

/// Numbers the parameters for PostgreSQL; the other dialects use `?`.
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
