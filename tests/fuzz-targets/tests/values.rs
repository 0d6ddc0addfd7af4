//! Values of every shape: what JSON gives back a session gives back, and what would not come back
//! is refused. Here, because the core's own tests are compiled with optimisations, and these are
//! thousands of types.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::time::{Duration, SystemTime};

use mocha_session_core::{Error, Session};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use uuid::Uuid;

trait Value: Serialize + DeserializeOwned + PartialEq + Debug + Clone {}

impl<T: Serialize + DeserializeOwned + PartialEq + Debug + Clone> Value for T {}

/// The value after its way through a session.
fn back<T: Value>(value: &T) -> Result<T, Error> {
    let session = Session::in_memory().unwrap();
    session.insert("v", value.clone())?;
    let shown = format!("insert took {value:?}, and get failed");
    Ok(session.get("v").expect(&shown).unwrap())
}

/// Whether JSON gives it back as it was.
fn survives_json<T: Value>(value: &T) -> bool {
    let text = serde_json::to_vec(value).ok();
    text.and_then(|text| serde_json::from_slice::<T>(&text).ok()).is_some_and(|read| read == *value)
}

fn check<T: Value>(shape: &str, value: T) {
    match back(&value) {
        Ok(read) => assert_eq!(read, value, "{shape}: comes back as another"),
        Err(error) => {
            assert!(error.is_invalid_input(), "{shape}: {error}");
            assert!(!survives_json(&value), "{shape}: refused, and JSON gives it back: {error}");
        }
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Field<T> {
    f: T,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Newtype<T>(T);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum External<T> {
    Other,
    One(T),
    Two(T, u8),
    Named { f: T },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "t")]
enum Internal<T> {
    Other,
    One(Field<T>),
    Named { f: T },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(tag = "t", content = "c")]
enum Adjacent<T> {
    Other,
    One(T),
    Two(T, u8),
    Named { f: T },
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(untagged)]
enum Untagged<T> {
    Never { never: bool },
    Named { f: T },
    One(T),
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Flattened<T> {
    a: u8,
    #[serde(flatten)]
    rest: T,
}

/// The value alone and in what serde reads without buffering.
fn plain<T: Value>(name: &str, value: &T) {
    let v = || value.clone();
    let shape = |form: &str| format!("{name}, {form}");
    check(&shape("alone"), v());
    check(&shape("in a list"), vec![v(), v()]);
    check(&shape("in a tuple"), (v(), 1_u8));
    check(&shape("in an option"), Some(v()));
    check(&shape("in a map"), BTreeMap::from([(1_u32, v())]));
    check(&shape("in a result"), Ok::<T, String>(v()));
    check(&shape("in a struct"), Field { f: v() });
    check(&shape("in a newtype"), Newtype(v()));
    for variant in [External::One(v()), External::Two(v(), 1), External::Named { f: v() }] {
        check(&shape("in an enum"), [variant, External::Other]);
    }
    // Tag first, so that the content is read directly.
    for variant in [Adjacent::One(v()), Adjacent::Two(v(), 1), Adjacent::Named { f: v() }] {
        check(&shape("adjacently tagged"), [variant, Adjacent::Other]);
    }
}

/// The value in what serde buffers before it knows the type.
fn buffered<T: Value>(name: &str, value: &T) {
    let v = || value.clone();
    let shape = |form: &str| format!("{name}, {form}");
    check(&shape("untagged"), Untagged::Named { f: v() });
    check(&shape("untagged newtype"), Untagged::One(Newtype(v())));
    check(&shape("untagged in untagged"), Untagged::Named { f: Untagged::Named { f: v() } });
    for variant in [Internal::One(Field { f: v() }), Internal::Named { f: v() }] {
        check(&shape("internally tagged"), [variant.clone(), Internal::Other]);
        check(&shape("internally tagged, flattened"), Flattened { a: 1, rest: variant });
    }
    check(&shape("flattened"), Flattened { a: 1, rest: Field { f: v() } });
    check(
        &shape("flattened map"),
        Flattened { a: 1, rest: BTreeMap::from([("k".to_owned(), v())]) },
    );
    for variant in [External::One(v()), External::Two(v(), 1), External::Named { f: v() }] {
        check(&shape("flattened enum"), Flattened { a: 1, rest: variant });
    }
    for variant in [Adjacent::One(v()), Adjacent::Two(v(), 1), Adjacent::Named { f: v() }] {
        check(&shape("adjacently tagged, flattened"), Flattened { a: 1, rest: variant });
    }
    check(&shape("flattened untagged"), vec![Flattened { a: 1, rest: Untagged::Named { f: v() } }]);
}

fn every<T: Value>(name: &str, value: T) {
    plain(name, &value);
    buffered(name, &value);
}

#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
enum Kind {
    Plain,
    With(u8),
}

#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Debug, Clone)]
struct Unit;

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Empty {}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct EmptyTuple();

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct WritesBytes(#[serde(serialize_with = "serde_bytes::serialize")] Vec<u8>);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
struct ReadsBytes(#[serde(deserialize_with = "serde_bytes::deserialize")] Vec<u8>);

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
struct Sparse {
    a: u8,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    b: Option<u8>,
    #[serde(rename = "type", default)]
    c: Vec<Kind>,
}

#[test]
fn ids_addresses_and_times_come_back_in_every_shape() {
    every("IPv4", "127.0.0.1".parse::<IpAddr>().unwrap());
    every("IPv6", "::1".parse::<IpAddr>().unwrap());
    every("socket", "[::1]:80".parse::<SocketAddr>().unwrap());
    every("UUID", Uuid::from_u128(7));
    every("duration", Duration::from_millis(1500));
    every("time", SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
    every("path", std::path::PathBuf::from("/a"));
}

#[test]
fn numbers_text_and_bytes_come_back_in_every_shape() {
    every("u64", u64::MAX);
    every("i64", i64::MIN);
    every("small", -5_i8);
    every("f32", 1.1_f32);
    every("f64", 1.1_f64);
    every("whole", 3.0_f64);
    every("infinite", f64::INFINITY);
    every("bool", true);
    every("char", 'ü');
    every("text", "hällo".to_owned());
    every("list of bytes", vec![1_u8, 200]);
    every("bytes", ByteBuf::from([1, 127, 128, 255]));
    every("long bytes", ByteBuf::from(vec![7; 70_000]));
    every("written as bytes", WritesBytes(vec![1, 200]));
    every("read as bytes", ReadsBytes(vec![1, 200]));
    every("array", [1_u8, 2, 200]);
}

#[test]
fn nothing_and_enums_come_back_in_every_shape_or_are_refused() {
    every("unit", ());
    every("unit struct", Unit);
    every("empty struct", Empty {});
    every("empty tuple", EmptyTuple());
    every("some", Some(1));
    every("none", None::<u8>);
    every("some of none", Some(None::<u8>));
    every("some of unit", Some(()));
    every("some of a unit struct", Some(Unit));
    every("result", Ok::<(), String>(()));
    every("variant", Kind::Plain);
    every("newtype variant", Kind::With(3));
    every("bound", [Bound::Included(1), Bound::Unbounded]);
    every("range", 1..4);
    every("without some fields", Sparse::default());
    every("json", serde_json::json!({"a": [1, null, {"b": 1.5}], "c": u64::MAX}));
    every("null", serde_json::Value::Null);
}

#[test]
fn maps_with_any_keys_come_back_in_every_shape() {
    every("u32", BTreeMap::from([(1_u32, "a".to_owned())]));
    every("i8", BTreeMap::from([(-1_i8, 1)]));
    every("bool", BTreeMap::from([(true, 1)]));
    every("char", BTreeMap::from([('x', 1)]));
    every("UUID", BTreeMap::from([(Uuid::from_u128(7), 1)]));
    every("address", BTreeMap::from([("::1".parse::<IpAddr>().unwrap(), 1)]));
    every("enum", BTreeMap::from([(Kind::Plain, 1), (Kind::With(1), 2)]));
    every("tuple", BTreeMap::from([((1_u8, 2_u8), 1)]));
    every("unit", BTreeMap::from([(Unit, 1)]));
    every(
        "nested",
        BTreeMap::from([("k".to_owned(), vec![None, Some(BTreeMap::from([(1, Kind::Plain)]))])]),
    );
}

#[test]
fn numbers_of_128_bits_come_back_where_serde_does_not_buffer_them() {
    // Serde's buffer has no place for them, in no format.
    for number in [0, 5, u128::from(u64::MAX) + 1, u128::MAX] {
        plain("u128", &number);
        plain("u128 keys", &BTreeMap::from([(number, 1)]));
    }
    for number in [i128::MIN, -5, 0, i128::from(u64::MAX), i128::MAX] {
        plain("i128", &number);
    }
}

#[test]
fn what_would_come_back_as_another_is_refused_with_a_reason() {
    let session = Session::in_memory().unwrap();
    for error in [
        session.insert("v", Some(None::<u8>)).unwrap_err(),
        session.insert("v", Field { f: vec![Some(())] }).unwrap_err(),
        session.update("v", |_: Option<Option<Unit>>| Some(Unit)).unwrap_err(),
        session.get_or_insert_with("v", || Some(())).unwrap_err(),
        session.flash().set_data(&Some(Unit)).unwrap_err(),
    ] {
        assert!(
            error.is_invalid_input() && error.to_string().contains("`Some` of nothing"),
            "{error}"
        );
    }
    assert!(session.is_empty());
    session.insert("v", None::<Option<u8>>).unwrap();
}

/// A `Serialize` that claims another length than it has.
struct Liar(usize);

impl Serialize for Liar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;
        let mut list = serializer.serialize_seq(Some(self.0))?;
        (0..20).try_for_each(|item| list.serialize_element(&item))?;
        list.end()
    }
}

#[test]
fn a_list_that_is_not_as_long_as_it_says_comes_back_as_it_is() {
    let session = Session::in_memory().unwrap();
    for claim in [0, 3, 20, 70_000] {
        session.insert("v", Liar(claim)).unwrap();
        assert_eq!(session.get::<Vec<u8>>("v").unwrap(), Some((0..20).collect()));
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
enum Chain {
    End,
    Link(Box<Chain>),
}

fn nested<T>(levels: usize, end: T, wrap: impl Fn(T) -> T) -> T {
    (0..levels).fold(end, |inner, _| wrap(inner))
}

#[test]
fn nesting_as_deep_as_json_reads_goes_in_and_comes_out_and_deeper_is_refused() {
    let json = |levels| {
        nested(levels, serde_json::Value::Null, |inner| serde_json::Value::Array(vec![inner]))
    };
    let chain = |levels| nested(levels, Chain::End, |inner| Chain::Link(Box::new(inner)));
    assert!(survives_json(&json(127)) && !survives_json(&json(128)));
    assert!(survives_json(&chain(127)) && !survives_json(&chain(128)));
    assert_eq!(back(&json(127)).unwrap(), json(127));
    assert_eq!(back(&chain(127)).unwrap(), chain(127));
    assert_eq!(back(&Untagged::Named { f: json(126) }).unwrap(), Untagged::Named { f: json(126) });
    for error in [back(&json(128)).unwrap_err(), back(&chain(128)).unwrap_err()] {
        assert!(
            error.is_invalid_input() && error.to_string().contains("deeper than 127"),
            "{error}"
        );
    }
    // Beside each other is not in each other.
    let wide: Vec<_> = (0..1_000).map(|_| json(100)).collect();
    assert_eq!(back(&wide).unwrap(), wide);
}
