//! The driver: which of the engines a URL means.

use std::sync::Arc;

use mocha_session_core::store::SessionStore;
use mocha_session_core::{BoxFuture, Driver, Result, StoreUrl};

use crate::store::SqlStore;

/// Opens `postgresql://`, `mysql://` and `sqlite://` URLs, of the engines whose cargo feature is on.
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_sql::DRIVER);
/// # #[cfg(feature = "postgres")]
/// assert!(registry.check("postgresql://username:password@host:3306/db").is_ok());
/// # #[cfg(feature = "mysql")]
/// assert!(registry.check("mysql+pysql://username:password@host:3306/db").is_ok());
/// # #[cfg(feature = "sqlite")]
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
        #[cfg(feature = "sqlite")]
        "sqlite",
        #[cfg(feature = "sqlite")]
        "sqlite+*",
    ],
    |url| {
        let opening = from_url(url)?;
        Ok(Box::pin(async move { Ok(Arc::new(opening.await?) as Arc<dyn SessionStore>) }))
    },
);

fn from_url(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<SqlStore>>> {
    // What follows a `+` is SQLAlchemy's name of a Python driver, and says nothing here.
    let scheme = url.scheme().split('+').next().unwrap_or_default();
    match scheme {
        #[cfg(feature = "postgres")]
        "postgresql" | "postgres" => crate::postgres::from_url(url),
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => crate::mysql::from_url(url),
        #[cfg(feature = "sqlite")]
        "sqlite" => crate::sqlite::from_url(url),
        _ => Err(url.refuse("this is not the URL of an SQL engine whose cargo feature is on")),
    }
}
