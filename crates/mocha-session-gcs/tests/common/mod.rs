//! Helpers of the tests: test doubles, stores and keys.

#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

use mocha_session_conformance::tools;
pub(crate) use mocha_session_conformance::tools::hour;
use mocha_session_core::store::StorageKey;
use mocha_session_core::{Error, StoreUrl};
use mocha_session_gcs::GcsStore;
use mocha_session_gcs_double::{Double, SECRET};
use tokio::sync::OnceCell;

/// A double for everybody in this process who injects no faults.
pub(crate) async fn shared() -> &'static Double {
    static SHARED: OnceCell<Double> = OnceCell::const_new();
    SHARED.get_or_init(Double::start).await
}

/// The two APIs of a double, by name.
pub(crate) fn apis(double: &Double) -> [(&'static str, String); 2] {
    [("official", double.gs_url()), ("hmac", double.hmac_url())]
}

pub(crate) async fn open(url: &str) -> Result<GcsStore, Error> {
    let mut url = StoreUrl::parse(url)?;
    let opening = GcsStore::from_url(&mut url)?;
    url.finish()?;
    opening.await
}

pub(crate) fn key(number: u8) -> StorageKey {
    StorageKey::from_bytes([number; StorageKey::BYTES])
}

/// All that an error shows, with its causes. Fails if that is the secret or one of the keys above.
pub(crate) fn shown(error: &Error) -> String {
    let text = tools::shown(error);
    assert!(!text.contains(SECRET), "{text}");
    for number in 0..=u8::MAX {
        assert!(!text.contains(&key(number).to_string()[..20]), "{text}");
    }
    text
}
