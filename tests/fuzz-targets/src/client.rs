//! Client-side sessions: no value that was not sealed here is anybody, what is sealed comes back,
//! and no cookie is larger than browsers keep.
//!
//! The first byte chooses what the rest is: cookie values as they are, bytes to be spelled in
//! base64url, an edit of a real cookie, or what to put into a session.

use std::cell::OnceCell;

use base64ct::{Base64UrlUnpadded, Encoding};
use mocha_session_core::{
    CookiePolicy, Level, MAX_COOKIE_BYTES, Message, RequestInfo, Secrets, Session, SessionManager,
    Storage,
};

use crate::block_on;
use crate::records::clock;

const SECRETS: &str = "a secret of the fuzzer with more than 32 bytes: 8x2KqLm0,an older secret of the same fuzzer: 0mLqK2x8";

struct App {
    manager: SessionManager,
    /// The value of a real cookie.
    real: String,
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((what, bytes)) = bytes.split_first() else { return };
    thread_local! {
        static APP: OnceCell<App> = const { OnceCell::new() };
    }
    APP.with(|app| {
        let app = app.get_or_init(App::new);
        block_on(async {
            match what % 4 {
                0 => app.stranger(bytes.to_vec()).await,
                1 => app.stranger(Base64UrlUnpadded::encode_string(bytes).into_bytes()).await,
                2 => app.edited(bytes).await,
                _ => app.filled(bytes).await,
            }
        });
    });
}

impl App {
    fn new() -> Self {
        let manager = SessionManager::builder(Storage::client_side())
            .secrets(Secrets::parse(SECRETS).unwrap())
            .cookie(CookiePolicy::named("c").secure(false))
            .clock(clock())
            .build()
            .unwrap();
        let cookie = block_on(manager.seed(|session| session.insert("real", true))).unwrap();
        Self { manager, real: cookie.strip_prefix("c=").unwrap().to_owned() }
    }

    async fn stranger(&self, value: Vec<u8>) {
        let header = [b"c=".as_slice(), &value].concat();
        let lazy = self.manager.open(RequestInfo::new(vec![header]));
        let session = lazy.load().await.expect("what we did not seal is no error");
        assert!(session.is_new() && session.is_empty() && session.owner().is_none());
        assert!(self.manager.finish(&lazy, 200).await.set_cookie().is_none());
    }

    /// Pairs of bytes: where in the real cookie, and what is there instead.
    async fn edited(&self, edits: &[u8]) {
        let mut value = self.real.clone().into_bytes();
        for edit in edits.chunks_exact(2) {
            let at = usize::from(edit[0]) % (value.len() + 1);
            match edit[1] {
                0 => value.truncate(at),
                byte if at == value.len() => value.push(byte),
                byte => value[at] = byte,
            }
        }
        if value != self.real.as_bytes() && !value.contains(&b';') && value.trim_ascii() == value {
            self.stranger(value).await;
        }
        // A forgery beside the real one hides nothing.
        let headers = vec![b"c=AQ".to_vec(), format!("c={}", self.real).into_bytes()];
        let session = self.manager.open(RequestInfo::new(headers)).load().await.unwrap();
        assert_eq!(session.get::<bool>("real").unwrap(), Some(true));
    }

    async fn filled(&self, bytes: &[u8]) {
        let lazy = self.manager.open(RequestInfo::new(()));
        let session = lazy.load().await.unwrap();
        let sizes = fill(&session, bytes);
        let before = shown(&session);
        let finished = self.manager.finish(&lazy, 200).await;
        if let Some(error) = finished.error() {
            assert!(error.is_too_large() && sizes > 1_500, "{error}: {sizes}");
            assert!(finished.set_cookie().is_none());
            return;
        }
        let Some(line) = finished.set_cookie() else {
            return assert!(session.is_empty() && session.owner().is_none());
        };
        let pair = line.split(';').next().unwrap();
        assert!(pair.len() - "=".len() <= MAX_COOKIE_BYTES, "{}", pair.len());
        let again = self.manager.open(RequestInfo::new(pair.to_owned()));
        let again = again.load().await.unwrap();
        let after = shown(&again);
        assert_eq!((after.0, after.1, after.2), (before.0, before.1, before.2));
    }
}

/// Puts into a session what the bytes say; about how many bytes that takes.
fn fill(session: &Session, bytes: &[u8]) -> usize {
    let mut total = 0;
    for (at, step) in bytes.chunks_exact(2).enumerate() {
        let text = "x".repeat(usize::from(step[1]) * 8);
        total += text.len() + 24;
        match step[0] % 8 {
            0..=2 => session.insert(format!("k{}", step[0] / 8), text).unwrap(),
            3 => drop(
                session.flash().push(Message::new(Level::Info, text).with_tag(format!("{at}"))),
            ),
            4 => drop(session.flash().set_data_for(&format!("s{}", step[0] / 8), &text)),
            5 => session.set_label(&text[..text.len().min(256)]).unwrap(),
            6 => session.login(format!("owner{}", step[1] % 2)).unwrap(),
            _ => drop(session.remove(format!("k{}", step[0] / 8)).unwrap()),
        }
    }
    total
}

fn shown(session: &Session) -> (Vec<(String, serde_json::Value)>, Option<String>, Option<String>) {
    (session.entries().unwrap(), session.owner(), session.label())
}
