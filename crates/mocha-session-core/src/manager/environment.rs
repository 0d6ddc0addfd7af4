//! A manager's settings from environment variables, and the table of them for the documentation.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::{SessionManager, SessionManagerBuilder};
use crate::crypto::Secrets;
use crate::error::{Error, Result};
use crate::http::{CookiePolicy, SameSite};
use crate::ledger::owners::WhenFull;
use crate::open::settings;
use crate::open::{Registry, Storage};

/// What all our variables begin with.
const PREFIX: &str = "SESSION_";

/// Variables of other programs that begin like ours: the X11 session manager's.
const FOREIGN: [&str; 1] = ["SESSION_MANAGER"];

/// One variable.
struct Setting {
    name: &'static str,
    takes: &'static str,
    default: &'static str,
    means: &'static str,
    apply: Apply,
}

/// What a variable sets.
enum Apply {
    /// Where the sessions are: read before there is a builder.
    Storage,
    /// The cookie's name, which is chosen with the other attributes.
    CookieName,
    Cookie(fn(CookiePolicy, &Value<'_>) -> Result<CookiePolicy>),
    Builder(fn(SessionManagerBuilder, &Value<'_>) -> Result<SessionManagerBuilder>),
}

use Apply::{Builder, Cookie};

/// The variables, in the order of the documentation.
const SETTINGS: [Setting; 19] = [
    Setting {
        name: "SESSION_URL",
        takes: "a URL",
        default: "none: the client's cookie",
        means: "the engine that keeps the sessions",
        apply: Apply::Storage,
    },
    Setting {
        name: "SESSION_SECRET",
        takes: "secrets, separated by commas",
        default: "none",
        means: "signs ids and encrypts client-side sessions: the first is used, all are accepted",
        apply: Apply::Storage,
    },
    Setting {
        name: "SESSION_IDLE_TIMEOUT",
        takes: "a duration",
        default: "`14d`",
        means: "how long a session lives without being used",
        apply: Builder(|builder, value| Ok(builder.idle_timeout(value.duration()?))),
    },
    Setting {
        name: "SESSION_ABSOLUTE_TIMEOUT",
        takes: "a duration",
        default: "none; `30d` for client-side sessions",
        means: "how long a session lives however much it is used",
        apply: Builder(|builder, value| Ok(builder.absolute_timeout(value.duration()?))),
    },
    Setting {
        name: "SESSION_REFRESH_INTERVAL",
        takes: "a duration",
        default: "a tenth of the idle timeout",
        means: "the smallest extension of the idle deadline that is worth a write",
        apply: Builder(|builder, value| Ok(builder.refresh_interval(value.duration()?))),
    },
    Setting {
        name: "SESSION_REMEMBER_AT_MOST",
        takes: "a duration",
        default: "`365d`",
        means: "the longest lifetime that `remember_for` may give",
        apply: Builder(|builder, value| Ok(builder.remember_at_most(value.duration()?))),
    },
    Setting {
        name: "SESSION_STORE_TIMEOUT",
        takes: "a duration",
        default: "the URL's `timeout`, or `5s`",
        means: "the deadline of every call of the store",
        apply: Builder(|builder, value| Ok(builder.store_timeout(value.duration()?))),
    },
    Setting {
        name: "SESSION_MAX_RECORD_BYTES",
        takes: "a number",
        default: "`1048576`",
        means: "the largest record, where the engine does not set a smaller one",
        apply: Builder(|builder, value| Ok(builder.max_record_bytes(value.number()?))),
    },
    Setting {
        name: "SESSION_MAX_PER_OWNER",
        takes: "a number",
        default: "`100`",
        means: "how many sessions a user may have",
        apply: Builder(|builder, value| Ok(builder.owners_most(value.number()?))),
    },
    Setting {
        name: "SESSION_WHEN_FULL",
        takes: "`revoke-oldest` or `refuse-login`",
        default: "`revoke-oldest`",
        means: "what a login does whose user has that many sessions",
        apply: Builder(|builder, value| Ok(builder.when_full(value.when_full()?))),
    },
    Setting {
        name: "SESSION_ACCEPT_UNSIGNED",
        takes: "a switch",
        default: "`false`",
        means: "takes ids without a signature, for the time after a secret was introduced",
        apply: Builder(|builder, value| Ok(builder.accept_unsigned(value.switch()?))),
    },
    Setting {
        name: "SESSION_SCOPE",
        takes: "a name",
        default: "the cookie's name",
        means: "keeps the sessions apart from others in the same store",
        apply: Builder(|builder, value| Ok(builder.scope(value.text))),
    },
    Setting {
        name: "SESSION_COOKIE_NAME",
        takes: "a name",
        default: "`__Host-session`; with a domain or path `__Secure-session`; not secure `session`",
        means: "the cookie's name",
        apply: Apply::CookieName,
    },
    Setting {
        name: "SESSION_COOKIE_DOMAIN",
        takes: "a host name",
        default: "none: this host alone",
        means: "shares the cookie with the subdomains of this domain",
        apply: Cookie(|cookie, value| Ok(cookie.domain(value.text))),
    },
    Setting {
        name: "SESSION_COOKIE_PATH",
        takes: "a path",
        default: "`/`",
        means: "limits the cookie to paths below this one",
        apply: Cookie(|cookie, value| Ok(cookie.path(value.text))),
    },
    Setting {
        name: "SESSION_COOKIE_SAMESITE",
        takes: "`Strict`, `Lax` or `None`",
        default: "`Lax`",
        means: "whether requests that other sites cause carry the cookie",
        apply: Cookie(|cookie, value| Ok(cookie.same_site(value.same_site()?))),
    },
    Setting {
        name: "SESSION_COOKIE_SECURE",
        takes: "a switch",
        default: "`true`",
        means: "whether browsers send the cookie over TLS alone",
        apply: Cookie(|cookie, value| Ok(cookie.secure(value.switch()?))),
    },
    Setting {
        name: "SESSION_COOKIE_PARTITIONED",
        takes: "a switch",
        default: "`false`",
        means: "keeps one cookie per embedding site",
        apply: Cookie(|cookie, value| Ok(cookie.partitioned(value.switch()?))),
    },
    Setting {
        name: "SESSION_COOKIE_PERSISTENT",
        takes: "a switch",
        default: "`true`",
        means: "whether the cookie outlives the browser, where a session does not say otherwise",
        apply: Cookie(|cookie, value| Ok(cookie.persistent(value.switch()?))),
    },
];

/// The value of a variable. No error shows it: it may be a secret in the wrong place.
struct Value<'e> {
    name: &'static str,
    text: &'e str,
}

impl Value<'_> {
    fn duration(&self) -> Result<Duration> {
        settings::duration(self.text)
            .ok_or_else(|| self.refuse("a duration above zero, like 30m, 12h or 14d"))
    }

    fn switch(&self) -> Result<bool> {
        settings::switch(self.text).ok_or_else(|| self.refuse("true or false"))
    }

    fn number(&self) -> Result<usize> {
        self.text.parse().map_err(|_| self.refuse("a number without a unit"))
    }

    fn same_site(&self) -> Result<SameSite> {
        match &*self.text.to_ascii_lowercase() {
            "strict" => Ok(SameSite::Strict),
            "lax" => Ok(SameSite::Lax),
            "none" => Ok(SameSite::None),
            _ => Err(self.refuse("Strict, Lax or None")),
        }
    }

    fn when_full(&self) -> Result<WhenFull> {
        match &*self.text.to_ascii_lowercase() {
            "revoke-oldest" => Ok(WhenFull::RevokeOldest),
            "refuse-login" => Ok(WhenFull::RefuseLogin),
            _ => Err(self.refuse("revoke-oldest or refuse-login")),
        }
    }

    fn refuse(&self, must_be: &str) -> Error {
        Error::invalid_config(format!("the environment variable `{}` must be {must_be}", self.name))
    }
}

/// The settings that environment variables give: those that begin with `SESSION_`.
///
/// ```
/// # use mocha_session_core::{Environment, Registry};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let environment = Environment::of([
///     ("SESSION_SECRET", "a secret of more than 32 bytes: kdU2hs8dm2M"),
///     ("SESSION_ABSOLUTE_TIMEOUT", "12h"),
///     ("SESSION_COOKIE_SAMESITE", "Strict"),
///     ("PATH", "/usr/bin"),
/// ])?;
/// let manager = environment.builder(&Registry::new()).await?.build()?;
/// assert_eq!(manager.absolute_timeout().map(|timeout| timeout.as_secs()), Some(12 * 3600));
///
/// let typo = Environment::of([("SESSION_ABSOLUT_TIMEOUT", "12h")]).unwrap_err();
/// assert!(typo.to_string().contains("`SESSION_ABSOLUTE_TIMEOUT`"));
/// # Ok::<(), mocha_session_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    /// Without those that are empty: an empty variable is as one that is not set.
    variables: Vec<(&'static str, String)>,
}

impl Environment {
    /// The variables of this process.
    ///
    /// # Errors
    /// As [`of`](Self::of); `InvalidConfig` for a variable of ours that is not UTF-8.
    pub fn of_process() -> Result<Self> {
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some(match value.into_string() {
                Ok(value) => Ok((name, value)),
                Err(_) => Err(Error::invalid_config(format!(
                    "the environment variable `{name}` is not UTF-8"
                ))),
            })
        });
        Self::of(ours.collect::<Result<Vec<_>>>()?)
    }

    /// These variables: for tests, and for settings that come from elsewhere. Those that do not
    /// begin with `SESSION_` are left alone.
    ///
    /// # Errors
    /// `InvalidConfig` for a name that begins with `SESSION_` and is not known, with the nearest
    /// that is.
    pub fn of<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut ours = Vec::new();
        for (name, value) in variables {
            let name = name.as_ref();
            if !name.starts_with(PREFIX) || FOREIGN.contains(&name) {
                continue;
            }
            let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
                return Err(unknown(name));
            };
            let value: String = value.into();
            if !value.trim().is_empty() {
                ours.push((setting.name, value));
            }
        }
        Ok(Self { variables: ours })
    }

    /// Opens the engine that `SESSION_URL` names; `SESSION_SECRET` holds the secrets. Without a URL
    /// the sessions are in the client's cookie.
    ///
    /// # Errors
    /// As [`Registry::open`]; `InvalidConfig` for a weak secret.
    pub async fn open(&self, registry: &Registry) -> Result<Storage> {
        let storage = registry.open(self.get("SESSION_URL").unwrap_or_default()).await?;
        Ok(match self.get("SESSION_SECRET") {
            Some(secrets) => storage.with_secrets(Secrets::parse(secrets)?),
            None => storage,
        })
    }

    /// Opens the engine, and begins a manager with all settings. What the code sets on the builder
    /// comes after them, so it wins: a cookie or transport as a whole.
    ///
    /// # Errors
    /// As [`open`](Self::open); `InvalidConfig` naming a variable whose value cannot be read.
    pub async fn builder(&self, registry: &Registry) -> Result<SessionManagerBuilder> {
        // Before anything connects, so that a misspelt value is found offline.
        let cookie = self.cookie()?;
        drop(self.rules(SessionManager::builder(Storage::client_side()))?);
        let mut builder = self.rules(SessionManager::builder(self.open(registry).await?))?;
        if let Some(cookie) = cookie {
            builder = builder.cookie(cookie);
        }
        Ok(builder)
    }

    fn rules(&self, mut builder: SessionManagerBuilder) -> Result<SessionManagerBuilder> {
        for (setting, value) in self.set() {
            if let Builder(apply) = setting.apply {
                builder = apply(builder, &value)?;
            }
        }
        Ok(builder)
    }

    /// `None` where no variable is about the cookie. A name that is not given is one that browsers
    /// take with the other attributes.
    fn cookie(&self) -> Result<Option<CookiePolicy>> {
        let mut policy = match self.get("SESSION_COOKIE_NAME") {
            Some(name) => CookiePolicy::named(name),
            None if self.get("SESSION_COOKIE_SECURE").and_then(settings::switch) == Some(false) => {
                CookiePolicy::for_plain_http()
            }
            None if self.get("SESSION_COOKIE_DOMAIN").is_some()
                || self.get("SESSION_COOKIE_PATH").is_some_and(|path| path != "/") =>
            {
                CookiePolicy::named("__Secure-session")
            }
            None => CookiePolicy::new(),
        };
        let mut any = self.get("SESSION_COOKIE_NAME").is_some();
        for (setting, value) in self.set() {
            if let Cookie(apply) = setting.apply {
                (policy, any) = (apply(policy, &value)?, true);
            }
        }
        Ok(any.then_some(policy))
    }

    /// What is set, in the order of the table.
    fn set(&self) -> impl Iterator<Item = (&'static Setting, Value<'_>)> {
        SETTINGS.iter().filter_map(|setting| {
            let text = self.get(setting.name)?;
            Some((setting, Value { name: setting.name, text }))
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.trim())
    }

    /// All variables as a table in Markdown.
    pub fn table() -> String {
        let mut table = String::from("| variable | takes | default | sets |\n|---|---|---|---|\n");
        for Setting { name, takes, default, means, .. } in &SETTINGS {
            // Writing into a String cannot fail.
            let _ = writeln!(table, "| `{name}` | {takes} | {default} | {means} |");
        }
        table
    }
}

/// Shows which variables are set, and no value.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.iter().map(|(name, _)| name)).finish()
    }
}

impl SessionManagerBuilder {
    /// A builder with the settings of this process's environment: its variables that begin with
    /// `SESSION_`. The registry has the drivers for `SESSION_URL`.
    ///
    /// What the code sets on the builder wins over the environment.
    ///
    /// # Errors
    /// As [`Environment::of_process`] and [`Environment::builder`].
    pub async fn from_env(registry: &Registry) -> Result<Self> {
        Environment::of_process()?.builder(registry).await
    }
}

fn unknown(name: &str) -> Error {
    let nearest = SETTINGS.iter().min_by_key(|setting| distance(name, setting.name));
    let nearest = nearest.map_or("", |setting| setting.name);
    let shown: String = name.chars().filter(char::is_ascii_graphic).take(60).collect();
    Error::invalid_config(format!(
        "the environment variable `{shown}` is not known; the nearest is `{nearest}`. Variables that \
         begin with {PREFIX} are this library's: rename one that is another program's"
    ))
}

/// How many letters must be added, left out or changed to make one word of the other.
fn distance(one: &str, two: &str) -> usize {
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, left) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (to, right) in two.bytes().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[to + 1];
            row[to + 1] = changed.min(diagonal + 1).min(row[to] + 1);
        }
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_of_two_words_counts_letters() {
        for (one, two, letters) in
            [("", "", 0), ("abc", "", 3), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(one, two), letters, "{one} {two}");
        }
    }
}
