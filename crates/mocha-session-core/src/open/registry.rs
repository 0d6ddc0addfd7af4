//! Drivers by URL scheme, in a registry that is a value and not a global.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::future::BoxFuture;
use crate::open::storage::Storage;
use crate::open::url::StoreUrl;
use crate::store::{Finding, SessionStore};

/// A store that is being opened. A [`Driver`] returns it for a valid URL.
pub type Opening = BoxFuture<'static, Result<Arc<dyn SessionStore>>>;

/// An examination of the engine that a URL names. See [`Driver::with_examination`].
pub type Examining = BoxFuture<'static, Result<Vec<Finding>>>;

/// Makes a store from a URL: the schemes of a backend, and a function that reads the URL.
///
/// The function takes every option that it knows from the URL, and refuses an invalid URL before
/// any I/O. The future that it returns connects. A scheme that ends in `+*` covers all schemes with
/// that prefix: `mysql+*` covers SQLAlchemy's `mysql+pymysql`.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::sync::Arc;
/// use mocha_session::{Driver, store::SessionStore};
///
/// # type MyStore = Arc<dyn SessionStore>;
/// # async fn connect(_: String, _: String) -> mocha_session::Result<MyStore> { unimplemented!() }
/// pub const DRIVER: Driver = Driver::new(&["mine"], |url| {
///     let prefix = url.take_key_space("session:")?.prefix().to_owned();
///     let host = url.single_host()?.authority(4000);
///     Ok(Box::pin(async move {
///         // The type is needed: inside the `Ok`, `Arc<MyStore>` is not coerced.
///         let store: Arc<dyn SessionStore> = Arc::new(connect(host, prefix).await?);
///         Ok(store)
///     }))
/// });
/// assert!(DRIVER.answers("mine") && !DRIVER.answers("yours"));
/// ```
#[derive(Clone, Copy)]
pub struct Driver {
    schemes: &'static [&'static str],
    prepare: fn(&mut StoreUrl) -> Result<Opening>,
    examine: Option<fn(&mut StoreUrl) -> Result<Examining>>,
}

impl Driver {
    /// Creates a driver for these schemes, in lower case.
    pub const fn new(
        schemes: &'static [&'static str],
        prepare: fn(&mut StoreUrl) -> Result<Opening>,
    ) -> Self {
        Self { schemes, prepare, examine: None }
    }

    /// Adds a function that connects and examines the engine, for [`Registry::examine`].
    ///
    /// It knows what is dangerous about its engine: eviction, persistence, replication, permissions,
    /// a missing rule, a full disk. It also says what follows from the
    /// [capabilities](Finding::of_capabilities). A setting that it may not ask for is a note.
    ///
    /// ```
    /// # use mocha_session_core as mocha_session;
    /// use mocha_session::store::Finding;
    /// use mocha_session::{Driver, Error, ErrorKind, Registry};
    ///
    /// const DRIVER: Driver = Driver::new(&["mine"], |_url| {
    ///     Ok(Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "not today")) }))
    /// })
    /// .with_examination(|_url| {
    ///     Ok(Box::pin(async { Ok(vec![Finding::danger("the disk is nearly full")]) }))
    /// });
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let found = Registry::new().register(DRIVER).examine("mine:").await?;
    /// assert_eq!(found[0].to_string(), "the disk is nearly full");
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub const fn with_examination(self, examine: fn(&mut StoreUrl) -> Result<Examining>) -> Self {
        Self { examine: Some(examine), ..self }
    }

    /// Returns the schemes that the driver handles.
    pub const fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    /// Returns whether the driver handles this scheme.
    pub fn answers(&self, scheme: &str) -> bool {
        self.schemes.iter().any(|own| matches(own, scheme))
    }
}

fn matches(pattern: &str, scheme: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => scheme.len() > start.len() && scheme.starts_with(start),
        None => pattern == scheme,
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Driver").field(&self.schemes).finish()
    }
}

/// The drivers of a program. It makes a [`Storage`] from a URL.
///
/// `Registry::builtin()` of the crate `mocha-session` has a driver for each enabled cargo feature.
/// [`register`](Self::register) adds a driver.
///
/// ```
/// # mod mocha_session { pub use mocha_session_core::{self as core, *}; }
/// use mocha_session::core::Registry;
///
/// let registry = Registry::new().with_absent("s3", "the cargo feature `s3`");
/// let error = registry.check("s3://bucket").unwrap_err();
/// assert!(error.to_string().contains("the cargo feature `s3`"));
/// assert!(registry.check("").is_ok()); // no URL: client-side sessions
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    drivers: Vec<Driver>,
    absent: Vec<(&'static str, &'static str)>,
}

impl Registry {
    /// Creates a registry without drivers, which only opens client-side sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a driver. If two drivers have the same scheme, the later one is used.
    #[must_use]
    pub fn register(mut self, driver: Driver) -> Self {
        self.drivers.push(driver);
        self
    }

    /// Sets what a scheme needs, for the error message if the scheme has no driver.
    #[must_use]
    pub fn with_absent(mut self, scheme: &'static str, needs: &'static str) -> Self {
        self.absent.push((scheme, needs));
        self
    }

    /// Returns the schemes that have a driver.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.drivers.iter().flat_map(|driver| driver.schemes().iter().copied())
    }

    /// Parses a URL and finds its driver, without connecting.
    ///
    /// # Errors
    /// `InvalidConfig` if the URL is invalid, for example because a scheme or an option is
    /// misspelt.
    pub fn check(&self, url: &str) -> Result<()> {
        if names_none(url) {
            return Ok(());
        }
        self.prepare(StoreUrl::parse(url)?).map(drop)
    }

    /// Opens the store that `url` names. An empty URL, or the text `None`, means client-side
    /// sessions.
    ///
    /// # Errors
    /// `InvalidConfig` if the URL is invalid. Otherwise the reason why the engine cannot be reached
    /// or prepared.
    pub async fn open(&self, url: &str) -> Result<Storage> {
        if names_none(url) {
            return Ok(Storage::client_side());
        }
        self.open_url(StoreUrl::parse(url)?).await
    }

    /// Opens the store that a parsed URL names, for example one
    /// [whose credentials rotate](StoreUrl::with_credentials).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_url(&self, url: StoreUrl) -> Result<Storage> {
        let (opening, url) = self.prepare(url)?;
        Ok(url.storage(opening.await?))
    }

    /// Connects to the engine that `url` names, and returns what is dangerous about it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn examine(&self, url: &str) -> Result<Vec<Finding>> {
        if !names_none(url) {
            let mut url = StoreUrl::parse(url)?;
            if let Some(examine) = self.driver(&url)?.examine {
                let examining = examine(&mut url)?;
                url.finish()?;
                return examining.await;
            }
        }
        Ok(Finding::of_capabilities(&self.open(url).await?.capabilities()))
    }

    fn driver(&self, url: &StoreUrl) -> Result<&Driver> {
        let found = self.drivers.iter().rev().find(|driver| driver.answers(url.scheme()));
        found.ok_or_else(|| self.unknown(url))
    }

    fn prepare(&self, mut url: StoreUrl) -> Result<(Opening, StoreUrl)> {
        let driver = self.driver(&url)?;
        let opening = (driver.prepare)(&mut url)?;
        url.finish()?;
        Ok((opening, url))
    }

    fn unknown(&self, url: &StoreUrl) -> Error {
        let scheme = url.scheme();
        if let Some((_, needs)) = self.absent.iter().find(|(known, _)| matches(known, scheme)) {
            return Error::invalid_config(format!(
                "session URLs of the scheme `{scheme}` need {needs}"
            ));
        }
        let mut there: Vec<_> = self.schemes().collect();
        there.sort_unstable();
        let there = if there.is_empty() {
            "none; enable a backend's cargo feature".to_owned()
        } else {
            there.join(", ")
        };
        Error::invalid_config(format!(
            "the session URL's scheme `{scheme}` is not known; the known schemes are: {there}"
        ))
    }
}

/// Returns whether the value of the environment variable means that there is no URL.
fn names_none(text: &str) -> bool {
    matches!(text.trim(), "" | "None")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::ErrorKind;

    const LOGIN: Driver = Driver::new(&["login"], |url| {
        let credentials = url.credentials();
        Ok(Box::pin(async move {
            let shown = format!("{:?} {:?}", credentials, credentials.ask().await?);
            let (one, two) = (credentials.ask().await?, credentials.ask().await?);
            let said = format!("{:?} {:?} {shown}", one.password(), two.password());
            Err(Error::new(ErrorKind::Denied, said))
        }))
    });

    #[tokio::test]
    async fn credentials_of_a_callback_stand_in_for_the_urls_and_are_asked_for_each_time() {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let url = StoreUrl::parse("login://user:fixed@h").unwrap();
        let registry = Registry::new().register(LOGIN);
        let fixed = registry.open_url(url.clone()).await.unwrap_err().to_string();
        assert_eq!(
            fixed,
            r#"Some("fixed") Some("fixed") CredentialSource(fixed) Credentials(***)"#
        );
        let url = url.with_credentials(move || {
            let time = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move { Ok(crate::open::Credentials::new("app", format!("token {time}"))) }
        });
        let rotating = registry.open_url(url).await.unwrap_err().to_string();
        assert_eq!(
            rotating,
            r#"Some("token 1") Some("token 2") CredentialSource(asked) Credentials(***)"#
        );
    }

    const NOTHING: Driver = Driver::new(&["nothing", "my+*"], |url| {
        url.take("prefix");
        Ok(Box::pin(async { Err(Error::new(ErrorKind::Unavailable, "nothing here")) }))
    });

    #[test]
    fn urls_are_checked_offline() {
        let registry =
            Registry::new().register(NOTHING).with_absent("s3", "the cargo feature `s3`");
        for good in ["nothing:", "my+sql://h", "nothing:?prefix=a&timeout=2s", "", " ", "None"] {
            assert!(registry.check(good).is_ok(), "{good}");
        }
        for (bad, word) in [
            ("nothing:?prefex=a", "`prefex`"),
            ("nothing:?timeout=soon", "`timeout`"),
            ("s3://b", "cargo feature `s3`"),
            ("nil:", "my+*, nothing"),
            ("my+:", "not known"),
        ] {
            let message = registry.check(bad).unwrap_err().to_string();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }
}
