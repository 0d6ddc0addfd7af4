//! How long a session lives, under a clock that the test moves.
// tidy: long because the deadlines of one session are read together

#![allow(
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{
    Clock, CookiePolicy, ErrorKind, HeaderChanges, Secrets, SessionManager, Storage,
};
use support::{App, Browser, Calls, Fault, with_values};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn read(browser: &mut Browser, manager: &SessionManager) -> (bool, HeaderChanges) {
    browser.request_status(manager, 200, |session| session.contains("a")).await
}

fn max_age(headers: &HeaderChanges) -> u64 {
    let line = headers.set_cookie().unwrap();
    line.split("; ").find_map(|part| part.strip_prefix("Max-Age=")).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_idle_session_expires_and_activity_keeps_it() {
    let app = App::with(|rules| rules.idle_timeout(HOUR));
    let (mut active, idle) = (with_values(&app.manager).await, with_values(&app.manager).await);
    for _ in 0..10 {
        app.clock.advance(59 * MINUTE);
        assert!(read(&mut active, &app.manager).await.0);
    }
    assert!(!idle.is_live(&app.manager).await);
    app.clock.advance(HOUR);
    assert!(!active.is_live(&app.manager).await, "to the millisecond");
}

#[tokio::test]
async fn the_absolute_timeout_beats_activity() {
    let app = App::with(|rules| rules.idle_timeout(HOUR).absolute_timeout(3 * HOUR));
    let mut browser = with_values(&app.manager).await;
    for at in 1..6 {
        app.clock.advance(HOUR / 2);
        let (live, headers) = read(&mut browser, &app.manager).await;
        assert!(live);
        if headers.set_cookie().is_some() {
            assert!(max_age(&headers) <= (6 - at) * 1800, "the cookie goes no later");
        }
    }
    app.clock.advance(HOUR / 2);
    assert!(!browser.is_live(&app.manager).await);
}

#[tokio::test]
async fn rotation_keeps_the_absolute_deadline_and_login_restarts_it() {
    let app = App::with(|rules| rules.idle_timeout(DAY).absolute_timeout(3 * HOUR));
    let mut rotated = with_values(&app.manager).await;
    let mut logged_in = with_values(&app.manager).await;
    app.clock.advance(2 * HOUR);
    let began = rotated.start(&app.manager).await.1.created_at();
    rotated.request(&app.manager, |session| session.rotate()).await.unwrap();
    let (_, session) = rotated.start(&app.manager).await;
    assert_eq!((session.created_at(), session.expires_at()), (began, began + 3 * HOUR));
    logged_in.request(&app.manager, |session| session.login("alice")).await.unwrap();
    let (_, session) = logged_in.start(&app.manager).await;
    assert_eq!(session.expires_at(), app.clock.now() + 3 * HOUR);
    app.clock.advance(HOUR);
    assert!(!rotated.is_live(&app.manager).await && logged_in.is_live(&app.manager).await);
    app.clock.advance(2 * HOUR);
    assert!(!logged_in.is_live(&app.manager).await);
}

#[tokio::test]
async fn a_replayed_expired_cookie_is_refused_by_the_server() {
    let app = App::with(|rules| rules.idle_timeout(HOUR));
    app.store.keep_expired(); // the engine still has the record: the core decides
    let browser = with_values(&app.manager).await;
    let (lazy, session) = browser.start(&app.manager).await;
    session.insert("late", 1).unwrap();
    app.clock.advance(HOUR);
    assert!(!browser.is_live(&app.manager).await);
    app.store.reset_calls();
    // What expired while a request was under way is not revived by it.
    assert_eq!(app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie(), None);
    for change in ["insert", "rotate", "login"] {
        let mut replayed = browser.clone();
        replayed
            .request(&app.manager, |session| {
                assert!(session.is_new() && session.is_empty());
                match change {
                    "insert" => session.insert("b", 1).unwrap(),
                    "rotate" => session.rotate().unwrap(),
                    _ => session.login("alice").unwrap(),
                }
            })
            .await;
        assert_eq!(replayed.cookie == browser.cookie, change == "rotate");
    }
    assert_eq!(app.store.calls().delete, 0);
    assert!(!browser.is_live(&app.manager).await);
    let mut client_side = Browser::new();
    let (clock, manager) = App::client_side(&"a secret of more than 32 bytes: kdU2hs8".repeat(2));
    client_side.request(&manager, |session| session.insert("a", 1)).await.unwrap();
    clock.advance(14 * DAY);
    assert!(!client_side.is_live(&manager).await);
}

#[tokio::test]
async fn a_tightened_configuration_takes_effect_on_sessions_that_exist() {
    let app = App::new();
    let browser = with_values(&app.manager).await;
    app.clock.advance(2 * HOUR);
    assert!(browser.is_live(&app.manager).await);
    assert!(!browser.is_live(&app.process_with(|rules| rules.idle_timeout(HOUR))).await);
    assert!(!browser.is_live(&app.process_with(|rules| rules.absolute_timeout(HOUR))).await);
    // Its activity counts under the new rules from now on.
    let tightened = app.process_with(|rules| rules.idle_timeout(3 * HOUR));
    let mut active = browser.clone();
    let (_, headers) = read(&mut active, &tightened).await;
    assert_eq!(max_age(&headers), 3 * 3600);
    app.clock.advance(2 * HOUR);
    assert!(active.is_live(&tightened).await);
}

#[tokio::test]
async fn remember_for_sticks_up_to_the_ceiling() {
    let app = App::with(|rules| rules.idle_timeout(HOUR).remember_at_most(30 * DAY));
    let mut browser = with_values(&app.manager).await;
    let ((), headers) = browser
        .request_status(&app.manager, 200, |session| session.remember_for(10 * DAY).unwrap())
        .await;
    assert_eq!(max_age(&headers), 10 * 24 * 3600);
    browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    app.clock.advance(9 * DAY);
    assert!(
        read(&mut browser, &app.other_process()).await.0,
        "another process, other rules: it is in the record"
    );
    app.clock.advance(9 * DAY);
    assert!(browser.is_live(&app.other_process()).await);
    for forever in [Duration::MAX, 365 * DAY] {
        let ((), headers) = browser
            .request_status(&app.manager, 200, |session| session.remember_for(forever).unwrap())
            .await;
        assert_eq!(
            headers.set_cookie().map_or(30 * 24 * 3600, |_| max_age(&headers)),
            30 * 24 * 3600
        );
    }
    let (_, session) = browser.start(&app.manager).await;
    assert!(session.remember_for(Duration::from_millis(999)).unwrap_err().is_invalid_input());
    // A shorter one is taken as well, and a lowered ceiling counts at once.
    app.clock.advance(Duration::from_secs(1));
    assert!(
        !browser
            .is_live(&app.process_with(|rules| {
                rules.idle_timeout(Duration::from_secs(1)).remember_at_most(Duration::from_secs(1))
            }))
            .await
    );
    let mut short = with_values(&app.manager).await;
    short.request(&app.manager, |session| session.remember_for(MINUTE)).await.unwrap();
    app.clock.advance(MINUTE);
    assert!(!short.is_live(&app.manager).await);
}

#[tokio::test]
async fn a_session_begins_at_its_first_write_also_where_it_is_remembered_at_that_moment() {
    let app = App::with(|rules| rules.absolute_timeout(DAY));
    let mut browser = Browser::new();
    let (lazy, session) = browser.start(&app.manager).await;
    app.clock.advance(HOUR);
    session.remember_for(2 * DAY).unwrap();
    session.insert("a", 1).unwrap();
    browser.take(&app.manager.finish(&lazy, 200).await.into_result().unwrap());
    assert_eq!(session.created_at(), app.clock.now());
    app.clock.advance(DAY.saturating_sub(MINUTE));
    assert!(browser.is_live(&app.manager).await, "a whole day");
}

#[tokio::test]
async fn of_100_requests_within_the_refresh_interval_at_most_one_refreshes() {
    let app = App::with(|rules| rules.idle_timeout(10 * HOUR));
    let mut browser = with_values(&app.manager).await;
    app.clock.advance(2 * HOUR); // the interval is a tenth: an hour
    app.store.reset_calls();
    let mut lines = 0;
    for _ in 0..100 {
        app.clock.advance(Duration::from_secs(30));
        lines += usize::from(read(&mut browser, &app.manager).await.1.set_cookie().is_some());
    }
    assert_eq!((lines, app.store.calls()), (1, Calls { load: 100, update: 1, ..Calls::default() }));
    // All at once.
    app.clock.advance(2 * HOUR);
    app.store.reset_calls();
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(browser.start(&app.manager).await.0);
    }
    let mut lines = 0;
    for lazy in all {
        lines += usize::from(
            app.manager.finish(&lazy, 200).await.into_result().unwrap().set_cookie().is_some(),
        );
    }
    assert_eq!(lines, 1);
}

#[tokio::test]
async fn a_refresh_interval_of_ones_own() {
    let app = App::with(|rules| rules.idle_timeout(10 * HOUR).refresh_interval(MINUTE));
    let mut browser = with_values(&app.manager).await;
    app.clock.advance(Duration::from_millis(59_999));
    assert_eq!(read(&mut browser, &app.manager).await.1.set_cookie(), None);
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(max_age(&read(&mut browser, &app.manager).await.1), 36_000);
}

#[tokio::test]
async fn the_cookies_max_age_agrees_with_the_stores_ttl() {
    let app = App::with(|rules| rules.idle_timeout(40 * DAY).absolute_timeout(100 * DAY));
    let mut browser = Browser::new();
    for step in 0..30 {
        let ((), headers) = browser
            .request_status(&app.manager, 200, |session| match step % 4 {
                0 => session.insert("a", step).unwrap(),
                1 => session.rotate().unwrap(),
                2 => session.remember_for((10 + step) * DAY).unwrap(),
                _ => assert!(session.contains("a")),
            })
            .await;
        let expires = browser.start(&app.manager).await.1.expires_at();
        let kept = app.store.expiries().into_iter().filter(|expiry| expiry.ttl() > 2 * MINUTE);
        assert_eq!(kept.map(|expiry| expiry.at()).max().unwrap(), expires, "{step}");
        if headers.set_cookie().is_some() {
            let left = expires.duration_since(app.clock.now()).unwrap();
            assert_eq!(u128::from(max_age(&headers)), left.as_millis().div_ceil(1000), "{step}");
        }
        app.clock.advance(3 * DAY);
    }
    let browsing =
        app.process_with(|rules| rules.cookie(CookiePolicy::named("s").persistent(false)));
    let cookie = browsing.seed(|session| session.insert("a", 1)).await.unwrap();
    assert!(cookie.starts_with("s="));
}

#[tokio::test]
async fn no_lifetime_panics() {
    for forever in [Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX), Duration::MAX] {
        let app = App::with(|rules| {
            rules
                .idle_timeout(forever)
                .absolute_timeout(forever)
                .remember_at_most(forever)
                .store_timeout(forever)
        });
        let mut browser = with_values(&app.manager).await;
        browser
            .request(&app.manager, |session| {
                session.remember_for(forever).unwrap();
                session.login("alice").unwrap();
                assert!(session.expires_at() > app.clock.now() + 1000 * DAY);
            })
            .await;
        app.clock.advance(20 * 365 * DAY);
        assert!(read(&mut browser, &app.manager).await.0);
        browser.request(&app.manager, |session| session.rotate()).await.unwrap();
        assert_eq!(app.manager.sessions_of("alice").await.unwrap().len(), 1);
        browser.request(&app.manager, |session| session.destroy()).await.unwrap();
        assert_eq!(app.store.sessions(), 0);
    }
    for none in [Duration::ZERO, Duration::from_millis(999)] {
        let app = App::new();
        let builders: [fn(
            mocha_session_core::SessionManagerBuilder,
            Duration,
        ) -> mocha_session_core::SessionManagerBuilder; 3] = [
            |rules, none| rules.idle_timeout(none),
            |rules, none| rules.absolute_timeout(none),
            |rules, none| rules.remember_at_most(none),
        ];
        for rules in builders {
            let built = rules(SessionManager::builder(app.store.clone()), none).build();
            assert!(built.unwrap_err().is_invalid_config());
        }
    }
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_response_good_and_the_cookie_untouched() {
    for kind in [
        ErrorKind::Full,
        ErrorKind::Unavailable,
        ErrorKind::Ambiguous,
        ErrorKind::Denied,
        ErrorKind::Timeout,
    ] {
        let app = App::new();
        let mut browser = with_values(&app.manager).await;
        app.clock.advance(3 * DAY);
        app.store.on("update", 0, Fault::Fail(kind));
        let (live, headers) = read(&mut browser, &app.manager).await;
        assert!(live);
        assert_eq!(headers.set_cookie(), None, "{kind:?}");
        assert_eq!(
            max_age(&read(&mut browser, &app.manager).await.1),
            14 * 24 * 3600,
            "a later request does it"
        );
    }
}

#[tokio::test]
async fn a_mere_refresh_sends_no_cookie_line_on_304() {
    let app = App::new();
    let mut browser = with_values(&app.manager).await;
    app.clock.advance(3 * DAY);
    app.store.reset_calls();
    let (_, headers) =
        browser.request_status(&app.manager, 304, |session| session.contains("a")).await;
    assert_eq!((headers.set_cookie(), app.store.calls().update), (None, 1));
    app.clock.advance(12 * DAY);
    assert!(browser.is_live(&app.manager).await, "the session was refreshed all the same");
    // Nor on an error, where nothing is refreshed.
    app.store.reset_calls();
    let (_, headers) =
        browser.request_status(&app.manager, 500, |session| session.contains("a")).await;
    assert_eq!((headers.set_cookie(), app.store.calls().update), (None, 0));
}

#[tokio::test]
async fn a_new_secret_signs_anew_what_the_old_one_signed() {
    const OLD: &str = "an old secret of more than 32 bytes: kdU2hs8";
    const NEW: &str = "a new secret of more than 32 bytes: pqP82jdn";
    let app = App::new();
    let under = |secrets: &str, unsigned: bool| {
        app.process_with(|rules| {
            rules.secrets(Secrets::parse(secrets).unwrap()).accept_unsigned(unsigned)
        })
    };
    let unsigned = with_values(&app.manager).await;
    assert!(!unsigned.is_live(&under(OLD, false)).await);
    let mut browser = unsigned.clone();
    assert!(read(&mut browser, &under(OLD, true)).await.0);
    assert!(browser != unsigned && browser.is_live(&under(OLD, false)).await, "signed");
    let signed = browser.clone();
    let both = under(&format!("{NEW},{OLD}"), false);
    assert!(!browser.is_live(&under(NEW, false)).await);
    app.store.reset_calls();
    let (_, headers) = read(&mut browser, &both).await;
    assert_eq!((max_age(&headers), app.store.calls().all()), (14 * 24 * 3600, 2), "with a write");
    assert!(
        browser != signed
            && browser.is_live(&under(NEW, false)).await
            && signed.is_live(&both).await
    );
    assert_eq!(read(&mut browser, &both).await.1.set_cookie(), None, "once");
}

#[tokio::test(start_paused = true)]
async fn sweeping_goes_on_after_an_error_and_spares_what_lives() {
    let app = App::with(|rules| rules.idle_timeout(HOUR));
    app.store.keep_expired();
    with_values(&app.manager).await;
    app.clock.advance(HOUR);
    let live = with_values(&app.manager).await;
    app.store.on("sweep", 0, Fault::Fail(ErrorKind::Unavailable));
    let total = app.manager.sweep().await.unwrap();
    assert_eq!(
        (total.examined(), total.removed()),
        (2, 0),
        "a minute's margin for clocks that differ"
    );
    app.clock.advance(2 * MINUTE);
    for _ in 0..3 {
        app.store.on("sweep", 0, Fault::Fail(ErrorKind::Unavailable));
    }
    assert!(app.manager.sweep().await.unwrap_err().is_unavailable());
    for _ in 0..3 {
        app.store.on("sweep", 0, Fault::Fail(ErrorKind::Unavailable));
    }
    let sweeper = app.manager.spawn_sweeper(MINUTE);
    tokio::time::sleep(3 * MINUTE).await;
    assert_eq!(app.store.snapshot().len(), 1, "in the background, on the next round");
    drop(sweeper);
    assert!(live.is_live(&app.manager).await);
    let cookie = Storage::client_side().with_secrets(Secrets::generate().unwrap());
    assert!(SessionManager::new(cookie).unwrap().sweep().await.unwrap().is_native());
}

#[tokio::test]
async fn an_expired_record_that_cannot_be_read_is_nothing() {
    let app = App::new();
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
    app.store.keep_expired();
    app.store.tamper(|record| *record.last_mut().unwrap() ^= 1);
    assert!(browser.open(&app.manager).load().await.unwrap_err().is_corrupt(), "alive");
    app.clock.advance(Duration::from_secs(15 * 24 * 3600));
    assert!(browser.open(&app.manager).load().await.unwrap().is_new());
}

#[tokio::test]
async fn the_idle_deadline_is_moved_from_the_end_of_a_long_request() {
    let app = App::with(|builder| builder.idle_timeout(Duration::from_secs(60)));
    let mut browser = Browser::new();
    browser.request(&app.manager, |session| session.insert("a", 1)).await.unwrap();
    let (lazy, _session) = browser.start(&app.manager).await;
    app.clock.advance(Duration::from_secs(50));
    let headers = app.manager.finish(&lazy, 200).await.into_result().unwrap();
    browser.take(&headers);
    app.clock.advance(Duration::from_secs(55));
    assert!(
        browser.is_live(&app.manager).await,
        "105 seconds after it began, 55 after it was used"
    );
}
