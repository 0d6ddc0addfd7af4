//! `SESSION_URL`, parsed: what the `url` package cannot read (several hosts, an underscore in the
//! scheme), options that are handed out by name, and nothing secret shown.
// tidy: long because every form of URL that users write stands as a test beside the parser

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::settings;
use crate::error::{Error, Result};
use crate::open::{CredentialSource, Credentials};
use crate::store::KeySpace;

/// The time that one store call may take where nothing else is configured.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

/// A host of a [`StoreUrl`], and its port if one was written.
///
/// ```
/// use mocha_session_core::StoreUrl;
/// let url = StoreUrl::parse("redis://[::1]:6380").unwrap();
/// assert_eq!((url.hosts()[0].name(), url.hosts()[0].port()), ("::1", Some(6380)));
/// assert_eq!(url.hosts()[0].authority(6379), "[::1]:6380");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// The name or address; an IPv6 address without its brackets.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if one was written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `name:port`, with this port where none was written and brackets where they are needed.
    pub fn authority(&self, default_port: u16) -> String {
        let port = self.port.unwrap_or(default_port);
        if self.name.contains(':') {
            format!("[{}]:{port}", self.name)
        } else {
            format!("{}:{port}", self.name)
        }
    }
}

/// A parsed store URL: `scheme://username:password@host:port,host:port/path?option=value`.
///
/// Credentials and path are percent-decoded. Options are [taken](Self::take) by name; whatever
/// nobody took is refused by [`finish`](Self::finish), so that a misspelt option is an error and
/// not a surprise. Neither `Display` nor `Debug` shows the password or an option's value.
///
/// ```
/// use mocha_session_core::StoreUrl;
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
    credentials: Option<CredentialSource>,
}

impl StoreUrl {
    /// Parses a URL. Which schemes, paths and options mean something is the driver's business.
    ///
    /// # Errors
    /// `InvalidConfig`, saying what is wrong and never repeating the URL: no scheme, a raw `/`, `+`
    /// or `@` in the credentials (percent-encode it), a bad host or port, an option given twice, a
    /// `timeout` that is no duration above zero.
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
                "what stands before the first ':' is not a scheme like redis or postgresql",
            ));
        }
        if rest.contains('#') {
            return Err(invalid(
                "it has a raw '#'; write %23 where one belongs to a password or a name",
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
                    "an '@' follows its path, so the password seems not to be percent-encoded: write %40 \
                     for '@' and %2F for '/', in the password and in the path",
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
            credentials: None,
        };
        url.timeout = url.take_duration("timeout")?;
        Ok(url)
    }

    /// The time that one call of the store may take: the URL's `timeout`, five seconds where it has
    /// none.
    ///
    /// The option is read with the URL, because it means the same to every engine. The core
    /// enforces it: a store hands it on as
    /// [`Capabilities::with_deadline`](crate::store::Capabilities::with_deadline). A driver derives
    /// its connect, busy, wait and response timeouts from it
    /// ([`Timeouts`](crate::store::Timeouts)), so that each of them ends before the call does and
    /// its error says what really happened.
    pub fn deadline(&self) -> Duration {
        self.timeout.unwrap_or(DEFAULT_DEADLINE)
    }

    /// The `timeout` that the URL names.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user name, decoded.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password, decoded. Keep it out of logs and errors.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Asks `ask` for the credentials of each new connection, in place of those that the URL names:
    /// for passwords that rotate. Open it with [`Registry::open_url`](crate::Registry::open_url).
    ///
    /// ```
    /// use mocha_session_core::{StoreUrl, backend::Credentials};
    ///
    /// let url = StoreUrl::parse("postgresql://db.example/shop?sslmode=verify-full")?
    ///     .with_credentials(|| async { Ok(Credentials::new("app", "the token of this hour")) });
    /// # Ok::<(), mocha_session_core::Error>(())
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

    /// Where a driver gets the credentials for each new connection: the callback of
    /// [`with_credentials`](Self::with_credentials), or the URL itself.
    pub fn credentials(&self) -> CredentialSource {
        self.credentials.clone().unwrap_or_else(|| {
            CredentialSource::fixed(Credentials::from_parts(self.username(), self.password()))
        })
    }

    /// The hosts, in the order written; none for `memory:` or `s3://` forms that have only a path.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The single host.
    ///
    /// # Errors
    /// `InvalidConfig` when there is none or more than one.
    pub fn single_host(&self) -> Result<&Host> {
        match self.hosts.as_slice() {
            [host] => Ok(host),
            [] => Err(self.refuse("it names no host")),
            _ => Err(self.refuse("it takes exactly one host")),
        }
    }

    /// The path, decoded, with its leading slash; empty when there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The first segment of the path, and what follows it: a bucket and a prefix in it, for
    /// example.
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

    /// Takes an option that can be parsed from text.
    ///
    /// # Errors
    /// `InvalidConfig` naming the option when its value cannot be parsed.
    pub fn take_parsed<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>> {
        match self.take(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self
                    .refuse_option(name, "cannot be read; a plain value without unit is expected")),
            },
        }
    }

    /// Takes an option that is `true` or `false` (also `1`, `0`, `yes`, `no`, `on`, `off`).
    ///
    /// # Errors
    /// `InvalidConfig` naming the option when it is anything else.
    pub fn take_bool(&mut self, name: &'static str) -> Result<Option<bool>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match settings::switch(&text) {
            Some(yes) => Ok(Some(yes)),
            None => Err(self.refuse_option(name, "must be true or false")),
        }
    }

    /// Takes an option that is a duration: `500ms`, `5s`, `2m`, `1h`, `14d`; a bare number counts
    /// seconds.
    ///
    /// # Errors
    /// `InvalidConfig` naming the option when it is not a duration, or is zero.
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

    /// Takes the common option `prefix` as a [`KeySpace`], or uses this default.
    ///
    /// # Errors
    /// `InvalidConfig` when the prefix holds a character that some engine would read as more than a
    /// name.
    pub fn take_key_space(&mut self, default: &str) -> Result<KeySpace> {
        let prefix = self.take("prefix");
        KeySpace::new(prefix.as_deref().unwrap_or(default))
    }

    /// Refuses options that nobody took, by name.
    ///
    /// # Errors
    /// `InvalidConfig` naming the first of them and the options that exist.
    pub fn finish(&self) -> Result<()> {
        match self.options.first() {
            None => Ok(()),
            Some((name, _)) => {
                let mut known = self.known.clone();
                known.sort_unstable();
                known.dedup();
                let name: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
                Err(self.refuse(&format!(
                    "the option `{name}` is not known; there are: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// An `InvalidConfig` error about this URL: for drivers. `why` must hold nothing secret.
    pub fn refuse(&self, why: &str) -> Error {
        Error::invalid_config(format!("the session URL ({}://…): {why}", self.scheme))
    }

    /// An `InvalidConfig` error about one of its options: for drivers. Say `why`, not the value.
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

fn invalid(why: &str) -> Error {
    Error::invalid_config(format!("the session URL cannot be read: {why}"))
}

fn raw_character(raw: char) -> Error {
    let code = u32::from(raw);
    invalid(&format!("a user name or password holds a raw '{raw}'; percent-encode it: %{code:02X}"))
}

fn decode(text: &str, what: &str) -> Result<String> {
    let broken = text.match_indices('%').any(|(at, _)| {
        !text.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
    });
    if broken {
        return Err(invalid(&format!(
            "its {what} holds a '%' without two hexadecimal digits; a raw '%' is written %25"
        )));
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.contains(|c: char| c.is_control()) => Ok(text.into_owned()),
        Ok(_) => Err(invalid(&format!("its {what} holds a control character"))),
        Err(_) => Err(invalid(&format!("its {what} is not UTF-8 once percent-decoded"))),
    }
}

fn parse_credentials(text: &str) -> Result<(Option<String>, Option<String>)> {
    // A '+' means itself here and a space elsewhere; a secret with one is refused rather than read
    // in one of two ways.
    if let Some(raw) = text.chars().find(|c| matches!(c, '+' | '@')) {
        return Err(raw_character(raw));
    }
    let (username, password) =
        text.split_once(':').map_or((text, None), |(name, word)| (name, Some(word)));
    let username = if username.is_empty() { None } else { Some(decode(username, "user name")?) };
    Ok((username, password.map(|word| decode(word, "password")).transpose()?))
}

fn parse_host(text: &str) -> Result<Host> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => match rest.strip_prefix(':') {
            _ if rest.is_empty() => (format!("[{address}]"), None),
            Some(port) => (format!("[{address}]"), Some(port)),
            None => return Err(invalid("something other than a port follows an IPv6 address")),
        },
        None => match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(invalid(
                    "a host has several colons; write an IPv6 address in brackets, like [::1]:6379",
                ));
            }
            Some((name, port)) => (name.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|c| c.is_ascii_digit()) => Some(number),
            _ => return Err(invalid("a port is not a number from 1 to 65535")),
        },
    };
    let name = match url::Host::parse(&name) {
        // Percent-decoded by now: a host with a comma would be two to whoever joins them.
        Ok(url::Host::Domain(name)) if name.bytes().all(in_host_name) => name,
        Ok(url::Host::Ipv4(address)) => address.to_string(),
        Ok(url::Host::Ipv6(address)) => address.to_string(),
        Ok(url::Host::Domain(_)) | Err(_) => {
            return Err(invalid("a host name is empty or holds a character that no host name has"));
        }
    };
    Ok(Host { name, port })
}

fn in_host_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn parse_options(query: &str) -> Result<Vec<(String, String)>> {
    let mut options: Vec<(String, String)> = Vec::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if options.iter().any(|(known, _)| *known == name) {
            return Err(invalid("an option is given twice"));
        }
        options.push((name.into_owned(), value.into_owned()));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> StoreUrl {
        StoreUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_form_of_the_table_is_read() {
        for (text, scheme, hosts, path) in [
            ("memory:", "memory", "", ""),
            ("memory://", "memory", "", ""),
            ("redis://username:password@host:6379/0", "redis", "host:6379", "/0"),
            ("rediss://host", "rediss", "host:1", ""),
            ("redis+cluster://a:7000,b:7001", "redis+cluster", "a:7000 b:7001", ""),
            ("redis+sentinel://a:26379,b/mymaster", "redis+sentinel", "a:26379 b:1", "/mymaster"),
            ("redis+unix:///run/redis.sock", "redis+unix", "", "/run/redis.sock"),
            ("memcache://host:11211", "memcache", "host:11211", ""),
            (
                "s3://username:password@s3.aws.amazon.com/bucket",
                "s3",
                "s3.aws.amazon.com:1",
                "/bucket",
            ),
            (
                "google_storage://username:password@cloud.google.com/bucket",
                "google_storage",
                "cloud.google.com:1",
                "/bucket",
            ),
            ("postgresql://username:password@host:3306/db", "postgresql", "host:3306", "/db"),
            ("mysql+pysql://username:password@host:3306/db", "mysql+pysql", "host:3306", "/db"),
            ("sqlite://", "sqlite", "", ""),
            ("sqlite:///relative.db", "sqlite", "", "/relative.db"),
            ("sqlite:////absolute.db", "sqlite", "", "//absolute.db"),
            ("MEMORY:", "memory", "", ""),
            ("redis://my_redis:6379", "redis", "my_redis:6379", ""),
        ] {
            let url = parse(text);
            assert_eq!(url.scheme(), scheme, "{text}");
            assert_eq!(
                url.hosts().iter().map(|h| h.authority(1)).collect::<Vec<_>>().join(" "),
                hosts,
                "{text}"
            );
            assert_eq!(url.path(), path, "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let url = parse("s3://AK%2FIA:a%2Fb%2Bc%40%25@h/b");
        assert_eq!((url.username(), url.password()), (Some("AK/IA"), Some("a/b+c@%")));
        let url = parse("redis://:only@h");
        assert_eq!((url.username(), url.password()), (None, Some("only")));
        let url = parse("redis://name@h");
        assert_eq!((url.username(), url.password()), (Some("name"), None));
        assert_eq!(parse("redis://u:a:b@h").password(), Some("a:b"));
    }

    #[test]
    fn a_raw_character_in_a_secret_is_named_and_nothing_is_repeated() {
        for (text, code) in [
            ("s3://KEY:hunter2/x@s3.aws.amazon.com/bucket", "%2F"),
            ("s3://KEY:hunter2+x@s3.aws.amazon.com/bucket", "%2B"),
            ("redis://u:hunter2@x@host", "%40"),
            ("redis://u:hunter2?x@host", "%3F"),
            ("redis://u:hunter2#x@host", "%23"),
            ("redis://u:hunter2%zz@host", "%25"),
            ("redis://u:hunter2@ss/word@host:6379/0", "%40"),
            ("redis://u:hunter2@ss/word@host:6379/0", "seems not to be percent-encoded"),
        ] {
            let message = StoreUrl::parse(text).unwrap_err().to_string();
            assert!(message.contains(code), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn an_at_sign_in_a_path_without_a_host_belongs_to_the_path() {
        assert_eq!(parse("sqlite:////srv/me@host/app.db").path(), "//srv/me@host/app.db");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "redis",
            "://x",
            "1redis://x",
            "re dis://x",
            "redis://a:0",
            "redis://a:99999",
            "redis://a:+1",
            "redis://::1",
            "redis://[::1",
            "redis://[::1]x",
            "redis://a b",
            "redis://a,,b",
            "redis://a%2cb",
            "redis://a%2Bb=c",
            "redis://h/%ff",
            "redis://h/%0a",
            "redis://h?a=1&a=2",
        ] {
            let error = StoreUrl::parse(text).expect_err(text);
            assert!(error.is_invalid_config(), "{text}");
        }
    }

    #[test]
    fn options_nobody_took_are_refused_by_name() {
        let mut url = parse("redis://h?prefix=a:&timout=5s");
        url.take_key_space("").unwrap();
        let message = url.finish().unwrap_err().to_string();
        assert!(message.contains("`timout`") && message.contains("prefix, timeout"), "{message}");
    }

    #[test]
    fn the_deadline_is_read_with_the_url_whatever_the_engine() {
        let url = parse("x://h?timeout=700ms");
        assert_eq!(
            (url.deadline(), url.timeout()),
            (Duration::from_millis(700), Some(url.deadline()))
        );
        assert!(url.finish().is_ok(), "nobody need take it");
        assert_eq!((parse("x://h").deadline(), parse("x://h").timeout()), (DEFAULT_DEADLINE, None));
        for bad in ["x://h?timeout=0", "x://h?timeout=soon", "x://h?timeout="] {
            let message = StoreUrl::parse(bad).unwrap_err().to_string();
            assert!(message.contains("`timeout`"), "{bad}: {message}");
        }
    }

    #[test]
    fn durations_and_switches() {
        let mut url = parse("x:?a=500ms&b=5&c=2m&d=0&e=fast&f=yes&g=maybe&h=4294967295h");
        assert_eq!(url.take_duration("a").unwrap(), Some(Duration::from_millis(500)));
        assert_eq!(url.take_duration("b").unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(url.take_duration("c").unwrap(), Some(Duration::from_secs(120)));
        assert!(url.take_duration("d").is_err());
        assert!(url.take_duration("e").is_err());
        assert_eq!(url.take_bool("f").unwrap(), Some(true));
        assert!(url.take_bool("g").is_err());
        assert!(url.take_duration("h").is_ok());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let url = parse("redis://app:hunter2@[::1]:1,b/2?credentials=hunter2");
        for shown in [url.to_string(), format!("{url:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("redis://app:***@[::1]:1,b/2?credentials=…"), "{shown}");
        }
    }
}
