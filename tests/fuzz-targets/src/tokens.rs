//! Tokens in a header, alone and beside cookies: never a panic, no store call for what is no token,
//! at most three for what is, and the session that an independent reading of the lines names.
//!
//! The first byte chooses the transport; the rest are header lines. One that begins with `>` is a
//! `Cookie` header, any other the header of tokens. The bytes 1 to 4 stand for the tokens of four
//! live sessions.

use std::cell::OnceCell;

use base64ct::{Base64UrlUnpadded, Encoding};
use mocha_session_core::{
    CookiePolicy, HeaderLines, RequestInfo, SessionManager, SessionToken, Transport,
};

use crate::block_on;
use crate::cookies::trimmed;
use crate::store::TestStore;

pub(crate) fn run(bytes: &[u8]) {
    let Some((transport, lines)) = bytes.split_first() else { return };
    thread_local! {
        static APPS: OnceCell<[App; 3]> = const { OnceCell::new() };
    }
    APPS.with(|apps| {
        let all = || [Kind::Bearer, Kind::Header, Kind::CookieOrBearer].map(App::new);
        let app = &apps.get_or_init(all)[usize::from(transport % 3)];
        block_on(app.check(lines));
    });
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bearer,
    Header,
    CookieOrBearer,
}

struct App {
    kind: Kind,
    manager: SessionManager,
    store: TestStore,
    /// The tokens of four live sessions.
    live: Vec<String>,
}

impl App {
    fn new(kind: Kind) -> Self {
        let store = TestStore::default();
        let transport = match kind {
            Kind::Bearer => Transport::bearer(),
            Kind::Header => Transport::header("x-session"),
            Kind::CookieOrBearer => Transport::cookie(CookiePolicy::named("sid")).or_bearer(),
        };
        let manager = SessionManager::builder(store.clone()).transport(transport).build().unwrap();
        let live = (0..4).map(|number| {
            let value = block_on(manager.seed(|session| session.insert("number", number))).unwrap();
            value.rsplit(['=', ' ']).next().unwrap().to_owned()
        });
        let live = live.collect();
        Self { kind, manager, store, live }
    }

    async fn check(&self, text: &[u8]) {
        let lines = text.split(|byte| *byte == b'\n').take(16).map(|line| self.substituted(line));
        let (cookies, tokens): (Vec<_>, Vec<_>) = lines.partition(|line| line.starts_with(b">"));
        let cookies: Vec<_> = cookies.into_iter().map(|line| line[1..].to_vec()).collect();
        let ids = self.ids(&cookies, &tokens);
        let lives: Vec<usize> = ids.iter().filter_map(|id| self.number(id)).collect();

        self.store.take_calls();
        let headers = HeaderLines::from_iter(cookies).tokens(tokens);
        let lazy = self.manager.open(RequestInfo::new(headers));
        let session = lazy.load_existing().await.expect("the store answers");
        assert_eq!(self.store.take_calls(), (ids.len(), 0), "a read per id, of three at most");
        let expected = lives.first().copied().filter(|_| lives.len() == 1);
        let number = session.as_ref().map(|it| it.get::<usize>("number").unwrap().unwrap());
        assert_eq!(number, expected);
        let token = session.and_then(|session| session.token());
        assert_eq!(token.as_ref().map(SessionToken::as_str), expected.map(|it| &*self.live[it]));

        let finished = self.manager.finish(&lazy, 200).await;
        assert!(finished.error().is_none());
        assert!(finished.set_cookie().is_none() && finished.session_token().is_none());
        assert_eq!(self.store.take_calls(), (0, 0), "nothing is written");
    }

    fn substituted(&self, line: &[u8]) -> Vec<u8> {
        let text = |byte: &u8| match byte {
            1..=4 => self.live[usize::from(byte - 1)].as_bytes().to_vec(),
            _ => vec![*byte],
        };
        line.iter().flat_map(text).collect()
    }

    /// The first three ids of the lines, tokens first.
    fn ids(&self, cookies: &[Vec<u8>], tokens: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let tokens = tokens.iter().filter_map(|line| self.token(line));
        let pairs = cookies.iter().flat_map(|line| line.split(|byte| *byte == b';'));
        let pairs = pairs.filter(|_| self.kind == Kind::CookieOrBearer);
        let values = pairs.filter_map(|pair| Some(trimmed(trimmed(pair).strip_prefix(b"sid=")?)));
        let mut ids: Vec<Vec<u8>> = Vec::new();
        for value in tokens.chain(values) {
            let text = String::from_utf8_lossy(value);
            let is_id = value.len() == 43 && Base64UrlUnpadded::decode_vec(&text).is_ok();
            if is_id && ids.len() < 3 && ids.iter().all(|known| known != value) {
                ids.push(value.to_owned());
            }
        }
        ids
    }

    fn token<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let line = trimmed(line);
        if self.kind == Kind::Header {
            return Some(line);
        }
        let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (scheme, rest) = line.split_at(space);
        scheme.eq_ignore_ascii_case(b"bearer").then(|| trimmed(rest))
    }

    fn number(&self, id: &[u8]) -> Option<usize> {
        self.live.iter().position(|live| live.as_bytes() == id)
    }
}
