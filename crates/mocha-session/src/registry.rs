//! Opens the storage of a URL, with the drivers of the enabled features.

use mocha_session_core as core;
use mocha_session_core::store::Finding;
use mocha_session_core::{Driver, Environment, Result, SessionManagerBuilder, Storage};

/// The drivers of the enabled cargo features.
const DRIVERS: &[Driver] = &[
    #[cfg(feature = "memory")]
    mocha_session_memory::DRIVER,
    #[cfg(feature = "redis")]
    mocha_session_redis::DRIVER,
    #[cfg(feature = "memcache")]
    mocha_session_memcache::DRIVER,
    #[cfg(feature = "s3")]
    mocha_session_s3::DRIVER,
    #[cfg(feature = "gcs")]
    mocha_session_gcs::DRIVER,
    #[cfg(any(
        feature = "postgres",
        feature = "mysql",
        feature = "sqlite",
        feature = "sqlite-unbundled"
    ))]
    mocha_session_sql::DRIVER,
];

/// The cargo feature that each scheme needs, for the error message if the feature is off.
const SCHEMES: &[(&[&str], &str)] = &[
    (&["memory"], "the cargo feature `memory`"),
    (
        &[
            "redis",
            "rediss",
            "valkey",
            "valkeys",
            "redis+*",
            "rediss+*",
            "valkey+*",
            "valkeys+*",
            "unix",
        ],
        "the cargo feature `redis`",
    ),
    (&["memcache", "memcached", "memcaches", "memcache+*"], "the cargo feature `memcache`"),
    (&["s3"], "the cargo feature `s3`"),
    (&["gs", "google_storage"], "the cargo feature `gcs`"),
    (&["postgres", "postgresql", "postgres+*", "postgresql+*"], "the cargo feature `postgres`"),
    (&["mysql", "mariadb", "mysql+*", "mariadb+*"], "the cargo feature `mysql`"),
    (&["sqlite", "sqlite+*"], "the cargo feature `sqlite` or `sqlite-unbundled`"),
];

/// Makes a [`Storage`] from a URL. It has a driver for each enabled engine, and for custom ones.
///
/// A registry is a value, not a global. Two registries share nothing.
///
/// ```
/// use mocha_session::{Driver, Error, ErrorKind, Registry};
///
/// const MINE: Driver = Driver::new(&["mine"], |_url| {
///     Ok(Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "not today")) }))
/// });
/// let registry = Registry::builtin().register(MINE);
/// assert!(registry.check("mine:").is_ok());
/// assert!(registry.check("mine:?colour=red").unwrap_err().to_string().contains("`colour`"));
/// ```
#[derive(Clone, Debug)]
pub struct Registry(core::Registry);

impl Registry {
    /// Creates a registry with a driver for every engine whose cargo feature is on.
    pub fn builtin() -> Self {
        let with_drivers = DRIVERS
            .iter()
            .fold(core::Registry::new(), |registry, driver| registry.register(*driver));
        let absent = SCHEMES
            .iter()
            .flat_map(|(schemes, needs)| schemes.iter().map(move |scheme| (*scheme, *needs)));
        Self(
            absent.fold(with_drivers, |registry, (scheme, needs)| {
                registry.with_absent(scheme, needs)
            }),
        )
    }

    /// Adds a driver. If two drivers have the same scheme, the later one is used.
    #[must_use]
    pub fn register(self, driver: Driver) -> Self {
        Self(self.0.register(driver))
    }

    /// Returns the schemes that have a driver.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.schemes()
    }

    /// Parses a URL and finds its driver, without connecting. A deployment can check its URL
    /// offline.
    ///
    /// # Errors
    /// `InvalidConfig`, which says what is wrong with the URL.
    pub fn check(&self, url: &str) -> Result<()> {
        self.0.check(url)
    }

    /// Opens the engine that `url` names, and creates the table or bucket that it needs. An empty
    /// URL or `None` means sessions in the client's cookie.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is wrong, or that needs a cargo feature that is off.
    /// Otherwise the reason why the engine cannot be reached or prepared.
    pub async fn open(&self, url: &str) -> Result<Storage> {
        self.0.open(url).await
    }

    /// Connects to the engine that `url` names, and returns what is dangerous about it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn examine(&self, url: &str) -> Result<Vec<Finding>> {
        self.0.examine(url).await
    }

    /// Opens the engine that `SESSION_URL` names. `SESSION_SECRET` contains the secrets, separated
    /// by commas. Without `SESSION_URL`, the sessions are stored in the client's cookie.
    ///
    /// # Errors
    /// As [`open`](Self::open). `InvalidConfig` for a weak secret, a variable that is not UTF-8, or
    /// an unknown variable that begins with `SESSION_`.
    pub async fn open_from_env(&self) -> Result<Storage> {
        Environment::of_process()?.open(&self.0).await
    }

    /// Creates a builder with the settings of the process's environment, on the engine that it
    /// names.
    ///
    /// # Errors
    /// As [`builder`](Self::builder) and [`Environment::of_process`].
    pub async fn builder_from_env(&self) -> Result<SessionManagerBuilder> {
        self.builder(&Environment::of_process()?).await
    }

    /// Creates a builder with these settings, on the engine that they name.
    ///
    /// # Errors
    /// As [`open`](Self::open). `InvalidConfig`, which names the variable, if a value cannot be
    /// read.
    pub async fn builder(&self, settings: &Environment) -> Result<SessionManagerBuilder> {
        settings.builder(&self.0).await
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::builtin()
    }
}

/// Opens the engine that `url` names, with the drivers of the enabled cargo features.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let storage = mocha_session::open("memory:").await?;
/// let manager = mocha_session::SessionManager::new(storage)?;
/// # Ok::<(), mocha_session::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// As [`Registry::open`].
pub async fn open(url: &str) -> Result<Storage> {
    Registry::builtin().open(url).await
}

/// Opens the engine that `url` names, with the drivers of this registry.
///
/// # Errors
/// As [`Registry::open`].
pub async fn open_with(registry: &Registry, url: &str) -> Result<Storage> {
    registry.open(url).await
}

/// Opens the engine that `SESSION_URL` names, with the secrets in `SESSION_SECRET`. Use it in an
/// application that makes all other settings in its code. [`builder_from_env`] reads the other
/// variables too.
///
/// # Errors
/// As [`Registry::open_from_env`].
pub async fn open_from_env() -> Result<Storage> {
    Registry::builtin().open_from_env().await
}

/// Creates a builder with the settings of the environment: `SESSION_URL`, `SESSION_SECRET`,
/// `SESSION_IDLE_TIMEOUT` and so on. [`Environment::table`] lists them all. A setting that the code
/// makes on the builder overrides the environment.
///
/// ```no_run
/// # async fn manager() -> mocha_session::Result<mocha_session::SessionManager> {
/// let manager = mocha_session::builder_from_env().await?.build()?;
/// # Ok(manager) }
/// ```
///
/// # Errors
/// As [`Registry::builder_from_env`].
pub async fn builder_from_env() -> Result<SessionManagerBuilder> {
    Registry::builtin().builder_from_env().await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Every scheme of a driver is listed with its feature, and every listed scheme has a driver.
    #[test]
    fn drivers_and_schemes_agree() {
        let registry = Registry::builtin();
        let mut promised: Vec<_> =
            SCHEMES.iter().flat_map(|(schemes, _)| schemes.iter().copied()).collect();
        for scheme in registry.schemes() {
            let known = promised.iter().any(|known| {
                *known == scheme
                    || known.strip_suffix('*').is_some_and(|start| scheme.starts_with(start))
            });
            assert!(known, "{scheme} is not in SCHEMES");
        }
        if cfg!(all(
            feature = "memory",
            feature = "redis",
            feature = "memcache",
            feature = "s3",
            feature = "gcs",
            feature = "postgres",
            feature = "mysql",
            feature = "sqlite"
        )) {
            promised.retain(|scheme| {
                let scheme = scheme.trim_end_matches('*');
                !registry.schemes().any(|own| own.starts_with(scheme))
            });
            assert!(promised.is_empty(), "promised, and no driver answers: {promised:?}");
        }
    }

    #[test]
    fn a_scheme_whose_feature_is_off_says_so() {
        for (url, feature) in
            [("s3://bucket", "s3"), ("redis://h", "redis"), ("mysql+pymysql://h/db", "mysql")]
        {
            if let Err(error) = Registry::builtin().check(url) {
                assert!(
                    error.to_string().contains(&format!("the cargo feature `{feature}`")),
                    "{error}"
                );
            }
        }
        let message = Registry::builtin().check("mongodb://h").unwrap_err().to_string();
        assert!(message.contains("not known"), "{message}");
    }

    #[tokio::test]
    async fn no_url_means_the_clients_cookie() {
        for url in ["", "None", " "] {
            assert!(!open(url).await.unwrap().capabilities().compare_and_set());
        }
    }
}
