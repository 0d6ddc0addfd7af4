//! Sessions as objects in an object store, on top of a client with five calls.
//!
//! A backend for an object store implements [`ObjectClient`] for its client library and passes it
//! to an [`ObjectStore`], which implements [`SessionStore`](crate::store::SessionStore). This
//! module handles names, sizes, paging, expiry, conditional removal, parallelism, deadlines and
//! retries for all of them.

mod body;
mod line;
mod probe;
mod store;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

pub use store::ObjectStore;

use crate::error::{Error, ErrorKind, Result};
use crate::store::Revision;

/// The client of an object store. Each call is one request.
///
/// Neither the client nor its library may retry a call, and only connecting needs a timeout:
/// [`ObjectStore`] retries calls where that is safe, limits the time of each, and pauses while the
/// service cannot be reached. Dropping a call's future must cancel the call.
///
/// Create errors with [`Failure::error`](crate::store::Failure::error).
///
/// ```
/// # use mocha_session_core as mocha_session;
/// use std::{collections::HashMap, sync::{Arc, Mutex}, time::SystemTime};
/// use mocha_session::Result;
/// use mocha_session::store::{Bytes, Capabilities, KeySpace, Revision, async_trait};
/// use mocha_session::backend::objects::*;
///
/// #[derive(Debug, Default)]
/// struct MyBucket(Mutex<HashMap<String, (Object, SystemTime)>>);
///
/// #[async_trait]
/// impl ObjectClient for MyBucket {
///     async fn get(&self, name: &str, _most: usize) -> Result<Option<Object>> {
///         Ok(self.0.lock().unwrap().get(name).map(|(object, _)| object.clone()))
///     }
///     async fn put(&self, name: &str, to: Content, when: Condition<'_>) -> Result<Outcome<Revision>> {
///         let mut bucket = self.0.lock().unwrap();
///         let expected = match when {
///             Condition::Absent => None,
///             Condition::Is(revision) => Some(revision),
///         };
///         if bucket.get(name).map(|(object, _)| &object.head.revision) != expected {
///             return Ok(Outcome::Unmet);
///         }
///         let revision = Revision::random();
///         let (size, deadline) = (to.body.len() as u64, Some(to.deadline));
///         let head = Head { revision: revision.clone(), size, deadline };
///         bucket.insert(name.to_owned(), (Object { head, body: to.body }, SystemTime::now()));
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
///             .filter(|(name, _)| name.starts_with(prefix))
///             .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
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
///     async fn reconnect(&self) {} // It has no connections.
/// }
///
/// let space = KeySpace::new("sessions/").unwrap();
/// let client = Arc::new(MyBucket::default());
/// let store = ObjectStore::new(client, space, Capabilities::new("my bucket"));
/// # fn is_store(_: impl mocha_session::store::SessionStore) {}
/// # is_store(store);
/// ```
#[async_trait]
pub trait ObjectClient: fmt::Debug + Send + Sync + 'static {
    /// Reads an object. Returns `None` if the bucket exists and has no such object.
    ///
    /// # Errors
    /// [`too_large`] if the content has more than `most` bytes; the client does not read it to the
    /// end. Any other error if the client cannot know whether there is an object.
    async fn get(&self, name: &str, most: usize) -> Result<Option<Object>>;

    /// Reads the metadata of an object. The default reads the whole object.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn head(&self, name: &str) -> Result<Option<Head>> {
        Ok(self.get(name, usize::MAX).await?.map(|object| object.head))
    }

    /// Writes an object if the condition holds.
    ///
    /// # Errors
    /// [`is_ambiguous`](Error::is_ambiguous) if the object may have been written.
    async fn put(&self, name: &str, to: Content, when: Condition<'_>) -> Result<Outcome<Revision>>;

    /// Removes an object, if `expected` is `None` or its revision. Returns `Unmet` if the object
    /// has another revision, or if the service reports that there is no object.
    ///
    /// # Errors
    /// [`is_ambiguous`](Error::is_ambiguous) if the object may have been removed.
    async fn delete(&self, name: &str, expected: Option<&Revision>) -> Result<Outcome<()>>;

    /// Lists about `limit` objects whose names start with `prefix`. `after` is the `next` of the
    /// previous page.
    ///
    /// # Errors
    /// If the objects cannot be listed.
    async fn list(&self, prefix: &str, limit: usize, after: Option<&str>) -> Result<Page>;

    /// Returns whether [`delete`](Self::delete) reports that there was no object. If it does not,
    /// deleting a session needs an extra [`head`](Self::head).
    fn delete_tells(&self) -> bool;

    /// Makes later calls use new connections only. Calls that are running keep theirs.
    ///
    /// The store calls it when a call waited in vain and no other call got an answer meanwhile. The
    /// network may have dropped the state of all connections, and each that the client keeps would
    /// then cost another call its time. A client without connections does nothing.
    async fn reconnect(&self);
}

/// The content and the metadata of an object to be written.
#[derive(Clone, Debug)]
pub struct Content {
    /// The bytes.
    pub body: Bytes,
    /// Is stored in the object's metadata: [`Head::deadline`].
    pub deadline: u64,
}

/// The condition of a write.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// There is no such object.
    Absent,
    /// The object still has this revision.
    Is(&'a Revision),
}

/// The result of a write that the service answered.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The write was done.
    Done(T),
    /// The condition did not hold. Nothing was changed.
    Unmet,
    /// The service refused the write temporarily. Nothing was changed. The store retries within its
    /// deadline, and then returns this error.
    Busy(Error),
}

/// An object with its content.
#[derive(Clone, Debug)]
pub struct Object {
    /// The metadata.
    pub head: Head,
    /// The content.
    pub body: Bytes,
}

/// The metadata of an object.
#[derive(Clone, Debug)]
pub struct Head {
    /// The revision that conditions compare, such as an `ETag` or a generation.
    pub revision: Revision,
    /// The size of the content in bytes.
    pub size: u64,
    /// The deadline that [`ObjectClient::put`] wrote, in milliseconds since 1970, if the object has
    /// one.
    pub deadline: Option<u64>,
}

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The full name.
    pub name: String,
    /// The size of the content in bytes.
    pub size: u64,
    /// The time of the last write.
    pub written: SystemTime,
    /// The metadata, if listings include it. It saves one request per object.
    pub head: Option<Head>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Listed>,
    /// The `after` of the next page, or `None` if this is the last.
    pub next: Option<String>,
}

/// Creates the error for an object that is larger than any that this library writes.
pub fn too_large(most: usize) -> Error {
    let why =
        format!("an object under a session's name has more than {most} bytes; {}", body::FOREIGN);
    Error::new(ErrorKind::Corrupt, why)
}
