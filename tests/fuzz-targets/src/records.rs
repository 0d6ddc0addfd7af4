//! Stored records, whatever bytes they have: never a panic, damage is an error with a way out, and
//! a session that was read keeps what it held when it is written again.
//!
//! The first byte chooses what the rest is: a whole record, or the payload of a session or of an
//! owner's index.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use mocha_session_core::{
    ManualClock, Migrating, RequestInfo, Result, Secrets, Session, SessionManager, Storage,
};
use serde_json::Value;

use crate::block_on;
use crate::store::TestStore;

/// A cookie of an id that is as good as any other.
pub(crate) const COOKIE: &str = "__Host-session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// When everything here happens, in milliseconds since 1970.
const NOW: u64 = 1_800_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1_000;
const LIVE: u8 = 1;
const INDEX: u8 = 4;
const PLAIN: u8 = 0x80;

/// A record that is not sealed.
pub(crate) struct Plain(Vec<u8>);

impl Plain {
    fn header(kind: u8) -> Self {
        let mut record = vec![b'S', 1, kind | PLAIN];
        record.extend_from_slice(&(NOW + DAY).to_be_bytes());
        record.extend_from_slice(&[0; 32]);
        Self(record)
    }

    /// A session that begins now.
    pub(crate) fn now() -> Self {
        let mut record = Self::header(LIVE);
        for number in [NOW, NOW, NOW + DAY, 0] {
            record.number(number);
        }
        record
    }

    /// With one value and no flash.
    pub(crate) fn with_value(mut self, name: &str, value: &[u8]) -> Self {
        self.number(1);
        for bytes in [name.as_bytes(), value] {
            self.number(bytes.len() as u64);
            self.0.extend_from_slice(bytes);
        }
        self.number(0);
        self
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }
}

/// The clock that stands at the time of all records here.
pub(crate) fn clock() -> ManualClock {
    ManualClock::starting_at(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW))
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((&rules, bytes)) = bytes.split_first() else { return };
    let record = match rules % 4 {
        2 => [&Plain::header(LIVE).0, bytes].concat(),
        3 => [&Plain::header(INDEX).0, bytes].concat(),
        _ => bytes.to_vec(),
    };
    let store = TestStore::with_everywhere(record);
    let migrates = rules & 4 != 0;
    let storage: Storage =
        if migrates { Migrating::new(store, TestStore::default()).into() } else { store.into() };
    let mut builder = SessionManager::builder(storage)
        .clock(clock())
        .accept_unsigned(true)
        .check_owner_at_load(rules & 8 != 0);
    if rules & 16 != 0 {
        builder = builder.secrets(Secrets::new([b"0123456789abcdefghijklmnopqrstuvwxyz"]).unwrap());
    }
    let sealed = rules % 4 == 0;
    if !sealed {
        builder = builder.dangerously_unsealed();
    }
    let manager = builder.build().unwrap();
    block_on(async {
        session(&manager, sealed, migrates).await;
        owner(&manager).await;
    });
}

async fn session(manager: &SessionManager, sealed: bool, migrates: bool) {
    let lazy = manager.open(RequestInfo::new(COOKIE));
    let session = match lazy.load().await {
        Ok(session) => session,
        Err(error) => {
            assert!(error.is_corrupt(), "{error}");
            return abandoned(manager, migrates).await;
        }
    };
    // What was not sealed under the id is no session.
    assert!(!sealed || session.is_new());
    if session.is_new() {
        return;
    }
    let took = looked_at(&session);
    let mut names: BTreeSet<String> = session.keys().into_iter().collect();
    let flash = session.flash().peek().len();
    session.insert("zz", 7).unwrap();
    names.insert("zz".into());
    let owned = session.owner().is_some();
    let finished = manager.finish(&lazy, 304).await;
    if let Some(error) = finished.error() {
        assert!(owned || migrates || error.is_corrupt(), "{error}");
        return;
    }
    let lazy = manager.open(RequestInfo::new(COOKIE));
    let again = match lazy.load().await {
        Ok(again) => again,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    // An owner's session that its index does not list is not written.
    if !owned && !migrates {
        assert_eq!(again.keys().into_iter().collect::<BTreeSet<_>>(), names);
        assert_eq!(again.get::<u8>("zz").unwrap(), Some(7));
        // Data may have the identity of a message, where nobody drew it.
        assert!(took || again.flash().peek().len() == flash);
    }
    let _ = again.rotate();
    let _ = again.flash().claim().await;
    let _ = again.destroy();
    let _ = manager.finish(&lazy, 200).await;
}

/// Everything that a handler can read; whether it took data.
fn looked_at(session: &Session) -> bool {
    for name in session.keys() {
        assert!(session.contains(&name) || name.starts_with("__") || name.is_empty());
    }
    let _ = session.entries();
    let _ = (session.owner(), session.label(), session.handle(), session.fingerprint());
    assert!(session.expires_at() > SystemTime::UNIX_EPOCH);
    let _ = session.created_at();
    let flash = session.flash();
    for message in flash.peek().iter().chain(&flash.messages()) {
        let _ =
            (message.level(), message.text().len(), message.tags().len(), message.data::<Value>());
    }
    assert!(!format!("{session:?}").contains("zz"));
    flash.take_data::<Value>().is_ok_and(|data| data.is_some())
}

/// The way out: the record that cannot be read is ended, and the browser gets a session that works.
async fn abandoned(manager: &SessionManager, migrates: bool) {
    let lazy = manager.open(RequestInfo::new(COOKIE));
    let done: Result<()> = async {
        let session = lazy.abandon().await?;
        session.insert("fresh", 1)?;
        let cookie = manager.finish(&lazy, 200).await.into_result()?;
        let line = cookie.set_cookie().expect("a session began").to_owned();
        let pair = line.split(';').next().unwrap_or_default().to_owned();
        let session = manager.open(RequestInfo::new(pair)).load().await?;
        assert_eq!(session.get::<u8>("fresh")?, Some(1));
        Ok(())
    }
    .await;
    assert!(done.is_ok() || migrates, "{done:?}");
}

async fn owner(manager: &SessionManager) {
    let listed = manager.sessions_of("alice").await;
    for session in listed.iter().flatten() {
        let _ = (session.label(), session.created_at(), session.last_seen(), session.expires_at());
        let _ = manager.revoke("alice", session.handle()).await;
    }
    if let Err(error) = &listed {
        assert!(error.is_corrupt(), "{error}");
    }
    // Whatever the index held, its owner can log in, unless a later version wrote it.
    let lazy = manager.open(RequestInfo::new(()));
    let session = lazy.load().await.unwrap();
    session.login("alice").unwrap();
    match manager.finish(&lazy, 200).await.into_result() {
        Ok(_) => {
            let handle = session.handle();
            let listed = manager.sessions_of("alice").await.expect("the index was written");
            assert!(
                listed.iter().any(|listed| Some(listed.handle()) == handle),
                "alive and unlisted"
            );
            let _ = manager.revoke_all("alice").await.map(|ended| assert!(ended > 0));
        }
        Err(error) => assert!(error.is_corrupt(), "{error}"),
    }
}
