//! `schema`: prints the statement for a database administrator.

use mocha_session::{Registry, StoreUrl};

use crate::args::Store;
use crate::output::{Failure, Report};

pub(crate) fn run(store: &Store) -> Result<Report, Failure> {
    Registry::builtin().check(&store.url)?;
    let mut url = StoreUrl::parse(&store.url)?;
    match statement(&mut url)? {
        Some(sql) => Ok(Report::text(sql.into_bytes())),
        None => Err(Failure::config(format!(
            "stores of the scheme `{}` have no table; they need nothing to be created",
            url.scheme()
        ))),
    }
}

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
fn statement(url: &mut StoreUrl) -> Result<Option<String>, Failure> {
    use mocha_session_sql::{Dialect, Table, schema_sql};

    let dialect = match url.scheme().split('+').next().unwrap_or_default() {
        "postgres" | "postgresql" => Dialect::Postgres,
        "mysql" | "mariadb" => Dialect::MySql,
        "sqlite" => Dialect::Sqlite,
        _ => return Ok(None),
    };
    let mut table = match url.take("table") {
        Some(name) => Table::new(&name)?,
        None => Table::default(),
    };
    if let Some(schema) = url.take("schema") {
        table = table.in_schema(&schema)?;
    }
    Ok(Some(schema_sql(dialect, &table)))
}

#[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
fn statement(_url: &mut StoreUrl) -> Result<Option<String>, Failure> {
    Ok(None)
}
