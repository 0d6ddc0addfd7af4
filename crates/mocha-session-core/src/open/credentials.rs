//! User names and passwords: fixed, or requested before each new connection.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::future::BoxFuture;

/// A user name and a password for an engine. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    username: Option<Box<str>>,
    password: Option<Box<str>>,
}

impl Credentials {
    /// Creates credentials from a user name and a password.
    pub fn new(username: impl Into<Box<str>>, password: impl Into<Box<str>>) -> Self {
        Self { username: Some(username.into()), password: Some(password.into()) }
    }

    pub(crate) fn from_parts(username: Option<&str>, password: Option<&str>) -> Self {
        Self { username: username.map(Into::into), password: password.map(Into::into) }
    }

    /// Returns the user name.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Returns the password. Keep it out of logs and errors.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// The source of the credentials for new connections: the URL, or a callback.
///
/// A driver gets it from [`StoreUrl::credentials`](crate::StoreUrl::credentials) and calls
/// [`ask`](Self::ask) before each new connection, so that it never connects with an outdated
/// password.
#[derive(Clone)]
pub struct CredentialSource(Source);

#[derive(Clone)]
enum Source {
    Fixed(Credentials),
    Asked(Arc<dyn Fn() -> BoxFuture<'static, Result<Credentials>> + Send + Sync>),
}

impl CredentialSource {
    /// Creates a source that always returns the same credentials.
    pub fn fixed(credentials: Credentials) -> Self {
        Self(Source::Fixed(credentials))
    }

    /// Creates a source that calls `ask` before each new connection. `ask` should return within the
    /// store's deadline.
    pub fn asking<F, A>(ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self(Source::Asked(Arc::new(move || Box::pin(ask()))))
    }

    /// Returns the credentials for a connection that is about to be opened.
    ///
    /// # Errors
    /// The error of the callback. A store returns it unchanged, because nothing was sent.
    pub async fn ask(&self) -> Result<Credentials> {
        match &self.0 {
            Source::Fixed(credentials) => Ok(credentials.clone()),
            Source::Asked(ask) => ask().await,
        }
    }
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Fixed(_) => "CredentialSource(fixed)",
            Source::Asked(_) => "CredentialSource(asked)",
        })
    }
}
