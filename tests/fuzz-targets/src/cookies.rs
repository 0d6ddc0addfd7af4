//! `Cookie` headers over a store: never a panic, no store call for what is no id, at most three for
//! what is, and the session that an independent reading of the headers names.
//!
//! The first byte chooses the rules; the rest are headers, a line each. In them the bytes 1 to 4
//! stand for the ids of four live sessions.

use std::cell::OnceCell;

use base64ct::{Base64UrlUnpadded, Encoding};
use mocha_session_core::{CookiePolicy, RequestInfo, Secrets, SessionManager};

use crate::block_on;
use crate::store::TestStore;

const SECRET: &str = "a secret of the fuzzer with more than 32 bytes: 8x2KqLm0";

pub(crate) fn run(bytes: &[u8]) {
    let Some((rules, headers)) = bytes.split_first() else { return };
    thread_local! {
        static APPS: OnceCell<Vec<App>> = const { OnceCell::new() };
    }
    APPS.with(|apps| {
        let all = || (0..3).map(App::new).collect();
        let app = &apps.get_or_init(all)[usize::from(rules % 3)];
        block_on(app.check(rules & 0x80 != 0, headers));
    });
}

struct App {
    manager: SessionManager,
    store: TestStore,
    /// The cookie values of four live sessions.
    live: Vec<String>,
    signs: bool,
    accepts_unsigned: bool,
}

impl App {
    fn new(kind: usize) -> Self {
        let (signs, accepts_unsigned) = (kind > 0, kind != 1);
        let store = TestStore::default();
        let mut rules = SessionManager::builder(store.clone()).accept_unsigned(accepts_unsigned);
        if signs {
            rules =
                rules.secrets(Secrets::parse(SECRET).unwrap()).cookie(CookiePolicy::named("sid"));
        }
        let manager = rules.build().unwrap();
        let live = (0..4).map(|number| {
            let cookie =
                block_on(manager.seed(|session| session.insert("number", number))).unwrap();
            cookie.split_once('=').unwrap().1.to_owned()
        });
        let live = live.collect();
        Self { manager, store, live, signs, accepts_unsigned }
    }

    async fn check(&self, head: bool, text: &[u8]) {
        let headers: Vec<Vec<u8>> =
            text.split(|byte| *byte == b'\n').take(16).map(|line| self.substituted(line)).collect();
        let ids = self.ids(&headers);
        let lives: Vec<usize> = ids.iter().filter_map(|(_, number)| *number).collect();
        let stale = self.signs && ids.iter().any(|(signed, _)| !signed);

        self.store.take_calls();
        let lazy = self.manager.open(RequestInfo::new(headers).head(head));
        assert_eq!(self.store.take_calls(), (0, 0), "opened without a call");
        let session = lazy.load_existing().await.expect("the store answers");
        assert_eq!(self.store.take_calls(), (ids.len(), 0), "a read per id, of three at most");
        let number =
            session.as_ref().map(|session| session.get::<usize>("number").unwrap().unwrap());
        assert_eq!(number, lives.first().copied().filter(|_| lives.len() == 1));

        let finished = self.manager.finish(&lazy, 200).await;
        assert!(finished.error().is_none());
        // A cookie without a signature is signed; nothing else is said or written.
        let resigns = stale && number.is_some();
        assert!(resigns || finished.set_cookie().is_none());
        assert!(resigns || self.store.take_calls() == (0, 0));
    }

    fn substituted(&self, line: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(line.len());
        for byte in line {
            match byte {
                1..=4 => out.extend_from_slice(self.live[usize::from(byte - 1)].as_bytes()),
                // Without its signature, where it has one.
                5..=8 => out.extend_from_slice(&self.live[usize::from(byte - 5)].as_bytes()[..43]),
                _ => out.push(*byte),
            }
        }
        out
    }

    /// The first three ids: whether each was signed, and which live session it names.
    fn ids(&self, headers: &[Vec<u8>]) -> Vec<(bool, Option<usize>)> {
        let name = self.manager.cookie_name().unwrap_or_default().as_bytes();
        let mut ids: Vec<(Vec<u8>, bool)> = Vec::new();
        for pair in headers.iter().flat_map(|header| header.split(|byte| *byte == b';')) {
            let pair = trimmed(pair);
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
            if &pair[..equals] != name {
                continue;
            }
            let value = trimmed(&pair[equals + 1..]);
            let signed = self.live.iter().any(|live| self.signs && live.as_bytes() == value);
            let known = signed || (self.accepts_unsigned && value.len() == 43);
            let id = value.get(..43).unwrap_or_default();
            let is_id =
                known && Base64UrlUnpadded::decode_vec(&String::from_utf8_lossy(id)).is_ok();
            if is_id && ids.len() < 3 && ids.iter().all(|(own, _)| own != id) {
                ids.push((id.to_owned(), signed));
            }
        }
        let number = |id: &[u8]| self.live.iter().position(|live| &live.as_bytes()[..43] == id);
        ids.iter().map(|(id, signed)| (*signed, number(id))).collect()
    }
}

/// Without spaces and tabs around it.
pub(crate) fn trimmed(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = text.split_first() {
        text = rest;
    }
    while let Some((b' ' | b'\t', rest)) = text.split_last() {
        text = rest;
    }
    text
}
