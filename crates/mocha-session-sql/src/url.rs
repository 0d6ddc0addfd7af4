//! From a URL to a store: the forms of the URLs, and the options of every engine.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "_sqlite")]
mod sqlite;

use mocha_session_core::backend::shared;
use mocha_session_core::{BoxFuture, Driver, Result, StoreUrl};

use crate::dialect::Table;
use crate::open::SqlOptions;
use crate::store::SqlStore;

/// Opens `postgresql://`, `mysql://` and `sqlite://`, and their other names, for the engines whose
/// cargo feature is on. [Forms and options](crate#urls).
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
    |url| open(url).map(shared),
)
.with_examination(|url| {
    let opening = open(url)?;
    Ok(Box::pin(async move { opening.await?.examine().await }))
});

/// Reads the URL, and returns the future that connects and looks for the table.
pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    // After a `+` SQLAlchemy's URLs name a Python driver, which has no meaning here.
    let scheme = url.scheme().split('+').next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "postgres")]
        "postgresql" | "postgres" => postgres::open(url),
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => mysql::open(url),
        #[cfg(feature = "_sqlite")]
        "sqlite" => sqlite::open(url),
        _ => Err(url.refuse("its scheme is not that of an SQL engine whose cargo feature is on")),
    }
}

/// Takes `prefix`, `table` and `create`, and the deadline.
fn take_options(url: &mut StoreUrl) -> Result<SqlOptions> {
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
fn take_max_connections(url: &mut StoreUrl, default: u16) -> Result<u16> {
    match url.take_parsed::<u16>("max_connections")? {
        Some(0) => Err(url.refuse_option("max_connections", "must be at least 1")),
        given => Ok(given.unwrap_or(default)),
    }
}
