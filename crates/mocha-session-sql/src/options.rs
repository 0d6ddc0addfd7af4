//! The options that all three URLs have in common.

use mocha_session_core::{Result, StoreUrl};

use crate::dialect::Table;
use crate::store::SqlOptions;

/// Takes `prefix`, `table` and `create`.
pub(crate) fn take_options(url: &mut StoreUrl) -> Result<SqlOptions> {
    let space = url.take_key_space("")?;
    let table = match url.take("table") {
        Some(name) => Table::new(&name)?,
        None => Table::default(),
    };
    let create = url.take_bool("create")?.unwrap_or(true);
    Ok(SqlOptions::new().with_key_space(space).with_table(table).with_create(create))
}

/// Takes `max_connections`.
pub(crate) fn take_max_connections(url: &mut StoreUrl, default: u16) -> Result<u16> {
    match url.take_parsed::<u16>("max_connections")? {
        Some(0) => Err(url.refuse_option("max_connections", "must be at least 1")),
        given => Ok(given.unwrap_or(default)),
    }
}
