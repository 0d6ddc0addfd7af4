//! User names and passwords, fixed or asked for at each dial.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::future::BoxFuture;

/// A user name and a password, as an engine takes them. `Debug` shows neither.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    username: Option<Box<str>>,
    password: Option<Box<str>>,
}

impl Credentials {
    /// A user name and a password.
    pub fn new(username: impl Into<Box<str>>, password: impl Into<Box<str>>) -> Self {
        Self { username: Some(username.into()), password: Some(password.into()) }
    }

    pub(crate) fn from_parts(username: Option<&str>, password: Option<&str>) -> Self {
        Self { username: username.map(Into::into), password: password.map(Into::into) }
    }

    /// The user name.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password. Keep it out of logs and errors.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// Where the credentials of a new connection come from: fixed by the URL, or asked for each time.
///
/// A driver takes it from [`StoreUrl::credentials`](crate::StoreUrl::credentials) and asks it at
/// each dial, so that a password that rotates is never older than the connection it opens.
#[derive(Clone)]
pub struct CredentialSource(Source);

#[derive(Clone)]
enum Source {
    Fixed(Credentials),
    Asked(Arc<dyn Fn() -> BoxFuture<'static, Result<Credentials>> + Send + Sync>),
}

impl CredentialSource {
    /// The same credentials each time.
    pub fn fixed(credentials: Credentials) -> Self {
        Self(Source::Fixed(credentials))
    }

    /// Calls `ask` before each dial. It should return within the store's deadline.
    pub fn asking<F, A>(ask: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials>> + Send + 'static,
    {
        Self(Source::Asked(Arc::new(move || Box::pin(ask()))))
    }

    /// The credentials for a connection that is about to be opened.
    ///
    /// # Errors
    /// That of the callback. A store passes it on: nothing was sent.
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
