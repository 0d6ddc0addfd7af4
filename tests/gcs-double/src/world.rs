//! The content of the double: buckets with objects, each with a generation, and the calls on them
//! in no dialect.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Mutex;
use std::time::SystemTime;

use bytes::Bytes;

use crate::fault::{Faults, Operation};

/// An object as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) value: Bytes,
    pub(crate) generation: i64,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) custom_time: Option<String>,
    pub(crate) written: SystemTime,
}

/// A call, read from one of the dialects.
#[derive(Debug)]
pub(crate) enum Call {
    Read { bucket: String, name: String },
    Look { bucket: String, name: String },
    Write { bucket: String, object: Object, if_generation: Option<i64> },
    Delete { bucket: String, name: String, if_generation: Option<i64> },
    List { bucket: String, prefix: String, limit: usize, after: String },
    CreateBucket { bucket: String },
    Rules { bucket: String },
    Policy { bucket: String },
}

impl Call {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Read { .. } => Operation::Read,
            Self::Look { .. } => Operation::Look,
            Self::Write { .. } => Operation::Write,
            Self::Delete { .. } => Operation::Delete,
            Self::List { .. } => Operation::List,
            Self::CreateBucket { .. } => Operation::CreateBucket,
            Self::Rules { .. } | Self::Policy { .. } => Operation::Examine,
        }
    }
}

/// The rules of a bucket, which an examination asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// A lifecycle rule deletes objects.
    pub deletes: bool,
    /// Old versions of objects are kept.
    pub keeps_versions: bool,
    /// Deleted objects are kept for a week.
    pub keeps_deleted: bool,
    /// The access list names everyone.
    pub names_everyone: bool,
    /// Public access is prevented, whatever the access list says.
    pub prevents_public: bool,
}

/// The result of a call.
#[derive(Debug)]
pub(crate) enum Outcome {
    Object(Object),
    Page { objects: Vec<Object>, next: Option<String> },
    Rules(Rules),
    Policy(Rules),
    Done,
}

/// The reason why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoBucket,
    /// The bucket and the object, for Google's error text.
    NoObject(String),
    Mismatch,
    BucketTaken,
    /// A request that is wrong or not allowed: the status and the XML API's code.
    Wrong(u16, &'static str),
    /// A fault.
    Status(u16),
}

impl Refusal {
    /// Returns the HTTP status and its error text.
    pub(crate) fn speak(&self) -> (u16, String) {
        match self {
            Self::NoBucket => (404, "The specified bucket does not exist.".to_owned()),
            Self::NoObject(path) => (404, format!("No such object: {path}")),
            Self::Mismatch => {
                (412, "At least one of the pre-conditions you specified did not hold.".to_owned())
            }
            Self::BucketTaken => (
                409,
                "Your previous request to create the named bucket succeeded and you already own it."
                    .to_owned(),
            ),
            Self::Wrong(status, word) => (*status, (*word).to_owned()),
            Self::Status(status) => (*status, "A fault was injected.".to_owned()),
        }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    rules: Rules,
}

#[derive(Debug)]
pub(crate) struct World {
    faults: Faults,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    buckets: HashMap<String, Bucket>,
    last_generation: i64,
}

impl World {
    pub(crate) fn new(bucket: &str) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let inner = Inner {
            buckets: HashMap::from([(bucket.to_owned(), Bucket::default())]),
            last_generation: i64::try_from(since.as_micros()).expect("before the year 294246"),
        };
        Self { faults: Faults::default(), inner: Mutex::new(inner) }
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(crate) fn perform(&self, call: &Call) -> Result<Outcome, Refusal> {
        let mut inner = self.inner.lock().expect("no panic under the lock");
        match call {
            Call::Read { bucket, name } | Call::Look { bucket, name } => {
                let object = inner.objects(bucket)?.get(name);
                let object = object.ok_or_else(|| Refusal::NoObject(format!("{bucket}/{name}")))?;
                Ok(Outcome::Object(object.clone()))
            }
            Call::Write { bucket, object, if_generation } => {
                let current =
                    inner.objects(bucket)?.get(&object.name).map_or(0, |object| object.generation);
                if if_generation.is_some_and(|expected| expected != current) {
                    return Err(Refusal::Mismatch);
                }
                Ok(Outcome::Object(inner.put(bucket, object.clone())?))
            }
            Call::Delete { bucket, name, if_generation } => {
                let objects = inner.objects(bucket)?;
                let Some(object) = objects.get(name) else {
                    return Err(Refusal::NoObject(format!("{bucket}/{name}")));
                };
                if if_generation.is_some_and(|expected| expected != object.generation) {
                    return Err(Refusal::Mismatch);
                }
                objects.remove(name);
                Ok(Outcome::Done)
            }
            Call::List { bucket, prefix, limit, after } => {
                let from =
                    if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
                let mut objects: Vec<_> = inner
                    .objects(bucket)?
                    .range::<String, _>((from, Bound::Unbounded))
                    .map(|(_, object)| object)
                    .take_while(|object| object.name.starts_with(prefix))
                    .take(limit + 1)
                    .cloned()
                    .collect();
                let more = objects.len() > *limit;
                objects.truncate(*limit);
                let next = objects.last().filter(|_| more).map(|object| object.name.clone());
                Ok(Outcome::Page { objects, next })
            }
            Call::CreateBucket { bucket } if inner.buckets.contains_key(bucket) => {
                Err(Refusal::BucketTaken)
            }
            Call::CreateBucket { bucket } => {
                inner.buckets.insert(bucket.clone(), Bucket::default());
                Ok(Outcome::Done)
            }
            Call::Rules { bucket } => Ok(Outcome::Rules(inner.bucket(bucket)?.rules)),
            Call::Policy { bucket } => Ok(Outcome::Policy(inner.bucket(bucket)?.rules)),
        }
    }

    pub(crate) fn replace_bucket(&self, name: &str) {
        self.inner
            .lock()
            .expect("no panic under the lock")
            .buckets
            .insert(name.to_owned(), Bucket::default());
    }

    pub(crate) fn set_rules(&self, bucket: &str, rules: Rules) {
        let mut inner = self.inner.lock().expect("no panic under the lock");
        inner.bucket(bucket).expect("the bucket is there").rules = rules;
    }

    pub(crate) fn remove_bucket(&self, name: &str) {
        self.inner.lock().expect("no panic under the lock").buckets.remove(name);
    }

    pub(crate) fn put_foreign(&self, bucket: &str, name: &str, value: &[u8]) {
        let mut inner = self.inner.lock().expect("no panic under the lock");
        inner
            .put(bucket, Object::new(name, Bytes::copy_from_slice(value)))
            .expect("the bucket is there");
    }

    pub(crate) fn names(&self, bucket: &str) -> Vec<String> {
        let mut inner = self.inner.lock().expect("no panic under the lock");
        inner.objects(bucket).map(|objects| objects.keys().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn dump(&self) -> Vec<u8> {
        let inner = self.inner.lock().expect("no panic under the lock");
        let mut out = Vec::new();
        for object in inner.buckets.values().flat_map(|bucket| bucket.objects.values()) {
            out.extend_from_slice(format!("{} {:?} ", object.name, object.metadata).as_bytes());
            out.extend_from_slice(&object.value);
            out.push(b'\n');
        }
        out
    }
}

impl Inner {
    fn bucket(&mut self, name: &str) -> Result<&mut Bucket, Refusal> {
        self.buckets.get_mut(name).ok_or(Refusal::NoBucket)
    }

    fn objects(&mut self, bucket: &str) -> Result<&mut BTreeMap<String, Object>, Refusal> {
        self.bucket(bucket).map(|bucket| &mut bucket.objects)
    }

    fn put(&mut self, bucket: &str, mut object: Object) -> Result<Object, Refusal> {
        self.last_generation += 1;
        object.generation = self.last_generation;
        object.written = SystemTime::now();
        self.objects(bucket)?.insert(object.name.clone(), object.clone());
        Ok(object)
    }
}

impl Object {
    /// Creates an object that has no generation yet.
    pub(crate) fn new(name: &str, value: Bytes) -> Self {
        Self {
            name: name.to_owned(),
            value,
            generation: 0,
            metadata: BTreeMap::new(),
            custom_time: None,
            written: SystemTime::UNIX_EPOCH,
        }
    }
}
