//! The hunt for leaks: no id, key, secret or data in the store, in `Debug`, or in an error.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::fmt::Debug;

use mocha_session_core::store::{
    Bytes, KeySpace, Revision, ScanCursor, ScanPage, SessionStore, StorageKey, Stored, SweepReport,
};
use mocha_session_core::{
    CookiePolicy, Error, ErrorKind, HeaderLines, Level, Message, Migrating, RequestInfo, Secrets,
    SessionManager, Storage, Transport,
};
use support::{App, Browser, Fault};

const SECRET: &str = "hunter2-the-secret-that-signs-0123456789";
const DATA: &str = "hunter2-the-data";
const OWNER: &str = "hunter2-the-owner";
const FLASH: &str = "hunter2-the-flash";
const LABEL: &str = "hunter2-the-label";

/// An app whose session holds one of everything that must not leak, and its cookie.
async fn full() -> (App, Browser) {
    let app = App::with(|rules| rules.secrets(Secrets::parse(SECRET).unwrap()));
    let mut browser = Browser::new();
    browser
        .request(&app.manager, |session| {
            session.insert("key", DATA).unwrap();
            session.set_label(LABEL).unwrap();
            session.flash().info(FLASH).unwrap().set_data(FLASH).unwrap();
            session.login(OWNER).unwrap();
        })
        .await;
    (app, browser)
}

fn id_of(browser: &Browser) -> String {
    browser.header().split(['=', '.']).nth(1).unwrap().to_owned()
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn the_stores_whole_content_holds_no_id_and_no_plaintext() {
    let (app, mut browser) = full().await;
    let mut ids = vec![id_of(&browser)];
    let mut dumps = app.store.dump();
    for change in ["write", "rotate", "empty", "destroy"] {
        browser
            .request_status(&app.manager, 303, |session| match change {
                "write" => session.insert("key", [DATA, DATA]).unwrap(),
                "rotate" => session.rotate().unwrap(),
                "empty" => session.clear().unwrap(),
                _ => session.destroy().unwrap(),
            })
            .await;
        dumps.extend(app.store.dump());
        if browser.cookie.is_some() {
            ids.push(id_of(&browser));
        }
    }
    assert!(dumps.len() > 1000 && ids.len() == 4);
    for id in &ids {
        let raw = decoded(id);
        assert!(
            !holds(&dumps, id.as_bytes())
                && !holds(&dumps, &raw)
                && !holds(&dumps, hex(&raw).as_bytes())
        );
    }
    for text in ["hunter2", "key", "alice", DATA, OWNER, FLASH, LABEL, SECRET] {
        assert!(!holds(&dumps, text.as_bytes()), "{text}");
    }
    // The hunt finds what it looks for where sealing is switched off by name.
    let unsealed =
        app.process_with(mocha_session_core::SessionManagerBuilder::dangerously_unsealed);
    unsealed.seed(|session| session.insert("key", DATA)).await.unwrap();
    assert!(holds(&app.store.dump(), DATA.as_bytes()));
    assert!(!browser.is_live(&app.manager).await);
}

#[tokio::test]
async fn an_unsealed_record_is_not_read_where_records_are_sealed() {
    let app = App::new();
    let unsealed =
        app.process_with(mocha_session_core::SessionManagerBuilder::dangerously_unsealed);
    let cookie = unsealed.seed(|session| session.insert("a", 1)).await.unwrap();
    let browser = Browser { cookie: Some(cookie) };
    assert!(browser.open(&app.manager).load().await.unwrap_err().is_corrupt());
    assert_eq!(browser.get::<u8>(&unsealed, "a").await, Some(1));
}

/// base64url, for a test that must not trust the library's own.
fn decoded(id: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for c in id.bytes() {
        bits = bits << 6 | u32::try_from(alphabet.iter().position(|&a| a == c).unwrap()).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    assert_eq!(out.len(), 32);
    out
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// What somebody prints of the library, and what must not be in it.
struct Hunt {
    secrets: Vec<String>,
    looked_at: usize,
}

impl Hunt {
    fn in_text(&mut self, what: &str, text: &str) {
        self.looked_at += 1;
        for secret in &self.secrets {
            assert!(!text.contains(secret.as_str()), "{what} shows {secret}: {text}");
        }
    }

    fn in_debug(&mut self, what: &impl Debug) {
        let name = std::any::type_name_of_val(what);
        self.in_text(name, &format!("{what:?}"));
        self.in_text(name, &format!("{what:#?}"));
    }

    fn in_error(&mut self, error: &Error) {
        self.in_debug(error);
        self.in_text("an error", &error.to_string());
    }
}

async fn hunt() -> (App, Browser, Hunt) {
    let (app, browser) = full().await;
    let id = id_of(&browser);
    let signature = browser.header().split('.').nth(1).unwrap().to_owned();
    let raw = decoded(&id);
    let mut secrets = vec![
        "hunter2".to_owned(),
        signature,
        hex(&raw),
        format!("{:?}", &raw[..8]).replace(['[', ']'], ""),
        id,
    ];
    for (key, value) in app.store.snapshot() {
        secrets.push(key.to_string());
        secrets.push(hex(&value[50..60]));
        secrets.push(format!("{:?}", &key.as_bytes()[..6]).replace(['[', ']'], ""));
        secrets.push(
            format!("{:?}", Bytes::copy_from_slice(&value[50..60]))
                .replace("b\"", "")
                .replace('"', ""),
        );
    }
    // Bytes as MessagePack and as numbers.
    secrets.push(format!("{:?}", DATA.as_bytes()).replace(['[', ']'], ""));
    secrets.push(format!("{:?}", FLASH.as_bytes()).replace(['[', ']'], ""));
    (app, browser, Hunt { secrets, looked_at: 0 })
}

#[tokio::test]
async fn debug_of_no_public_type_shows_an_id_a_key_a_secret_or_data() {
    let (app, browser, mut hunt) = hunt().await;
    let lazy = browser.open(&app.manager);
    hunt.in_debug(&lazy);
    let session = lazy.load().await.unwrap();
    session.insert("more", DATA).unwrap();
    hunt.in_debug(&RequestInfo::new(browser.header()));
    hunt.in_debug(&lazy);
    hunt.in_debug(&session);
    hunt.in_debug(&*session);
    hunt.in_debug(&session.flash());
    hunt.in_debug(&session.flash().peek());
    hunt.in_debug(&Message::new(Level::Info, FLASH).with_tag(FLASH).with_data(FLASH).unwrap());
    hunt.in_debug(&session.detached());
    hunt.in_debug(&session.detached().load().await.unwrap().unwrap());
    hunt.in_text("a fingerprint", &session.fingerprint().unwrap());
    session.rotate().unwrap();
    session.commit().await.unwrap();
    hunt.in_debug(&session);
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(headers.set_cookie().is_some());
    hunt.in_debug(&headers);
    hunt.in_debug(&app.manager.sessions_of(OWNER).await.unwrap());
    hunt.in_debug(&app.manager);
    hunt.in_debug(app.manager.storage());
    hunt.in_debug(app.manager.capabilities());
    let secrets = Secrets::parse(SECRET).unwrap();
    hunt.in_debug(&secrets);
    hunt.in_debug(&Storage::client_side().with_secrets(secrets.clone()));
    hunt.in_debug(
        &SessionManager::builder(Storage::client_side())
            .secrets(secrets)
            .cookie(CookiePolicy::new()),
    );
    hunt.in_debug(&Migrating::new(app.store.clone(), app.store.clone()));
    for (key, value) in app.store.snapshot() {
        hunt.in_debug(&key);
        let stored = Stored::new(value.clone(), Revision::from(1));
        hunt.in_debug(&stored);
        hunt.in_debug(&ScanPage::new(vec![(key, stored)], Some(ScanCursor::new(key.to_string()))));
        hunt.in_debug(&SweepReport::new(1, 1, Some(ScanCursor::new(key.to_string()))));
    }
    hunt.in_debug(&app.store.scan(None, 10).await.unwrap());
    hunt.in_debug(&KeySpace::new("app:").unwrap());
    assert!(hunt.looked_at > 50);
}

#[tokio::test]
async fn no_error_shows_an_id_a_key_a_secret_or_data() {
    let (app, browser, mut hunt) = hunt().await;
    let weak = format!("{SECRET},hunter2");
    hunt.in_error(&Secrets::parse(&weak).unwrap_err());
    for kind in
        [ErrorKind::Unavailable, ErrorKind::Ambiguous, ErrorKind::Timeout, ErrorKind::Denied]
    {
        let lazy = browser.open(&app.manager);
        app.store.on("load", 0, Fault::Fail(kind));
        hunt.in_error(&lazy.load().await.unwrap_err());
    }
    let (lazy, session) = browser.start(&app.manager).await;
    hunt.in_error(&session.get::<u8>("key").unwrap_err());
    hunt.in_error(&session.take::<Vec<u8>>("key").unwrap_err());
    hunt.in_error(&session.flash().take_data::<u8>().unwrap_err());
    hunt.in_error(&session.update("key", |n: Option<u8>| n.unwrap_or(0)).unwrap_err());
    hunt.in_error(&session.set_label(LABEL.repeat(20)).unwrap_err());
    hunt.in_error(&session.login(OWNER.repeat(20)).unwrap_err());
    hunt.in_error(&session.insert(format!("__{DATA}"), 1).unwrap_err());
    assert_eq!(session.take::<String>("key").unwrap().as_deref(), Some(DATA));
    browser
        .clone()
        .request(
            &app.process_with(|rules| rules.secrets(Secrets::parse(SECRET).unwrap())),
            |session| session.remove("key"),
        )
        .await
        .unwrap();
    hunt.in_error(&app.manager.finish(&lazy, 200).await.into_result().unwrap_err());
    hunt.in_error(&session.insert("late", DATA).unwrap_err());
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("key", DATA.repeat(100_000)).unwrap();
    hunt.in_error(&app.manager.finish(&lazy, 200).await.into_result().unwrap_err());
    let (_, session) = browser.start(&app.manager).await;
    browser.clone().request(&app.manager, |session| session.destroy()).await.unwrap();
    session.insert("key", DATA).unwrap();
    hunt.in_error(&session.commit().await.unwrap_err());
    let (app, browser) = full().await;
    app.store.tamper(|record| record[60] ^= 1);
    hunt.in_error(&browser.open(&app.manager).load().await.unwrap_err());
    app.store.tamper(|record| record[1] = 9);
    hunt.in_error(&browser.open(&app.manager).load().await.unwrap_err());
    hunt.in_error(&app.manager.sessions_of(OWNER).await.unwrap_err());
    assert!(StorageKey::parse("hunter2").is_none());
    assert!(hunt.looked_at > 50);
}

#[tokio::test]
async fn a_token_in_a_header_shows_in_no_debug_and_not_in_the_store() {
    let rules = |rules: mocha_session_core::SessionManagerBuilder| {
        rules.secrets(Secrets::parse(SECRET).unwrap()).transport(Transport::bearer())
    };
    let app = App::with(rules);
    let line = app.manager.seed(|session| session.login(OWNER)).await.unwrap();
    let token = line.strip_prefix("Bearer ").unwrap().to_owned();
    let (id, signature) = token.split_once('.').unwrap();
    let secrets = [id, signature, &token, "hunter2"].map(str::to_owned).to_vec();
    let mut hunt = Hunt { secrets, looked_at: 0 };

    let headers: HeaderLines<String> = HeaderLines::default().tokens([line]);
    hunt.in_debug(&headers);
    let info = RequestInfo::new(headers);
    hunt.in_debug(&info);
    let lazy = app.manager.open(info);
    let session = lazy.load().await.unwrap();
    assert_eq!(session.token().unwrap().as_str(), token);
    hunt.in_debug(&session.token().unwrap());
    hunt.in_debug(&session);
    session.rotate().unwrap();
    session.commit().await.unwrap();
    hunt.secrets.push(session.token().unwrap().into_string());
    let finished = app.manager.finish(&lazy, 200).await;
    hunt.in_debug(&finished);
    let headers = finished.into_result().unwrap();
    assert_eq!(headers.session_token(), hunt.secrets.last().map(String::as_str));
    hunt.in_debug(&headers);
    hunt.in_debug(&app.manager);
    assert_eq!(hunt.looked_at, 14);

    let dump = app.store.dump();
    for text in &hunt.secrets {
        assert!(!holds(&dump, text.as_bytes()));
    }
}
