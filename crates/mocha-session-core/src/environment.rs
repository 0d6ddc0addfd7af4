//! A manager's settings from environment variables, and their table for the documentation.

mod variables;

use std::fmt::{self, Write as _};

use self::variables::Apply::{Builder, Cookie};
use self::variables::{SETTINGS, Setting, Value};
use crate::crypto::Secrets;
use crate::error::{Error, Result};
use crate::http::CookiePolicy;
use crate::manager::{SessionManager, SessionManagerBuilder};
use crate::open::settings;
use crate::open::{Registry, Storage};

/// The prefix of all variables of this library.
const PREFIX: &str = "SESSION_";

/// Variables of other programs with the same prefix: `SESSION_MANAGER` belongs to the X11 session
/// manager.
const FOREIGN: [&str; 1] = ["SESSION_MANAGER"];

/// The settings in environment variables whose names begin with `SESSION_`.
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
    /// Empty variables are left out, because an empty variable counts as not set.
    variables: Vec<(&'static str, String)>,
}

impl Environment {
    /// Reads the variables of this process.
    ///
    /// # Errors
    /// As [`of`](Self::of). `InvalidConfig` if a variable of this library is not UTF-8.
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

    /// Reads these variables, for tests and for settings from another source. Ignores names that do
    /// not begin with `SESSION_`.
    ///
    /// # Errors
    /// `InvalidConfig` if a name begins with `SESSION_` and is unknown. The message suggests the
    /// nearest known name.
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

    /// Opens the engine that `SESSION_URL` names, with the secrets in `SESSION_SECRET`. Without a
    /// URL, the sessions are stored in the client's cookie.
    ///
    /// # Errors
    /// As [`Registry::open`]. `InvalidConfig` if a secret is weak.
    pub async fn open(&self, registry: &Registry) -> Result<Storage> {
        let storage = registry.open(self.get("SESSION_URL").unwrap_or_default()).await?;
        Ok(match self.get("SESSION_SECRET") {
            Some(secrets) => storage.with_secrets(Secrets::parse(secrets)?),
            None => storage,
        })
    }

    /// Opens the engine, and creates a builder with all settings. A setting that the code makes on
    /// the builder overrides the environment: a cookie or a transport is replaced as a whole.
    ///
    /// # Errors
    /// As [`open`](Self::open). `InvalidConfig`, which names the variable, if a value cannot be
    /// read.
    pub async fn builder(&self, registry: &Registry) -> Result<SessionManagerBuilder> {
        // Read before the engine connects, so that a misspelt value is found without a network.
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

    /// Returns `None` if no variable is about the cookie. If no variable sets the name, the default
    /// name depends on the other attributes, so that browsers accept the cookie.
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

    /// Returns the settings that are set, in the order of the table.
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

    /// Returns all variables as a table in Markdown.
    pub fn table() -> String {
        let mut table = String::from("| variable | takes | default | sets |\n|---|---|---|---|\n");
        for Setting { name, takes, default, means, .. } in &SETTINGS {
            // Writing into a String cannot fail.
            let _ = writeln!(table, "| `{name}` | {takes} | {default} | {means} |");
        }
        table
    }
}

/// Shows the names of the variables that are set, but not their values.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.iter().map(|(name, _)| name)).finish()
    }
}

impl SessionManagerBuilder {
    /// Creates a builder with the settings in this process's environment variables that begin with
    /// `SESSION_`. The registry contains the drivers for `SESSION_URL`.
    ///
    /// A setting that the code makes on the builder overrides the environment.
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

/// Returns the edit distance: the number of letters to add, remove or replace to make one word into
/// the other.
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
