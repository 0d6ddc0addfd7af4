//! Atomic read-modify-write of a value, which is repeated if another request wrote first.

use std::convert::Infallible;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SessionData;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::key::{self, KeyFor};
use crate::session::change::{Change, Updater};
use crate::values::wire::Text;
use crate::values::{self, Encoded};

impl SessionData {
    /// Changes a value atomically: `f` receives the current value and returns the new one. Returns
    /// the new value.
    ///
    /// If other requests change the session at the same time, `f` runs again on the other value. It
    /// must have no side effects. The returned value is provisional until the commit. An unchanged
    /// value is not written.
    ///
    /// ```
    /// # let session = mocha_session_core::Session::in_memory()?;
    /// assert_eq!(session.update("count", |count: Option<u32>| count.unwrap_or(0) + 1)?, 1);
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn update<T, F>(&self, key: impl KeyFor<T>, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let change = move |value| {
            let after = f(value);
            Ok(Ok::<_, Infallible>((Some(values::encode(&after)?), after)))
        };
        let Ok(value) = self.apply(key::text(&key)?, change)?;
        Ok(value)
    }

    /// Changes a value atomically, as [`update`](Self::update) does, but `f` may also remove the
    /// value or fail.
    ///
    /// `f` returns the new value, `Ok(None)` to remove the value, or an error. An error changes
    /// nothing, and is returned. `E` is the application's own error, or [`Error`].
    ///
    /// If another request changes the value first, `f` runs again at the commit. If `f` then
    /// returns an error, the commit fails with [`Conflict`](crate::ErrorKind::Conflict) and writes
    /// nothing.
    ///
    /// ```
    /// # use mocha_session_core as mocha_session;
    /// use mocha_session::Error;
    ///
    /// #[derive(Debug)]
    /// enum Shop { SoldOut, Session(Error) }
    ///
    /// impl From<Error> for Shop {
    ///     fn from(error: Error) -> Self {
    ///         Self::Session(error)
    ///     }
    /// }
    ///
    /// # let session = mocha_session_core::Session::in_memory()?;
    /// session.insert("vouchers", 1)?;
    /// let spend = |left: Option<u32>| match left {
    ///     None => Err(Shop::SoldOut),
    ///     Some(1) => Ok(None), // the last one: the value is removed
    ///     Some(left) => Ok(Some(left - 1)),
    /// };
    /// assert!(matches!(session.try_update("vouchers", spend), Ok(None)));
    /// assert!(matches!(session.try_update("vouchers", spend), Err(Shop::SoldOut)));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of `f`. Otherwise as [`get`](Self::get) and [`insert`](Self::insert).
    pub fn try_update<T, E, F>(&self, key: impl KeyFor<T>, f: F) -> Result<Option<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        F: Fn(Option<T>) -> Result<Option<T>, E> + Send + Sync + 'static,
    {
        let change = move |value| {
            let after = match f(value) {
                Ok(after) => after,
                Err(refusal) => return Ok(Err(refusal)),
            };
            Ok(Ok((after.as_ref().map(values::encode).transpose()?, after)))
        };
        self.apply(key::text(&key)?, change)?
    }

    /// Changes an existing value in place, atomically, as [`update`](Self::update) does. Returns
    /// whether there was a value.
    ///
    /// An unchanged value is not written.
    ///
    /// ```
    /// # let session = mocha_session_core::Session::in_memory()?;
    /// session.insert("cart", vec!["tea"])?;
    /// assert!(session.modify("cart", |cart: &mut Vec<String>| cart.push("milk".into()))?);
    /// # Ok::<(), mocha_session_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn modify<T, F>(&self, key: impl KeyFor<T>, f: F) -> Result<bool>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(&mut T) + Send + Sync + 'static,
    {
        let change = move |value: Option<T>| {
            let Some(mut value) = value else { return Ok(Ok::<_, Infallible>((None, false))) };
            f(&mut value);
            Ok(Ok((Some(values::encode(&value)?), true)))
        };
        let Ok(there) = self.apply(key::text(&key)?, change)?;
        Ok(there)
    }

    /// Returns the value. If there is none, sets it to the result of `f`.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn get_or_insert_with<T: Serialize + DeserializeOwned>(
        &self,
        key: impl KeyFor<T>,
        f: impl FnOnce() -> T,
    ) -> Result<T> {
        let name = key::text(&key)?;
        if let Some(value) = self.view().values.get(name.as_str()) {
            return values::decode(name.as_str(), value);
        }
        let made = values::encode(&f())?;
        let mut state = self.inner().state();
        state.change(Change::Init(name.clone(), made))?;
        // A clone of this session may have set the value while `f` ran. That value is kept.
        let view = Arc::clone(&state.view);
        drop(state);
        values::decode(name.as_str(), view.values.get(name.as_str()).unwrap_or_default())
    }

    /// Applies and logs an update. `change` runs without the lock, because it may use the session,
    /// and runs again if the value changed at the same time.
    ///
    /// `change` receives the current value. It returns the encoded new value (`None` removes it)
    /// and the result for the caller, or a refusal. A refusal logs nothing; at the commit it is a
    /// conflict.
    fn apply<T: Serialize + DeserializeOwned, A, E>(
        &self,
        name: Text,
        change: impl Fn(Option<T>) -> Result<Changed<A, E>> + Send + Sync + 'static,
    ) -> Result<Result<A, E>> {
        let of = name.clone();
        let compute = move |stored: Option<&[u8]>| -> Result<Changed<A, E>> {
            let before: Option<T> =
                stored.map(|stored| values::decode(of.as_str(), stored)).transpose()?;
            let reordered = before
                .as_ref()
                .zip(stored)
                .and_then(|(before, stored)| values::encode_unless(before, stored).ok().flatten());
            let changed = change(before)?;
            Ok(changed.map(|(after, told)| {
                let same = reordered.is_some() && after == reordered;
                (if same { stored.map(Encoded::from) } else { after }, told)
            }))
        };
        loop {
            let before = self.view();
            let before = before.values.get(name.as_str());
            let (after, told) = match compute(before)? {
                Ok(computed) => computed,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let mut state = self.inner().state();
            if state.view.values.get(name.as_str()) == before {
                let of = name.clone();
                let updater: Updater = Arc::new(move |value| match compute(value)? {
                    Ok((after, _)) => Ok(after),
                    Err(_) => Err(refused(&of)),
                });
                state.change_known(
                    Change::Update(name.clone(), updater),
                    |content| match after {
                        Some(value) => content.values.set(&name, value),
                        None => content.values.remove(&name),
                    },
                )?;
                return Ok(Ok(told));
            }
        }
    }
}

/// The result of an update: the encoded new value and the caller's result, or a refusal.
type Changed<A, E> = Result<(Option<Encoded>, A), E>;

fn refused(name: &Text) -> Error {
    let why = format!(
        "another request changed the session value `{}` first, and the closure of `try_update` \
         refuses the new value; nothing of this commit was written",
        name.as_str()
    );
    Error::new(ErrorKind::Conflict, why).during("commit")
}
