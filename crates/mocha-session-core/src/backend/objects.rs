//! What object stores have in common: sessions as objects, over a client of five calls.
//!
//! A backend for an object store implements [`ObjectClient`] for its client library and hands it to
//! an [`ObjectStore`], which is the [`SessionStore`](super::SessionStore). Names, sizes, paging,
//! expiry, conditional removal, parallelism, deadlines and repetition are decided here, once.

mod body;
mod probe;
mod store;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

pub use store::ObjectStore;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Revision;

/// The client of an object store: one request for each call.
///
/// No call is repeated by the client or the library below it, and none needs a timeout except for
/// connecting: [`ObjectStore`] repeats what may be repeated and bounds everything. A call that is
/// dropped must be cancelled.
///
/// Errors are made with [`Failure::error`](super::Failure::error).
///
/// ```
/// use std::{collections::HashMap, sync::{Arc, Mutex}, time::SystemTime};
/// use mocha_session_core::Result;
/// use mocha_session_core::store::{Bytes, Capabilities, KeySpace, Revision, async_trait};
/// use mocha_session_core::backend::objects::*;
///
/// #[derive(Debug, Default)]
/// struct MyBucket(Mutex<HashMap<String, (Object, SystemTime)>>);
///
/// #[async_trait]
/// impl ObjectClient for MyBucket {
///     async fn get(&self, name: &str, _most: usize) -> Result<Option<Object>> {
///         Ok(self.0.lock().unwrap().get(name).map(|(object, _)| object.clone()))
///     }
///     async fn put(&self, name: &str, body: Bytes, deadline: u64, when: Condition<'_>) -> Result<Outcome<Revision>> {
///         let mut bucket = self.0.lock().unwrap();
///         let expected = match when {
///             Condition::Absent => None,
///             Condition::Is(revision) => Some(revision),
///         };
///         if bucket.get(name).map(|(object, _)| &object.head.revision) != expected {
///             return Ok(Outcome::Unmet);
///         }
///         let revision = Revision::random();
///         let head = Head { revision: revision.clone(), size: body.len() as u64, deadline: Some(deadline) };
///         bucket.insert(name.to_owned(), (Object { head, body }, SystemTime::now()));
///         Ok(Outcome::Done(revision))
///     }
///     async fn delete(&self, name: &str, expected: Option<&Revision>) -> Result<Outcome<()>> {
///         let mut bucket = self.0.lock().unwrap();
///         let found = bucket.get(name).map(|(object, _)| &object.head.revision);
///         if found.is_none() || (expected.is_some() && found != expected) {
///             return Ok(Outcome::Unmet);
///         }
///         bucket.remove(name);
///         Ok(Outcome::Done(()))
///     }
///     async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Page> {
///         let bucket = self.0.lock().unwrap();
///         let mut objects: Vec<_> = bucket
///             .iter()
///             .filter(|(name, _)| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after))
///             .map(|(name, (object, written))| Listed {
///                 name: name.clone(),
///                 size: object.head.size,
///                 written: *written,
///                 head: Some(object.head.clone()),
///             })
///             .collect();
///         objects.sort_by(|one, other| one.name.cmp(&other.name));
///         objects.truncate(limit);
///         let next = (objects.len() == limit).then(|| objects.last().unwrap().name.clone());
///         Ok(Page { objects, next })
///     }
///     fn delete_tells(&self) -> bool {
///         true
///     }
/// }
///
/// let space = KeySpace::new("sessions/").unwrap();
/// let store = ObjectStore::new(Arc::new(MyBucket::default()), space, Capabilities::new("my bucket"));
/// # fn is_store(_: impl mocha_session_core::store::SessionStore) {}
/// # is_store(store);
/// ```
#[async_trait]
pub trait ObjectClient: fmt::Debug + Send + Sync + 'static {
    /// Reads an object; `None` when there is none in a bucket that exists.
    ///
    /// # Errors
    /// [`too_large`] for content of more than `most` bytes, which is not read to its end; whatever
    /// keeps the client from knowing.
    async fn get(&self, name: &str, most: usize) -> Result<Option<Object>>;

    /// Reads what is known of an object without its content. The default reads the whole object.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn head(&self, name: &str) -> Result<Option<Head>> {
        Ok(self.get(name, usize::MAX).await?.map(|object| object.head))
    }

    /// Writes an object if the condition holds. `deadline` belongs to its metadata:
    /// [`Head::deadline`].
    ///
    /// # Errors
    /// [`is_ambiguous`](Error::is_ambiguous) when the object may have been written.
    async fn put(
        &self,
        name: &str,
        body: Bytes,
        deadline: u64,
        when: Condition<'_>,
    ) -> Result<Outcome<Revision>>;

    /// Removes an object: whatever it is, or if it still has this revision. `Unmet` when it has
    /// another, or when there is none and the service says so.
    ///
    /// # Errors
    /// [`is_ambiguous`](Error::is_ambiguous) when the object may have been removed.
    async fn delete(&self, name: &str, expected: Option<&Revision>) -> Result<Outcome<()>>;

    /// Lists about `limit` objects whose names begin with `prefix`, after an earlier page's `next`.
    ///
    /// # Errors
    /// Whatever keeps the client from knowing.
    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Page>;

    /// Whether [`delete`](Self::delete) says that there was no object. Where it does not, deleting
    /// a session takes a [`head`](Self::head) first.
    fn delete_tells(&self) -> bool;
}

/// The condition of a write.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// There is no such object.
    Absent,
    /// The object still has this revision.
    Is(&'a Revision),
}

/// How a write ended that the service answered.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was done.
    Done(T),
    /// Its condition did not hold, and nothing was done.
    Unmet,
    /// It was refused for now, and nothing was done: the store repeats it within its deadline, and
    /// returns this error after that.
    Busy(Error),
}

/// An object with its content.
#[derive(Clone, Debug)]
pub struct Object {
    /// What is known without the content.
    pub head: Head,
    /// The content.
    pub body: Bytes,
}

/// What is known of an object without its content.
#[derive(Clone, Debug)]
pub struct Head {
    /// The revision that conditions compare: an `ETag`, a generation.
    pub revision: Revision,
    /// The size of the content in bytes.
    pub size: u64,
    /// The deadline that [`ObjectClient::put`] wrote, in milliseconds since 1970; `None` for an
    /// object without one.
    pub deadline: Option<u64>,
}

/// An object of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its full name.
    pub name: String,
    /// The size of its content in bytes.
    pub size: u64,
    /// When it was last written.
    pub written: SystemTime,
    /// The rest, where listings show it: it spares a request for each object.
    pub head: Option<Head>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Listed>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

/// The error for an object that is larger than what this library writes.
pub fn too_large(most: usize) -> Error {
    let why =
        format!("an object under a session's name has more than {most} bytes; {}", body::FOREIGN);
    Error::new(ErrorKind::Corrupt, why)
}
