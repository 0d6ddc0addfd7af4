//! Reading and changing a value in one step, which is done again when another request was first.

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
    /// Changes a value atomically: `f` receives the current value and returns the new one, which is
    /// returned.
    ///
    /// `f` may run several times, on other values, when other requests change the session at the
    /// same time; it must have no side effects. What `update` returns is provisional until the
    /// commit. An equal value writes nothing.
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

    /// Changes a value atomically, as [`update`](Self::update) does, where `f` may also remove or
    /// refuse: it returns the new value, `Ok(None)` for none, or an error, which leaves everything
    /// as it was and is returned.
    ///
    /// `f` runs again at the commit when another request changed the value first. If it refuses the
    /// value that is there then, the commit fails with [`Conflict`](crate::ErrorKind::Conflict),
    /// and nothing of it is written. `E` is the application's own error, or [`Error`].
    ///
    /// ```
    /// # use mocha_session_core::Error;
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
    /// What `f` returns; else as [`get`](Self::get) and [`insert`](Self::insert).
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

    /// Changes a value in place, atomically, as [`update`](Self::update) does; whether there was
    /// one. An `f` that changes nothing writes nothing.
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

    /// The value, or, where there is none, what `f` makes, which is then set.
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
        // A clone of this session may have set it while `f` ran; what is there counts.
        let view = Arc::clone(&state.view);
        drop(state);
        values::decode(name.as_str(), view.values.get(name.as_str()).unwrap_or_default())
    }

    /// Logs an update. It runs outside the lock, so that it may use the session, and again if the
    /// value changed meanwhile.
    ///
    /// `change` makes of the current value the encoded new one (`None` removes it), and what the
    /// caller is told. What it refuses logs nothing; refused at the commit it is a conflict.
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

/// What an update makes of a value: the encoded new one and what the caller is told, or a refusal.
type Changed<A, E> = Result<(Option<Encoded>, A), E>;

fn refused(name: &Text) -> Error {
    let why = format!(
        "another request changed the session value `{}` first, and `try_update` refuses the \
         value that is there now; nothing of this commit was written",
        name.as_str()
    );
    Error::new(ErrorKind::Conflict, why).during("commit")
}
