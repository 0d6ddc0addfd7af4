//! One stored value, whatever bytes it has: read as many types, never a panic, and what `get`
//! returned goes in and comes out again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mocha_session_core::{RequestInfo, Session, SessionManager};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_json::Value;

use crate::records::{COOKIE, Plain, clock};
use crate::{block_on, store::TestStore};

pub(crate) fn run(bytes: &[u8]) {
    let record = Plain::now().with_value("v", bytes);
    let manager = SessionManager::builder(TestStore::with_everywhere(record.bytes()))
        .clock(clock())
        .dangerously_unsealed()
        .build()
        .unwrap();
    block_on(async {
        let lazy = manager.open(RequestInfo::new(COOKIE));
        let session = lazy.load().await.expect("the record is right");
        assert_eq!(session.keys(), ["v"]);
        every_type(&session);
        if let Ok(entries) = session.entries() {
            assert!(entries.iter().any(|(name, _)| name == "v"));
        }
        assert!(session.get::<IgnoredAny>("v").is_ok() || session.entries().is_err());
        let before = session.get::<Value>("v").ok();
        session.insert("w", 1).unwrap();
        session.commit().await.unwrap();
        session.reload().await.unwrap();
        assert_eq!(session.get::<Value>("v").ok(), before);
        assert_eq!(session.keys(), ["v", "w"]);
    });
}

fn every_type(session: &Session) {
    as_type::<bool>(session);
    as_type::<u8>(session);
    as_type::<i64>(session);
    as_type::<u64>(session);
    as_type::<i128>(session);
    as_type::<f32>(session);
    as_type::<f64>(session);
    as_type::<char>(session);
    as_type::<String>(session);
    as_type::<ByteBuf>(session);
    as_type::<()>(session);
    as_type::<Option<Option<u32>>>(session);
    as_type::<Vec<u8>>(session);
    as_type::<(u8, String)>(session);
    as_type::<[Option<i8>; 2]>(session);
    as_type::<BTreeMap<String, Value>>(session);
    as_type::<BTreeMap<u8, Vec<f32>>>(session);
    as_type::<BTreeMap<Option<i16>, bool>>(session);
    as_type::<Value>(session);
    as_type::<IpAddr>(session);
    as_type::<Duration>(session);
    as_type::<SystemTime>(session);
    as_type::<Unit>(session);
    as_type::<Wrapper>(session);
    as_type::<External>(session);
    as_type::<Internal>(session);
    as_type::<Adjacent>(session);
    as_type::<Untagged>(session);
    as_type::<Flattened>(session);
    as_type::<Tree>(session);
}

/// What is read is written again and read again, by every way that a value can go in.
fn as_type<T: Serialize + DeserializeOwned + Debug + Send + Sync + 'static>(session: &Session) {
    let Ok(read) = session.get::<T>("v") else {
        assert!(session.update::<T, _>("v", |value| value.unwrap()).is_err());
        return;
    };
    let read = read.expect("it is there");
    // As text, because no float that is not a number equals itself.
    let shown = format!("{read:?}");
    match session.insert("w", &read) {
        Ok(()) => {
            let again = session.get::<T>("w").expect("what was inserted is read").unwrap();
            assert_eq!(format!("{again:?}"), shown);
            let updated = session.update::<T, _>("w", |value| value.unwrap()).unwrap();
            assert_eq!(format!("{updated:?}"), shown);
            assert!(session.modify::<T, _>("w", |_| ()).unwrap());
            let taken = session.take::<T>("w").unwrap().unwrap();
            assert_eq!(format!("{taken:?}"), shown);
        }
        Err(error) => assert!(error.is_invalid_input(), "{error}"),
    }
    let _ = session.remove("w").unwrap();
}

#[derive(Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Serialize, Deserialize)]
struct Wrapper(Option<u32>);

#[derive(Debug, Serialize, Deserialize)]
enum External {
    Unit,
    New(Option<String>),
    Tuple(u8, i64),
    Struct { a: u8, b: Option<bool> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Internal {
    Unit,
    Map(BTreeMap<String, u64>),
    Struct { a: f64, ip: Option<IpAddr> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    New(Vec<External>),
    Struct { a: char },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Float(f64),
    Text(String),
    List(Vec<Untagged>),
    Struct { a: Box<Untagged> },
    Nothing(()),
}

#[derive(Debug, Serialize, Deserialize)]
struct Flattened {
    a: Option<u8>,
    #[serde(flatten)]
    rest: BTreeMap<String, Untagged>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>, Option<Box<Tree>>),
}
