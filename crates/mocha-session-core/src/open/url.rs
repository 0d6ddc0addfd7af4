//! Parses `SESSION_URL`, including several hosts and underscores in the scheme, which the crate
//! `url` does not support.

mod parts;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use self::parts::Host;
use self::parts::{decode, parse_credentials, parse_host, parse_options};
use super::settings;
use crate::error::{Error, Result};
use crate::open::{CredentialSource, Credentials, NearPolicy, Storage};
use crate::store::{KeySpace, SessionStore};

/// The default deadline of a store call.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// A parsed store URL: `scheme://username:password@host:port,host:port/path?option=value`.
///
/// Credentials and path are percent-decoded. A driver [takes](Self::take) options by name, and
/// [`finish`](Self::finish) refuses those that it did not take, so that a misspelt option is an
/// error. Neither `Display` nor `Debug` shows the password or the value of an option.
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use mocha_session::StoreUrl;
///
/// let mut url = StoreUrl::parse("redis://app:p%2Fss@db.example:6380/2?prefix=shop:").unwrap();
/// assert_eq!(url.scheme(), "redis");
/// assert_eq!((url.username(), url.password()), (Some("app"), Some("p/ss")));
/// assert_eq!(url.hosts()[0].authority(6379), "db.example:6380");
/// assert_eq!(url.path(), "/2");
/// assert_eq!(url.take("prefix").as_deref(), Some("shop:"));
/// assert!(url.finish().is_ok());
/// assert_eq!(url.to_string(), "redis://app:***@db.example:6380/2");
/// ```
#[derive(Clone)]
pub struct StoreUrl {
    scheme: String,
    username: Option<String>,
    password: Option<String>,
    hosts: Vec<Host>,
    path: String,
    options: Vec<(String, String)>,
    known: Vec<&'static str>,
    timeout: Option<Duration>,
    near: Option<Duration>,
    credentials: Option<CredentialSource>,
}

impl StoreUrl {
    /// Parses a URL. The driver validates the scheme, path and options.
    ///
    /// # Errors
    /// `InvalidConfig` if the URL has no scheme, a raw `/`, `+` or `@` in the credentials
    /// (percent-encode it), an invalid host or port, an option given twice, or a `timeout` that is
    /// not a duration above zero. The message never repeats the URL.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(invalid(
                "it has no scheme; for example redis://127.0.0.1:6379/0 or sqlite:///sessions.db",
            ));
        };
        let scheme = scheme.to_ascii_lowercase();
        let scheme_char = |c: u8| c.is_ascii_alphanumeric() || b"+-._".contains(&c);
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.bytes().all(scheme_char)
        {
            return Err(invalid(
                "the text before the first ':' is not a scheme like redis or postgresql",
            ));
        }
        if rest.contains('#') {
            return Err(invalid(
                "it contains a raw '#'; write %23 for a '#' in a password or a name",
            ));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash)),
            None => ("", rest),
        };
        if path.contains('@') && !authority.is_empty() {
            if authority.contains('@') {
                return Err(invalid(
                    "its path contains an '@', so the password seems not to be percent-encoded; \
                     write %40 for '@' and %2F for '/' in the password and in the path",
                ));
            }
            return Err(raw_character('/'));
        }
        if query.contains('@')
            && !authority.contains('@')
            && authority.contains(':')
            && !path.contains('/')
        {
            return Err(raw_character('?'));
        }
        let (username, password, host_list) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => {
                let (username, password) = parse_credentials(credentials)?;
                (username, password, hosts)
            }
            None => (None, None, authority),
        };
        let hosts = match host_list {
            "" => Vec::new(),
            list => list.split(',').map(parse_host).collect::<Result<_>>()?,
        };
        let path = decode(path, "path")?;
        let mut url = Self {
            scheme,
            username,
            password,
            hosts,
            path,
            options: parse_options(query)?,
            known: Vec::new(),
            timeout: None,
            near: None,
            credentials: None,
        };
        url.timeout = url.take_duration("timeout")?;
        url.near = url.take_duration("near")?;
        Ok(url)
    }

    /// Returns the deadline of a store call: the URL's `timeout`, or five seconds.
    ///
    /// The URL parser reads this option, because it means the same for every engine. The core
    /// enforces it: a store reports it with
    /// [`Capabilities::with_deadline`](crate::store::Capabilities::with_deadline). A driver derives
    /// its connect, busy, wait and response timeouts from it
    /// ([`Timeouts`](crate::backend::Timeouts)), so that each of them ends before the call does and
    /// its error states the actual cause.
    pub fn deadline(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_DEADLINE)
    }

    /// Returns the storage of an opened store, with the URL's `timeout` and `near`.
    pub(super) fn storage(&self, store: Arc<dyn SessionStore>) -> Storage {
        let mut storage = Storage::from_arc(store);
        storage.timeout = self.timeout.or(storage.timeout);
        storage.near = self.near.map(NearPolicy::within);
        storage
    }

    /// Returns the scheme in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the decoded user name.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Returns the decoded password. Keep it out of logs and errors.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Calls `ask` for the credentials of each new connection, instead of using those of the URL.
    ///
    /// Use it for passwords that rotate. Open the URL with
    /// [`Registry::open_url`](crate::Registry::open_url).
    ///
    /// ```
    /// # use mocha_session_core as mocha_session;
    /// use mocha_session::{StoreUrl, backend::Credentials};
    ///
    /// let url = StoreUrl::parse("postgresql://db.example/shop?sslmode=verify-full")?
    ///     .with_credentials(|| async { Ok(Credentials::new("app", "a short-lived token")) });
    /// # Ok::<(), mocha_session::Error>(())
    /// ```
    #[must_use]
    pub fn with_credentials<F, A>(mut self, ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials>> + Send + 'static,
    {
        self.credentials = Some(CredentialSource::asking(ask));
        self
    }

    /// Returns the source of the credentials for new connections: the callback of
    /// [`with_credentials`](Self::with_credentials), or the URL itself.
    pub fn credentials(&self) -> CredentialSource {
        self.credentials.clone().unwrap_or_else(|| {
            CredentialSource::fixed(Credentials::from_parts(self.username(), self.password()))
        })
    }

    /// Returns the hosts, in the order of the URL. A URL such as `memory:`, or an `s3://` URL with
    /// only a path, has none.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the only host.
    ///
    /// # Errors
    /// `InvalidConfig` if the URL has no host or more than one.
    pub fn single_host(&self) -> Result<&Host> {
        match self.hosts.as_slice() {
            [host] => Ok(host),
            [] => Err(self.refuse("it names no host; write one")),
            _ => Err(self.refuse("it names several hosts; write exactly one host")),
        }
    }

    /// Returns the decoded path with its leading slash, or an empty string if the URL has no path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the first segment of the path and the rest: for example a bucket, and a prefix
    /// within it.
    pub fn split_path(&self) -> (&str, &str) {
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        path.split_once('/').unwrap_or((path, ""))
    }

    /// Takes the value of an option, so that [`finish`](Self::finish) does not refuse it.
    pub fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.options.iter().position(|(known, _)| known == name)?;
        Some(self.options.swap_remove(at).1)
    }

    /// Takes an option and parses its value.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option, if its value cannot be parsed.
    pub fn take_parsed<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>> {
        match self.take(name) {
            None => Ok(None),
            Some(text) => {
                match text.parse() {
                    Ok(value) => Ok(Some(value)),
                    Err(_) => Err(self
                        .refuse_option(name, "cannot be read; write a plain value without a unit")),
                }
            }
        }
    }

    /// Takes an option that is `true` or `false` (also `1`, `0`, `yes`, `no`, `on`, `off`).
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option, for any other value.
    pub fn take_bool(&mut self, name: &'static str) -> Result<Option<bool>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match settings::switch(&text) {
            Some(yes) => Ok(Some(yes)),
            None => Err(self.refuse_option(name, "must be true or false")),
        }
    }

    /// Takes an option that is a duration: `500ms`, `5s`, `2m`, `1h` or `14d`. A number without a
    /// unit is in seconds.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the option, if it is not a duration above zero.
    pub fn take_duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match settings::duration(&text) {
            Some(duration) => Ok(Some(duration)),
            None => {
                Err(self
                    .refuse_option(name, "must be a duration above zero, like 500ms, 5s, 2m or 1h"))
            }
        }
    }

    /// Takes the option `prefix`, or uses `default`, and returns it as a [`KeySpace`].
    ///
    /// # Errors
    /// `InvalidConfig` as for [`KeySpace::new`].
    pub fn take_key_space(&mut self, default: &str) -> Result<KeySpace> {
        let prefix = self.take("prefix");
        KeySpace::new(prefix.as_deref().unwrap_or(default))
    }

    /// Refuses options that the driver did not take.
    ///
    /// # Errors
    /// `InvalidConfig`, naming the first of them and the known options.
    pub fn finish(&self) -> Result<()> {
        match self.options.first() {
            None => Ok(()),
            Some((name, _)) => {
                let mut known = self.known.clone();
                known.sort_unstable();
                known.dedup();
                let name: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
                Err(self.refuse(&format!(
                    "the option `{name}` is not known; the known options are: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// Creates an `InvalidConfig` error about this URL, for drivers. `why` must not contain a
    /// secret.
    pub fn refuse(&self, why: &str) -> Error {
        Error::invalid_config(format!("the session URL ({}://…): {why}", self.scheme))
    }

    /// Creates an `InvalidConfig` error about an option, for drivers. `why` must not contain the
    /// option's value.
    pub fn refuse_option(&self, name: &str, why: &str) -> Error {
        self.refuse(&format!("the option `{name}` {why}"))
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slashes = if self.hosts.is_empty() && self.username.is_none() && self.path.is_empty() {
            ""
        } else {
            "//"
        };
        write!(f, "{}:{slashes}", self.scheme)?;
        if self.username.is_some() || self.password.is_some() {
            f.write_str(self.username.as_deref().unwrap_or_default())?;
            f.write_str(if self.password.is_some() { ":***@" } else { "@" })?;
        }
        for (at, host) in self.hosts.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            match host.port {
                Some(port) => f.write_str(&host.authority(port))?,
                None if host.name.contains(':') => write!(f, "[{}]", host.name)?,
                None => f.write_str(&host.name)?,
            }
        }
        f.write_str(&self.path)?;
        for (at, (name, _)) in self.options.iter().enumerate() {
            write!(f, "{}{name}=…", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

pub(super) fn invalid(why: &str) -> Error {
    Error::invalid_config(format!("the session URL cannot be read: {why}"))
}

fn raw_character(raw: char) -> Error {
    let code = u32::from(raw);
    invalid(&format!(
        "a user name or password contains a raw '{raw}'; percent-encode it: %{code:02X}"
    ))
}

#[cfg(test)]
mod tests;
