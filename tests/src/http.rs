//! What every framework must do on every engine, as a browser sees it. One function, one situation.

use mocha_session::Transport;

use crate::browser::Browser;
use crate::engines::Engine;
use crate::frameworks::{Client, Framework, Gate, Send};
use crate::secrecy;

async fn served<F: Framework>(engine: &Engine) -> Box<dyn Client> {
    F::serve(engine.manager().await, Gate::new())
}

/// Whether sessions live on a server: what the client's cookie alone cannot promise is left out
/// there.
async fn on_server(engine: &Engine) -> bool {
    engine.manager().await.capabilities().compare_and_set()
}

/// A cookie, a handler that ignores the session: no Set-Cookie, no Vary, nothing.
pub async fn untouched<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    browser.post(&*client, "/count").await;
    for path in ["/untouched", "/lazy"] {
        let answer = browser.get(&*client, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
        for name in ["set-cookie", "vary", "cache-control"] {
            assert_eq!(answer.header(name), "", "{path} {name}");
        }
    }
}

/// Reading: Vary and private, no cookie line; `contains` counts as access.
pub async fn read_only<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    browser.post(&*client, "/count").await;
    for (path, body) in [("/read", "1"), ("/contains", "true"), ("/optional", "some")] {
        let answer = browser.get(&*client, path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        assert_eq!(answer.session_line(), None);
        assert_eq!(
            (answer.header("vary"), answer.header("cache-control")),
            ("Cookie".into(), "private".into())
        );
    }
}

/// A counter over several requests, and another browser's beside it.
pub async fn counter<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let (mut one, mut two) = (Browser::new(), Browser::new());
    for n in 1..=3 {
        assert_eq!(one.post(&*client, "/count").await.body, n.to_string());
    }
    assert_eq!(two.post(&*client, "/count").await.body, "1");
    assert_eq!(one.get(&*client, "/read").await.body, "3");
}

/// The cookie has the promised attributes, and its response is not cacheable, whatever the
/// application says.
pub async fn cookie_lines<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    let answer = browser.post(&*client, "/cached").await;
    let line = answer.session_line().unwrap();
    assert!(line.ends_with("; Max-Age=1209600; Path=/; Secure; HttpOnly; SameSite=Lax"), "{line}");
    assert_eq!(
        (answer.header("cache-control"), answer.header("vary")),
        ("no-store".into(), "Cookie".into())
    );
    assert!(
        answer.all("set-cookie").any(|line| line == "theme=dark"),
        "the application's own cookie stays"
    );
    let answer = browser.get(&*client, "/cached").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    let answer = browser.post(&*client, "/logout").await;
    let line = answer.session_line().unwrap();
    assert!(line.starts_with("__Host-session=; Max-Age=0; Expires="), "{line}");
    assert!(line.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{line}");
    assert_eq!(browser.cookie(), None);
}

/// An id that nobody gave out is not adopted, and an anonymous read stores nothing.
pub async fn unknown_id<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let planted = format!("__Host-session={}", "A".repeat(43));
    let planted = |path| Send::new("GET", path).cookie(Some(planted.clone()));
    let answer = client.send(planted("/optional")).await;
    assert_eq!((answer.body.as_str(), answer.session_line()), ("none", None));
    let write =
        Send::new("POST", "/count").cookie(Some(format!("__Host-session={}", "A".repeat(43))));
    let answer = client.send(write).await;
    assert!(!answer.session_line().unwrap().contains("AAAAAAAAAAAA"));
    assert_eq!(client.send(planted("/optional")).await.body, "none");
}

/// Post/redirect/get with a message: kept through redirects, errors, HEAD and prefetch, shown once.
pub async fn flash<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    let answer = browser.post(&*client, "/flash/saved").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/messages/200".into()));
    for status in [303, 302, 307, 500, 503, 304] {
        browser.get(&*client, &format!("/messages/{status}")).await;
    }
    browser.send(&*client, Send::new("HEAD", "/messages/200")).await;
    let prefetch = Send::new("GET", "/messages/200").header("sec-purpose", "prefetch;prerender");
    assert_eq!(browser.send(&*client, prefetch).await.body, "saved");
    browser.get(&*client, "/untouched").await;
    browser.get(&*client, "/read").await;
    assert_eq!(browser.get(&*client, "/messages/200").await.body, "saved");
    assert_eq!(browser.get(&*client, "/messages/200").await.body, "");
    // It survives a login and dies with a logout.
    browser.post(&*client, "/flash/one").await;
    browser.post(&*client, "/login/alice").await;
    assert_eq!(browser.get(&*client, "/messages/404").await.body, "one");
    browser.post(&*client, "/flash/two").await;
    browser.post(&*client, "/logout").await;
    assert_eq!(browser.get(&*client, "/messages/200").await.body, "");
}

/// A login gives another id and kills the old one; so does a rotation; a logout kills both.
pub async fn login_rotate_logout<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let server = on_server(&engine).await;
    let mut browser = Browser::new();
    browser.post(&*client, "/count").await;
    let mut old = browser.clone();
    browser.post(&*client, "/login/alice").await;
    assert_ne!(old.cookie(), browser.cookie());
    assert_eq!(browser.get(&*client, "/owner").await.body, "alice");
    assert_eq!(browser.get(&*client, "/read").await.body, "1");
    if server {
        assert_eq!(old.get(&*client, "/optional").await.body, "none");
    }
    let mut old = browser.clone();
    browser.post(&*client, "/rotate").await;
    assert_ne!(old.cookie(), browser.cookie());
    assert_eq!(browser.get(&*client, "/owner").await.body, "alice");
    if server {
        assert_eq!(old.get(&*client, "/optional").await.body, "none");
    }
    let mut old = browser.clone();
    assert!(browser.post(&*client, "/logout").await.session_line().is_some());
    assert_eq!(browser.cookie(), None);
    if server {
        assert_eq!(old.get(&*client, "/optional").await.body, "none");
        assert_eq!(
            old.post(&*client, "/logout").await.session_line(),
            None,
            "a second logout touches nothing"
        );
    }
}

/// A logout while a slow request is in flight stays a logout, and the slow response sets no cookie.
pub async fn logout_race<F: Framework>(engine: Engine) {
    if !on_server(&engine).await {
        return; // the client's cookie cannot promise it, and says so in its capabilities
    }
    let gate = Gate::new();
    let client = F::serve(engine.manager().await, gate.clone());
    let mut browser = Browser::new();
    browser.post(&*client, "/login/alice").await;
    let slow = tokio::spawn({
        let (client, mut browser) = (client.again(), browser.clone());
        async move { browser.post(&*client, "/slow").await }
    });
    gate.arrived().await;
    let mut stays = browser.clone();
    browser.post(&*served::<F>(&engine).await, "/logout").await;
    gate.release();
    let late = slow.await.unwrap();
    assert_eq!((late.status, late.session_line()), (200, None));
    assert_eq!(stays.get(&*client, "/optional").await.body, "none");
}

/// Two requests at once that change different values: both land.
pub async fn disjoint_changes<F: Framework>(engine: Engine) {
    if !on_server(&engine).await {
        return;
    }
    let gate = Gate::new();
    let client = F::serve(engine.manager().await, gate.clone());
    let mut browser = Browser::new();
    browser.post(&*client, "/count").await;
    let slow = tokio::spawn({
        let (client, mut browser) = (client.again(), browser.clone());
        async move { browser.post(&*client, "/slow").await }
    });
    gate.arrived().await;
    browser.post(&*served::<F>(&engine).await, "/set/fast/yes").await;
    gate.release();
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(browser.get(&*client, "/get/fast").await.body, "yes");
    assert_eq!(browser.get(&*client, "/get/slow").await.body, "yes");
}

/// 5xx and a panic commit nothing; 4xx commits; what `commit` made final stays and its id is told.
pub async fn failed_responses<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    browser.post(&*client, "/count").await;
    let answer = browser.post(&*client, "/status/500").await;
    assert_eq!((answer.status, answer.session_line()), (500, None));
    assert_eq!(browser.get(&*client, "/read").await.body, "1");
    let panicked = tokio::spawn({
        let (client, mut browser) = (client.again(), browser.clone());
        async move { browser.post(&*client, "/panic").await }
    });
    if let Ok(answer) = panicked.await {
        assert_eq!((answer.status, answer.session_line()), (500, None), "a framework may catch it");
    }
    assert_eq!(browser.get(&*client, "/read").await.body, "1");
    let old = browser.clone();
    let answer = browser.post(&*client, "/committed/500").await;
    assert!(answer.status == 500 && answer.session_line().is_some());
    assert_ne!(old.cookie(), browser.cookie());
    assert_eq!(browser.get(&*client, "/owner").await.body, "early");
    assert_eq!(browser.get(&*client, "/read").await.body, "1");
    browser.post(&*client, "/status/422").await;
    assert_eq!(browser.get(&*client, "/read").await.body, "99");
}

/// An emptied session goes, cookie and all, and an empty one is never stored.
pub async fn emptied<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    for path in ["/clear", "/logout", "/rotate"] {
        assert_eq!(browser.post(&*client, path).await.session_line(), None, "{path}");
    }
    browser.post(&*client, "/count").await;
    let answer = browser.post(&*client, "/clear").await;
    assert!(answer.session_line().unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get(&*client, "/read").await.body, "0");
}

/// Cookies that a proxy, an attacker or another application sends beside ours.
pub async fn foreign_cookies<F: Framework>(engine: Engine) {
    let client = served::<F>(&engine).await;
    // Of two cookies that hold a session each, the one sealed last counts: nothing else tells them
    // apart.
    let stored = engine.manager().await.capabilities().compare_and_set();
    let mut browser = Browser::new();
    browser.post(&*client, "/count").await;
    let own = browser.cookie().unwrap();
    let bad = format!("__Host-session={}", "B".repeat(43));
    for header in [
        format!("{bad}; {own}"),
        format!("{own}; {bad}"),
        format!("$Version=1; theme=dark; {own}; x=y"),
        format!("__Host-session=../../etc/passwd; __Host-session=; {own}"),
        format!("__HOST-session=x; {own}"),
    ] {
        let answer = client.send(Send::new("GET", "/read").header("cookie", &header)).await;
        assert_eq!(answer.body, "1");
    }
    let mut other = Browser::new();
    other.post(&*client, "/count").await;
    let both = format!("{own}; {}", other.cookie().unwrap());
    let answer = client.send(Send::new("GET", "/optional").header("cookie", both)).await;
    assert_eq!(
        answer.body,
        if stored { "none" } else { "some" },
        "two different live sessions are nobody"
    );
    let split = Send::new("GET", "/read").header("cookie", "a=1").header("cookie", own);
    assert_eq!(client.send(split).await.body, "1", "HTTP/2 may split the header");
}

/// A client of an API: begins, logs in, rotates and logs out by header, and never sees a cookie.
pub async fn bearer_tokens<F: Framework>(engine: Engine) {
    let manager = engine.manager_with(|rules| rules.transport(Transport::bearer())).await;
    let client = F::serve(manager, Gate::new());
    let server = on_server(&engine).await;
    let send = async |method, path, token: &str| {
        let request = Send::new(method, path).header("Authorization", format!("bearer {token}"));
        let answer = client.send(request).await;
        assert_eq!(
            (answer.header("vary"), answer.header("set-cookie")),
            ("Authorization".into(), String::new())
        );
        let told = answer.all("session-token").next().map(ToOwned::to_owned);
        let caching = if told.is_some() { "no-store" } else { "private" };
        assert_eq!(answer.header("cache-control"), caching, "{path}");
        (answer.body, told)
    };
    let (_, first) = send("POST", "/count", "").await;
    let first = first.unwrap();
    assert_eq!(send("GET", "/read", &first).await, ("1".into(), None));
    let (_, second) = send("POST", "/login/alice", &first).await;
    let second = second.unwrap();
    let (_, third) = send("POST", "/rotate", &second).await;
    let third = third.unwrap();
    assert!(first != second && second != third);
    assert_eq!(send("GET", "/owner", &third).await, ("alice".into(), None));
    assert_eq!(send("POST", "/logout", &third).await.1.as_deref(), Some(""));
    if server {
        for dead in [&first, &second, &third] {
            assert_eq!(send("GET", "/optional", dead).await, ("none".into(), None));
        }
    }
    let basic = Send::new("GET", "/optional").header("authorization", "Basic YTpi");
    assert_eq!(client.send(basic).await.body, "none");
    let untouched =
        Send::new("GET", "/untouched").header("authorization", format!("Bearer {third}"));
    assert_eq!(client.send(untouched).await.header("vary"), "");
}

/// Browsers and clients of an API in one application: each is answered its own way, and a cookie
/// and a token of two sessions are nobody.
pub async fn cookie_or_token<F: Framework>(engine: Engine) {
    if !on_server(&engine).await {
        return; // a client-side session travels one way
    }
    let both = || Transport::default().or_header("X-Session-Token");
    let manager = engine.manager_with(|rules| rules.transport(both())).await;
    let client = F::serve(manager, Gate::new());
    let mut browser = Browser::new();
    let answer = browser.post(&*client, "/login/alice").await;
    assert!(answer.session_line().is_some() && answer.header("session-token").is_empty());
    assert_eq!(answer.header("vary"), "Cookie, X-Session-Token");
    let token = |token: &str| Send::new("POST", "/rotate").header("x-session-token", token);
    let begin = Send::new("POST", "/login/bob").header("x-session-token", "");
    let begun = client.send(begin).await;
    let rotated = client.send(token(&begun.header("session-token"))).await;
    for answer in [&begun, &rotated] {
        assert!(answer.header("session-token").len() >= 43 && answer.session_line().is_none());
    }
    let token = rotated.header("session-token");
    let own = |path| Send::new("GET", path).header("x-session-token", token.clone());
    assert_eq!(client.send(own("/owner")).await.body, "bob");
    assert_eq!(browser.get(&*client, "/owner").await.body, "alice");
    let mixed = own("/optional").cookie(browser.cookie().map(ToOwned::to_owned));
    assert_eq!(client.send(mixed).await.body, "none");
}

/// What operators are told of sessions with data, flash and an owner names none of their contents.
pub async fn nothing_secret_is_told<F: Framework>(engine: Engine) {
    for payload in ["payload-of-a-value", "payload-of-a-message"] {
        secrecy::learn(payload);
    }
    let client = served::<F>(&engine).await;
    let mut browser = Browser::new();
    browser.post(&*client, "/set/pin/payload-of-a-value").await;
    browser.post(&*client, "/flash/payload-of-a-message").await;
    browser.post(&*client, "/login/alice").await;
    let mut old = browser.clone();
    browser.post(&*client, "/rotate").await;
    old.post(&*client, "/set/pin/payload-of-a-value").await;
    browser.post(&*client, "/status/500").await;
    assert_eq!(browser.get(&*client, "/get/pin").await.body, "payload-of-a-value");
    assert_eq!(browser.get(&*client, "/messages/200").await.body, "payload-of-a-message");
    browser.post(&*client, "/logout").await;
    let told = secrecy::told();
    for (of, part) in [
        ("events", "LoggedIn"),
        ("spans", "commit session"),
        ("metrics", "mocha_session_changes_total"),
    ] {
        assert!(told.contains(part), "no {of} were recorded");
    }
}

/// Every situation, under one framework.
#[macro_export]
macro_rules! http_cases {
    ($framework:ty, $open:path) => {
        $crate::http_cases!(@ $framework, $open, untouched read_only counter cookie_lines unknown_id flash
            login_rotate_logout logout_race disjoint_changes failed_responses emptied foreign_cookies
            bearer_tokens cookie_or_token nothing_secret_is_told);
    };
    (@ $framework:ty, $open:path, $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                if let Some(engine) = $open().await {
                    $crate::http::$case::<$framework>(engine).await;
                    $crate::secrecy::check();
                }
            }
        )*
    };
}
