//! From a URL to a store: the driver, and the options that several engines have in common.

#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) mod server;

use std::sync::Arc;

use mocha_session_core::store::SessionStore;
use mocha_session_core::{BoxFuture, Driver, Result, StoreUrl};

use crate::dialect::Table;
use crate::open::SqlOptions;
use crate::store::SqlStore;

/// Opens `postgresql://`, `mysql://` and `sqlite://` URLs, of the engines whose cargo feature is
/// on.
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_sql::DRIVER);
/// # #[cfg(feature = "postgres")]
/// assert!(registry.check("postgresql://username:password@host:3306/db").is_ok());
/// # #[cfg(feature = "mysql")]
/// assert!(registry.check("mysql+pysql://username:password@host:3306/db").is_ok());
/// # #[cfg(feature = "_sqlite")]
/// assert!(registry.check("sqlite://").is_ok());
/// ```
pub const DRIVER: Driver = Driver::new(
    &[
        #[cfg(feature = "postgres")]
        "postgresql",
        #[cfg(feature = "postgres")]
        "postgres",
        #[cfg(feature = "postgres")]
        "postgresql+*",
        #[cfg(feature = "postgres")]
        "postgres+*",
        #[cfg(feature = "mysql")]
        "mysql",
        #[cfg(feature = "mysql")]
        "mariadb",
        #[cfg(feature = "mysql")]
        "mysql+*",
        #[cfg(feature = "mysql")]
        "mariadb+*",
        #[cfg(feature = "_sqlite")]
        "sqlite",
        #[cfg(feature = "_sqlite")]
        "sqlite+*",
    ],
    |url| {
        let opening = SqlStore::from_url(url)?;
        Ok(Box::pin(async move { Ok(Arc::new(opening.await?) as Arc<dyn SessionStore>) }))
    },
);

pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    // What follows a `+` is SQLAlchemy's name of a Python driver, and says nothing here.
    let scheme = url.scheme().split('+').next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "postgres")]
        "postgresql" | "postgres" => crate::postgres::from_url(url),
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => crate::mysql::from_url(url),
        #[cfg(feature = "_sqlite")]
        "sqlite" => crate::sqlite::from_url(url),
        _ => Err(url.refuse("this is not the URL of an SQL engine whose cargo feature is on")),
    }
}

/// Takes `prefix`, `table` and `create`, and the deadline.
pub(crate) fn take_options(url: &mut StoreUrl) -> Result<SqlOptions> {
    let space = url.take_key_space("")?;
    let table = match url.take("table") {
        Some(name) => Table::new(&name)?,
        None => Table::default(),
    };
    let create = url.take_bool("create")?.unwrap_or(true);
    let options = SqlOptions::new().with_key_space(space).with_table(table).with_create(create);
    Ok(options.with_deadline(url.deadline()))
}

/// Takes `max_connections`.
pub(crate) fn take_max_connections(url: &mut StoreUrl, default: u16) -> Result<u16> {
    match url.take_parsed::<u16>("max_connections")? {
        Some(0) => Err(url.refuse_option("max_connections", "must be at least 1")),
        given => Ok(given.unwrap_or(default)),
    }
}
