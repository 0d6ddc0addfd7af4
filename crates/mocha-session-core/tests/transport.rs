//! Sessions whose id travels in a header: what a response carries, and which requests are whose.
// tidy: long because the rules of one transport are read together

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::borrow::Cow;
use std::time::Duration;

use mocha_session_core::{
    CookiePolicy, HeaderChanges, HeaderLines, HeaderSink, LazySession, RequestInfo, Secrets,
    Session, SessionManager, Storage, Transport,
};
use support::{App, Browser, Calls, listed};

const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn bearer() -> App {
    App::with(|rules| rules.transport(Transport::bearer()))
}

fn both() -> App {
    App::with(|rules| rules.transport(Transport::default().or_bearer()))
}

/// A client that keeps a token, and maybe a cookie.
#[derive(Clone, Default)]
struct Client {
    token: Option<String>,
    browser: Browser,
}

impl Client {
    fn lines(&self) -> HeaderLines<String> {
        let cookies: HeaderLines<String> = self.browser.cookie.clone().into_iter().collect();
        cookies.tokens(self.token.iter().map(|token| format!("Bearer {token}")))
    }

    fn open(&self, manager: &SessionManager) -> LazySession {
        manager.open(RequestInfo::new(self.lines()))
    }

    async fn request_status<T>(
        &mut self,
        manager: &SessionManager,
        status: u16,
        handler: impl FnOnce(&Session) -> T,
    ) -> (T, HeaderChanges) {
        let lazy = self.open(manager);
        let answer = handler(&lazy.load().await.unwrap());
        let headers = manager.finish(&lazy, status).await.into_result().unwrap();
        if let Some(token) = headers.session_token() {
            self.token = Some(token.to_owned()).filter(|token| !token.is_empty());
        }
        self.browser.take(&headers);
        (answer, headers)
    }

    /// The token that the response carries, if it carries one.
    async fn request<T>(
        &mut self,
        app: &App,
        handler: impl FnOnce(&Session) -> T,
    ) -> Option<String> {
        let (_, headers) = self.request_status(&app.manager, 200, handler).await;
        assert_eq!(headers.set_cookie(), None);
        headers.session_token().map(ToOwned::to_owned)
    }

    async fn is_live(&self, app: &App) -> bool {
        self.open(&app.manager).load_existing().await.unwrap().is_some()
    }
}

async fn begun(app: &App) -> Client {
    let mut client = Client::default();
    assert!(client.request(app, |session| session.insert("a", 1).unwrap()).await.is_some());
    client
}

/// A response's headers.
#[derive(Default)]
struct Headers(Vec<(String, String)>);

impl HeaderSink for Headers {
    fn get_all(&self, name: &str, f: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|(own, _)| own == name).for_each(|(_, value)| f(value.as_bytes()));
    }
    fn append(&mut self, name: &str, value: Cow<'static, str>) {
        self.0.push((name.to_owned(), value.into_owned()));
    }
    fn set(&mut self, name: &str, value: Cow<'static, str>) {
        self.0.retain(|(own, _)| own != name);
        self.append(name, value);
    }
}

impl Headers {
    fn of(changes: &HeaderChanges) -> String {
        let mut headers = Self::default();
        changes.clone().apply(&mut headers);
        let lines = headers.0.iter().map(|(name, value)| match value.len() {
            43.. => format!("{name}=TOKEN"),
            _ => format!("{name}={value}"),
        });
        lines.collect::<Vec<_>>().join(" ")
    }
}

#[tokio::test]
async fn begin_rotate_login_and_logout_carry_the_token_and_a_read_or_write_does_not() {
    let app = bearer();
    let mut client = begun(&app).await;
    let first = client.clone();
    for quiet in [
        (|session| assert_eq!(session.get::<u8>("a").unwrap(), Some(1))) as fn(&Session),
        |session| session.insert("b", 2).unwrap(),
        |session| session.flash().info("saved").map(|_| ()).unwrap(),
    ] {
        assert_eq!(client.request(&app, quiet).await, None);
    }
    for renews in [(|session| session.rotate().unwrap()) as fn(&Session), |session| {
        session.login("alice").unwrap();
    }] {
        let before = client.clone();
        let token = client.request(&app, renews).await.unwrap();
        assert!(token.len() == 43 && Some(&token) != before.token.as_ref());
        assert!(client.is_live(&app).await && !before.is_live(&app).await);
    }
    let last = client.clone();
    assert_eq!(client.request(&app, |session| session.destroy().unwrap()).await.unwrap(), "");
    assert_eq!(client.token, None);
    assert!(!last.is_live(&app).await && !first.is_live(&app).await);
}

#[tokio::test]
async fn a_response_has_vary_and_caching_of_the_header_and_no_cookie() {
    let app = bearer();
    let mut client = Client::default();
    let act = |action: fn(&Session)| action;
    for (action, lines) in [
        (act(|_| ()), "vary=Authorization cache-control=private"),
        (
            |session| session.insert("a", 1).unwrap(),
            "vary=Authorization session-token=TOKEN cache-control=no-store",
        ),
        (|session| assert!(session.contains("a")), "vary=Authorization cache-control=private"),
        (
            |session| session.clear().unwrap(),
            "vary=Authorization session-token= cache-control=no-store",
        ),
    ] {
        let ((), headers) = client.request_status(&app.manager, 200, action).await;
        assert_eq!(Headers::of(&headers), lines);
    }
    let untouched = client.open(&app.manager);
    assert!(app.manager.finish(&untouched, 200).await.into_result().unwrap().is_none());
    let named = Transport::header("X-Shop-Token").response_header("x-shop-token");
    let app = App::with(|rules| rules.transport(named));
    let ((), headers) =
        client.request_status(&app.manager, 200, |session| session.insert("a", 1).unwrap()).await;
    assert_eq!(
        Headers::of(&headers),
        "vary=X-Shop-Token x-shop-token=TOKEN cache-control=no-store"
    );
}

#[tokio::test]
async fn a_refresh_moves_the_deadline_and_carries_no_token() {
    let app = bearer();
    let mut client = begun(&app).await;
    for _ in 0..20 {
        app.clock.advance(3 * DAY);
        app.store.reset_calls();
        let token = client.request(&app, |session| assert!(session.contains("a"))).await;
        assert_eq!(token, None);
        assert_eq!(app.store.calls(), Calls { load: 1, create: 0, update: 1, delete: 0 });
        // Where nothing is due, nothing is written: there is no deadline to tell.
        client.request(&app, |session| assert!(session.contains("a"))).await;
        assert_eq!(app.store.calls(), Calls { load: 2, create: 0, update: 1, delete: 0 });
    }
    app.clock.advance(15 * DAY);
    assert!(!client.is_live(&app).await, "expired");
    let expired = client.clone();
    assert!(client.request(&app, |session| session.insert("a", 2).unwrap()).await.is_some());
    assert_ne!(client.token, expired.token, "an unknown token is not adopted");
}

#[tokio::test]
async fn a_revoked_token_is_unknown_and_its_client_gets_another() {
    let app = bearer();
    let mut client = Client::default();
    client.request(&app, |session| session.login("alice").unwrap()).await;
    assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 1);
    let revoked = client.token.clone();
    assert_eq!(client.request(&app, |session| assert!(session.is_new())).await, None);
    assert!(client.request(&app, |session| session.insert("a", 1).unwrap()).await.is_some());
    assert_ne!(client.token, revoked);
    assert_eq!(listed(&app.manager, "alice").await, 0);
}

#[tokio::test]
async fn a_request_that_a_rotation_login_or_logout_has_crossed_carries_no_token() {
    for ends in [
        (|session| session.rotate().unwrap()) as fn(&Session),
        |session| session.login("alice").unwrap(),
        |session| session.destroy().unwrap(),
    ] {
        let app = bearer();
        let mut client = begun(&app).await;
        let mut late = client.clone();
        client.request(&app, ends).await;
        let sessions = app.store.sessions();
        assert_eq!(late.request(&app, |session| session.insert("b", 2).unwrap()).await, None);
        assert_eq!(app.store.sessions(), sessions, "nothing is stored");
        let fresh = late.request(&app, |session| session.login("bob").unwrap()).await;
        assert!(fresh.is_some() && fresh != client.token, "a login starts fresh");
    }
}

#[tokio::test]
async fn hostile_headers_are_nobody_and_cost_no_store_call() {
    let app = bearer();
    let token = begun(&app).await.token.unwrap();
    let long = "A".repeat(1 << 20);
    let nobody = [
        vec![format!("Bearer {long}")],
        vec![format!("Bearer {token}A")],
        vec![format!("Bearer {}", &token[1..])],
        vec![format!("Bearer {token}, Bearer {token}")],
        vec![format!("Bearer\t{token}")],
        vec![format!("Basic {token}")],
        vec![format!("Token {token}")],
        vec![token.clone()],
        vec![format!("Bearer \u{e9}{token}")],
        vec!["Bearer ../../etc/passwd".to_owned(), "Bearer \0".to_owned(), String::new()],
    ];
    app.store.reset_calls();
    for lines in nobody {
        let lazy = app.manager.open(RequestInfo::new(HeaderLines::default().tokens(lines.clone())));
        assert!(lazy.load_existing().await.unwrap().is_none(), "{}", lines[0].len());
    }
    // A cookie of whatever name is no token.
    for cookie in [format!("session={token}"), format!("bearer={token}")] {
        let lazy = app.manager.open(RequestInfo::new(cookie));
        assert!(lazy.load_existing().await.unwrap().is_none());
    }
    assert_eq!(app.store.calls().all(), 0);
    for lines in [
        vec![format!("bearer {token}")],
        vec![format!("BEARER  {token} ")],
        vec!["Basic YTpi".to_owned(), format!("Bearer {token}")],
        vec![format!("Bearer {token}"), format!("Bearer {token}")],
        vec!["Bearer unknown".to_owned(), format!("Bearer {token}")],
    ] {
        let lazy = app.manager.open(RequestInfo::new(HeaderLines::default().tokens(lines.clone())));
        assert!(lazy.load_existing().await.unwrap().is_some(), "{lines:?}");
    }
    // As with cookies: of two live sessions neither.
    let other = begun(&app).await.token.unwrap();
    let lines = [format!("Bearer {token}"), format!("Bearer {other}")];
    let lazy = app.manager.open(RequestInfo::new(HeaderLines::default().tokens(lines)));
    assert!(lazy.load_existing().await.unwrap().is_none());
}

#[tokio::test]
async fn with_both_transports_the_answer_goes_where_the_session_came_from() {
    let app = both();
    // A browser, which sends no header of ours.
    let mut browser = Client::default();
    let (_, headers) =
        browser.request_status(&app.manager, 200, |session| session.login("alice")).await;
    assert!(headers.set_cookie().is_some() && headers.session_token().is_none());
    let lines = Headers::of(&headers);
    assert!(lines.starts_with("vary=Cookie vary=Authorization set-cookie="), "{lines}");
    // A client that says that it has no token yet.
    let mut client = Client { token: Some(String::new()), ..Client::default() };
    assert!(client.request(&app, |session| session.login("bob").unwrap()).await.is_some());
    assert!(client.request(&app, |session| session.rotate().unwrap()).await.is_some());
    let (_, headers) = browser.request_status(&app.manager, 200, |session| session.rotate()).await;
    assert!(headers.set_cookie().is_some() && headers.session_token().is_none());
    for (who, owner) in [(&browser, "alice"), (&client, "bob")] {
        assert_eq!(who.open(&app.manager).load().await.unwrap().owner().as_deref(), Some(owner));
    }
    assert_eq!(client.request(&app, |session| session.destroy().unwrap()).await.unwrap(), "");
    let (_, headers) = browser.request_status(&app.manager, 200, |session| session.destroy()).await;
    assert!(headers.set_cookie().unwrap().contains("Max-Age=0"));
}

/// A client whose cookie and token are one session: an app returned the token in a body.
async fn twofold(app: &App) -> Client {
    let mut client = Client::default();
    let lazy = client.open(&app.manager);
    let session = lazy.load().await.unwrap();
    session.login("alice").unwrap();
    assert_eq!(session.token(), None, "the login is not committed");
    session.commit().await.unwrap();
    client.token = session.token().map(|token| token.into_string());
    client.browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert!(client.token.is_some() && client.browser.cookie.is_some());
    client
}

#[tokio::test]
async fn a_cookie_and_a_token_of_one_session_are_that_session_and_both_are_told() {
    let app = both();
    let mut client = twofold(&app).await;
    app.store.reset_calls();
    let owner = client.open(&app.manager).load().await.unwrap().owner();
    assert_eq!((owner.as_deref(), app.store.calls().all()), (Some("alice"), 1));
    let (_, headers) = client.request_status(&app.manager, 200, |session| session.rotate()).await;
    let token = headers.session_token().unwrap();
    assert!(headers.set_cookie().unwrap().starts_with(&format!("__Host-session={token};")));
    let (_, headers) = client.request_status(&app.manager, 200, |session| session.destroy()).await;
    assert!(headers.set_cookie().unwrap().contains("Max-Age=0"));
    assert_eq!(headers.session_token(), Some(""));
}

#[tokio::test]
async fn a_cookie_and_a_token_of_two_sessions_are_nobody_until_a_login_or_logout_ends_both() {
    for logs_in in [true, false] {
        let app = both();
        let (planted, own) = (twofold(&app).await, twofold(&app).await);
        let mut client = Client { token: own.token.clone(), browser: planted.browser.clone() };
        let before = app.store.snapshot().len();
        let ((), headers) = client
            .request_status(&app.manager, 200, |session| {
                assert!(session.is_new() && session.owner().is_none());
                session.insert("a", 1).unwrap();
                session.rotate().unwrap();
            })
            .await;
        assert!(headers.set_cookie().is_none() && headers.session_token().is_none());
        assert_eq!(app.store.snapshot().len(), before, "nothing is stored");
        let (_, headers) = client
            .request_status(&app.manager, 200, |session| {
                if logs_in { session.login("bob") } else { session.destroy() }
            })
            .await;
        assert!(headers.set_cookie().is_some(), "the cookie comes first");
        assert!(!planted.is_live(&app).await && !own.is_live(&app).await);
        // The next request is unambiguous, although the client still sends its dead token.
        client.token = own.token.clone();
        let session = client.open(&app.manager).load().await.unwrap();
        assert_eq!(session.owner().as_deref(), logs_in.then_some("bob"));
    }
}

#[tokio::test]
async fn a_refresh_by_header_is_not_told_to_the_cookie_of_the_same_session_until_it_comes() {
    let app = both();
    let client = twofold(&app).await;
    let mut by_header = Client { token: client.token.clone(), ..Client::default() };
    let mut by_cookie = Client { browser: client.browser.clone(), ..Client::default() };
    app.clock.advance(3 * DAY);
    assert_eq!(by_header.request(&app, |session| drop(session.owner())).await, None);
    let (_, headers) = by_cookie.request_status(&app.manager, 200, |session| session.owner()).await;
    let line = headers.set_cookie().unwrap();
    assert!(line.contains("Max-Age=1209600") && headers.session_token().is_none(), "{line}");
}

#[tokio::test]
async fn an_emptied_session_is_told_and_a_client_that_goes_on_with_it_is_told_again() {
    for app in [bearer(), both()] {
        let mut client = Client { token: Some(String::new()), ..Client::default() };
        client.request(&app, |session| session.insert("a", 1).unwrap()).await.unwrap();
        let kept = client.token.clone();
        assert_eq!(client.request(&app, |session| session.clear().unwrap()).await.unwrap(), "");
        client.token = kept.clone();
        assert_eq!(client.request(&app, |session| session.insert("b", 2).unwrap()).await, kept);
        assert_eq!(client.request(&app, |session| session.insert("b", 3).unwrap()).await, None);
    }
}

#[tokio::test]
async fn a_signed_token_is_signed_anew_with_the_first_secret_when_it_is_refreshed() {
    let signed = |secrets: &str| Secrets::parse(secrets).unwrap();
    for write in [false, true] {
        let app = App::with(|rules| rules.transport(Transport::bearer()).secrets(signed(OLD)));
        let next = app.process_with(|rules| {
            rules.transport(Transport::bearer()).secrets(signed(&format!("{NEW},{OLD}")))
        });
        let last =
            app.process_with(|rules| rules.transport(Transport::bearer()).secrets(signed(NEW)));
        let mut client = begun(&app).await;
        let old = client.token.clone().unwrap();
        assert_eq!(old.len(), 43 + 1 + 22);
        let ((), headers) = client
            .request_status(&next, 200, |session| {
                if write {
                    session.insert("b", 2).unwrap();
                } else {
                    assert!(session.contains("a"));
                }
            })
            .await;
        let new = headers.session_token().unwrap();
        assert!(new[..43] == old[..43] && new != old, "the same id under another signature");
        assert!(client.open(&last).load_existing().await.unwrap().is_some(), "{write}");
        let forged = Client { token: Some(old[..43].to_owned()), ..Client::default() };
        assert!(!forged.is_live(&app).await, "an id without its signature");
    }
}

#[tokio::test]
async fn a_client_side_session_travels_in_a_header_and_its_token_changes_with_it() {
    let clock = mocha_session_core::ManualClock::new();
    let builder = || {
        let storage = Storage::client_side().with_secrets(Secrets::parse(OLD).unwrap());
        SessionManager::builder(storage).clock(clock.clone())
    };
    let manager = builder().transport(Transport::bearer()).build().unwrap();
    let mut client = Client::default();
    let (_, headers) = client.request_status(&manager, 200, |s| s.insert("a", 1)).await;
    assert!(headers.set_cookie().is_none() && headers.session_token().is_some());
    let (_, headers) = client.request_status(&manager, 200, |s| s.insert("a", 2)).await;
    assert!(headers.session_token().is_some(), "a change is a new token");
    let (a, headers) = client.request_status(&manager, 200, |s| s.get::<u8>("a").unwrap()).await;
    assert_eq!((a, headers.session_token()), (Some(2), None));
    clock.advance(3 * DAY);
    let (_, headers) = client.request_status(&manager, 304, |s| s.contains("a")).await;
    assert_eq!(headers.session_token(), None, "a cached response");
    let (_, headers) = client.request_status(&manager, 200, |s| s.contains("a")).await;
    assert!(headers.session_token().is_some(), "its deadline is in it");
    let session = client.open(&manager).load().await.unwrap();
    session.insert("big", "x".repeat(4096)).unwrap();
    assert!(session.commit().await.unwrap_err().is_too_large());
    let (_, headers) = client.request_status(&manager, 200, |s| s.destroy()).await;
    assert_eq!(headers.session_token(), Some(""));
    // A cookie's value under the same secret is no token.
    let (mut browser, cookies) = (Browser::new(), builder().build().unwrap());
    browser.request(&cookies, |session| session.insert("a", 1)).await.unwrap();
    client.token = browser.cookie.unwrap().split_once('=').map(|(_, value)| value.to_owned());
    assert!(client.open(&manager).load_existing().await.unwrap().is_none());
    let refused = builder().transport(Transport::default().or_bearer()).build().unwrap_err();
    assert!(refused.to_string().contains("one transport"), "{refused}");
}

#[tokio::test]
async fn the_token_is_given_after_a_commit_and_hidden_in_debug() {
    let app = bearer();
    let client = Client::default();
    let lazy = client.open(&app.manager);
    let session = lazy.load().await.unwrap();
    assert_eq!(session.token(), None, "nothing is stored");
    session.login("alice").unwrap();
    assert_eq!(session.token(), None, "not committed");
    session.commit().await.unwrap();
    let token = session.token().unwrap();
    assert!(!format!("{token:?}").contains(token.as_str()));
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(headers.session_token(), Some(token.as_str()));
    let later = Client { token: Some(token.into_string()), ..Client::default() };
    let session = later.open(&app.manager).load().await.unwrap();
    assert_eq!(session.token().map(|t| t.into_string()), later.token);
    session.rotate().unwrap();
    assert_eq!(session.token(), None, "it will be another");
    session.destroy().unwrap();
    assert_eq!(session.token(), None);
    let app = App::new();
    let session = app.manager.open(RequestInfo::new(())).load().await.unwrap();
    session.login("alice").unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.token(), None, "scripts must not see what only the cookie may carry");
}

#[tokio::test]
async fn a_seeded_session_is_the_value_of_the_request_header() {
    let app = bearer();
    let header = app.manager.seed(|session| session.login("alice")).await.unwrap();
    let lines = HeaderLines::default().tokens([header]);
    let session = app.manager.open(RequestInfo::new(lines)).load().await.unwrap();
    assert_eq!(session.owner().as_deref(), Some("alice"));
    assert_eq!(
        (app.manager.token_header(), app.manager.cookie_name()),
        (Some("authorization"), None)
    );
    let own = App::with(|rules| rules.transport(Transport::header("X-Token")));
    let header = own.manager.seed(|session| session.login("alice")).await.unwrap();
    assert_eq!((header.len(), own.manager.token_header()), (43, Some("x-token")));
}

#[tokio::test]
async fn a_token_of_one_transport_is_nobody_under_another_unless_the_scope_is_named() {
    let app = bearer();
    let token = begun(&app).await.token;
    let own = Transport::header("x-session-token");
    let other = app.process_with(|rules| rules.transport(own.clone()));
    let same = app.process_with(|rules| rules.transport(own).scope("bearer"));
    for (manager, live) in [(other, false), (same, true)] {
        let lines = HeaderLines::default().tokens(token.clone());
        let found = manager.open(RequestInfo::new(lines)).load_existing().await.unwrap();
        assert_eq!(found.is_some(), live);
    }
    // A cookie that gains a header keeps its scope, so nobody is logged out.
    let cookies = app.process_with(|rules| rules.cookie(CookiePolicy::new()));
    let mut browser = Browser::new();
    browser.request(&cookies, |session| session.insert("a", 1)).await.unwrap();
    let both = app.process_with(|rules| rules.transport(Transport::default().or_bearer()));
    assert!(browser.is_live(&both).await);
}

#[tokio::test]
async fn who_writes_to_a_session_that_another_request_has_emptied_tells_its_client_again() {
    for app in [bearer(), both()] {
        let mut client = Client { token: Some(String::new()), ..Client::default() };
        client.request(&app, |session| session.insert("a", 1).unwrap()).await.unwrap();
        let lazy = client.open(&app.manager);
        lazy.load().await.unwrap().insert("b", 2).unwrap();
        let token = client.token.clone();
        assert_eq!(client.request(&app, |session| session.clear().unwrap()).await.unwrap(), "");
        let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
        assert_eq!(headers.session_token(), token.as_deref());
    }
}
