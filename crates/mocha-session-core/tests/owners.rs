//! Owners: a user's sessions are listed and ended, whatever else happens at the same time.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::store::Capabilities;
use mocha_session_core::{ErrorKind, Requirement, SessionHandle, SessionManager, WhenFull};
use support::{App, Browser, Fault, finish_in_background};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn login(manager: &SessionManager, owner: &str) -> Browser {
    let mut browser = Browser::new();
    browser.request(manager, |session| session.login(owner)).await.unwrap();
    browser
}

async fn handle(manager: &SessionManager, browser: &Browser) -> SessionHandle {
    browser.open(manager).load().await.unwrap().handle().unwrap()
}

async fn listed(manager: &SessionManager, owner: &str) -> Vec<SessionHandle> {
    manager
        .sessions_of(owner)
        .await
        .unwrap()
        .iter()
        .map(mocha_session_core::OwnedSession::handle)
        .collect()
}

#[tokio::test]
async fn of_three_users_one_is_revoked_and_only_theirs_are_gone() {
    let app = App::new();
    let mut browsers = Vec::new();
    for owner in ["alice", "bob", "carol", "bob"] {
        browsers.push((owner, login(&app.manager, owner).await));
    }
    assert_eq!(app.manager.revoke_all("bob").await.unwrap(), 2);
    for (owner, browser) in &browsers {
        assert_eq!(browser.is_live(&app.manager).await, *owner != "bob", "{owner}");
        assert_eq!(listed(&app.manager, owner).await.len(), usize::from(*owner != "bob"));
    }
    assert_eq!(app.manager.revoke_all("bob").await.unwrap(), 0);
    assert_eq!(app.manager.revoke_all("nobody").await.unwrap(), 0);
    let again = login(&app.manager, "bob").await;
    assert!(again.is_live(&app.manager).await, "who was revoked may log in again");
}

#[tokio::test]
async fn one_of_a_users_sessions_is_revoked_by_its_handle() {
    let app = App::new();
    let (phone, laptop) = (login(&app.manager, "alice").await, login(&app.manager, "alice").await);
    let lost = handle(&app.manager, &phone).await;
    assert!(!app.manager.revoke("bob", lost).await.unwrap(), "not one of bob's");
    assert!(app.manager.revoke("alice", lost).await.unwrap());
    assert!(!app.manager.revoke("alice", lost).await.unwrap());
    assert!(!phone.is_live(&app.manager).await && laptop.is_live(&app.manager).await);
    assert_eq!(listed(&app.manager, "alice").await, [handle(&app.manager, &laptop).await]);
}

#[tokio::test]
async fn revoke_all_while_a_login_is_being_written_refuses_it() {
    // Before the session is created, and between that and the index write: the first login creates
    // it, others update it.
    for (known, operation, nth) in
        [(false, "create", 0), (false, "create", 1), (true, "create", 0), (true, "update", 0)]
    {
        let app = App::new();
        if known {
            login(&app.manager, "alice").await;
        }
        let mut paused = app.store.pause(operation, nth);
        let browser = Browser::new();
        let (lazy, session) = browser.start(&app.manager).await;
        session.login("alice").unwrap();
        let logging_in = finish_in_background(&app.manager, lazy);
        paused.arrived().await;
        assert_eq!(app.other_process().revoke_all("alice").await.unwrap(), usize::from(known));
        paused.release();
        let refused = logging_in.await.unwrap().unwrap_err();
        assert!(refused.is_gone() && refused.http_status() == 409, "{known} {operation} {nth}");
        assert_eq!(app.store.sessions(), 0, "{known} {operation} {nth}");
        assert!(listed(&app.manager, "alice").await.is_empty());
    }
}

/// Every store call of a rotation or a login, before and after it was done.
const POINTS: [(&str, usize, bool); 12] = [
    ("load", 0, false),
    ("load", 0, true),
    ("load", 1, false),
    ("load", 1, true),
    ("create", 0, false),
    ("create", 0, true),
    ("update", 0, false),
    ("update", 0, true),
    ("update", 1, false),
    ("update", 1, true),
    ("create", 1, false),
    ("create", 1, true),
];

#[tokio::test]
async fn revoke_all_between_a_rotations_writes_leaves_nothing_alive() {
    let mut points = 0;
    for (operation, nth, after) in POINTS {
        let app = App::new();
        let browser = login(&app.manager, "alice").await;
        let (lazy, session) = browser.start(&app.manager).await;
        session.rotate().unwrap();
        let mut paused = if after {
            app.store.pause_after(operation, nth)
        } else {
            app.store.pause(operation, nth)
        };
        let mut rotation = finish_in_background(&app.manager, lazy);
        let done = tokio::select! {
            () = paused.arrived() => None,
            done = &mut rotation => Some(done), // a rotation has no such call
        };
        if done.is_some() {
            continue;
        }
        points += 1;
        assert_eq!(app.other_process().revoke_all("alice").await.unwrap(), 1);
        paused.release();
        let mut late = browser.clone();
        late.take(&rotation.await.unwrap().unwrap());
        assert_eq!(app.store.sessions(), 0, "{operation} {nth} {after}");
        assert!(!late.is_live(&app.manager).await && !browser.is_live(&app.manager).await);
        assert!(listed(&app.manager, "alice").await.is_empty(), "{operation} {nth} {after}");
    }
    assert_eq!(points, 8);
}

#[tokio::test]
async fn revoke_all_between_a_logins_writes_leaves_the_session_dead_or_listed() {
    let mut points = 0;
    for known in [false, true] {
        for (operation, nth, after) in POINTS {
            let app = App::new();
            let mut browser = Browser::new();
            browser.request(&app.manager, |session| session.insert("cart", 1)).await.unwrap();
            if known {
                login(&app.manager, "alice").await;
            }
            let (lazy, session) = browser.start(&app.manager).await;
            session.login("alice").unwrap();
            let mut paused = if after {
                app.store.pause_after(operation, nth)
            } else {
                app.store.pause(operation, nth)
            };
            let mut commit = finish_in_background(&app.manager, lazy);
            let done = tokio::select! {
                () = paused.arrived() => None,
                done = &mut commit => Some(done),
            };
            if done.is_some() {
                continue;
            }
            points += 1;
            app.other_process().revoke_all("alice").await.unwrap();
            paused.release();
            let mut late = Browser::new();
            match commit.await.unwrap() {
                Ok(headers) => late.take(&headers),
                Err(refused) => assert!(refused.is_gone()),
            }
            let alive = late.is_live(&app.manager).await;
            let list = listed(&app.manager, "alice").await;
            assert_eq!(list.len(), usize::from(alive), "{known} {operation} {nth} {after}");
            // Only a login that had not even begun when everyone was logged out may live.
            assert_eq!(
                alive,
                (operation, nth, after) == ("load", 0, false),
                "{operation} {nth} {after}"
            );
            assert_eq!(app.manager.revoke_all("alice").await.unwrap(), list.len());
            assert!(!late.is_live(&app.manager).await);
        }
    }
    assert_eq!(points, 16);
}

#[tokio::test]
async fn the_index_is_clean_after_rotation_expiry_logout_and_owner_change() {
    let app = App::new();
    let mut browser = login(&app.manager, "alice").await;
    let first = handle(&app.manager, &browser).await;
    for _ in 0..20 {
        browser.request(&app.manager, |session| session.rotate()).await.unwrap();
    }
    assert_eq!(
        listed(&app.manager, "alice").await,
        [first],
        "the same session, under the same handle"
    );
    browser.request(&app.manager, |session| session.login("alice")).await.unwrap();
    assert_eq!(listed(&app.manager, "alice").await, [first], "logged in again, still this device");
    // Another owner.
    browser.request(&app.manager, |session| session.login("bob")).await.unwrap();
    assert!(listed(&app.manager, "alice").await.is_empty());
    assert_eq!(listed(&app.manager, "bob").await.len(), 1);
    // Logout.
    browser.request(&app.manager, |session| session.destroy()).await.unwrap();
    assert!(listed(&app.manager, "bob").await.is_empty());
    // Expiry.
    login(&app.manager, "carol").await;
    app.clock.advance(13 * DAY);
    let late = login(&app.manager, "carol").await;
    app.clock.advance(2 * DAY);
    assert_eq!(listed(&app.manager, "carol").await, [handle(&app.manager, &late).await]);
    app.clock.advance(15 * DAY);
    assert!(listed(&app.manager, "carol").await.is_empty());
    assert_eq!(app.store.len(), 0, "the indexes expire too");
}

#[tokio::test]
async fn an_index_older_than_its_sessions_still_finds_them() {
    let app = App::new();
    let mut active = login(&app.manager, "alice").await;
    let mut remembered = login(&app.manager, "alice").await;
    remembered.request(&app.manager, |session| session.remember_for(90 * DAY)).await.unwrap();
    for _ in 0..20 {
        app.clock.advance(4 * DAY);
        active.request(&app.manager, |session| session.contains("a")).await;
    }
    assert_eq!(app.store.sessions(), 2);
    assert_eq!(listed(&app.manager, "alice").await.len(), 2);
    assert_eq!(app.manager.revoke_all("alice").await.unwrap(), 2);
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn a_session_that_lives_longer_under_new_rules_stays_listed() {
    let app = App::with(|rules| rules.absolute_timeout(DAY));
    let mut browser = login(&app.manager, "alice").await;
    let loosened = app.process_with(|rules| rules.absolute_timeout(10 * DAY));
    app.clock.advance(DAY / 2);
    browser.request(&loosened, |session| session.insert("a", 1)).await.unwrap();
    app.clock.advance(2 * DAY);
    assert!(browser.is_live(&loosened).await);
    assert_eq!(loosened.revoke_all("alice").await.unwrap(), 1);
    assert!(!browser.is_live(&loosened).await);
}

#[tokio::test]
async fn past_the_limit_of_sessions_the_oldest_is_revoked() {
    let app = App::with(|rules| rules.max_sessions_per_owner(3, WhenFull::RevokeOldest));
    let mut browsers = Vec::new();
    for _ in 0..5 {
        browsers.push(login(&app.manager, "alice").await);
        app.clock.advance(Duration::from_secs(1));
    }
    let mut live = Vec::new();
    for browser in &browsers {
        live.push(browser.is_live(&app.manager).await);
    }
    assert_eq!(live, [false, false, true, true, true]);
    assert_eq!(listed(&app.manager, "alice").await.len(), 3);
    assert_eq!(app.store.sessions(), 3);
}

#[tokio::test]
async fn revoke_others_leaves_this_session_alone() {
    let app = App::new();
    let here = login(&app.manager, "alice").await;
    let (there, bobs) = (login(&app.manager, "alice").await, login(&app.manager, "bob").await);
    let (lazy, session) = here.start(&app.manager).await;
    assert_eq!(app.manager.revoke_others(&session).await.unwrap(), 1);
    app.manager.finish(&lazy, 200).await.into_result().unwrap();
    assert!(here.is_live(&app.manager).await && bobs.is_live(&app.manager).await);
    assert!(!there.is_live(&app.manager).await);
    assert_eq!(app.manager.revoke_others(&session).await.unwrap(), 0);
}

#[tokio::test]
async fn revoke_others_needs_an_owner_whose_login_is_committed() {
    let app = App::new();
    let other = login(&app.manager, "alice").await;
    let (_lazy, session) = Browser::new().start(&app.manager).await;
    assert!(app.manager.revoke_others(&session).await.unwrap_err().is_invalid_input());
    session.login("alice").unwrap();
    assert!(app.manager.revoke_others(&session).await.unwrap_err().is_invalid_input());
    assert!(other.is_live(&app.manager).await, "a response of 5xx may still undo the login");
    session.commit().await.unwrap();
    assert_eq!(app.manager.revoke_others(&session).await.unwrap(), 1);
}

#[tokio::test]
async fn sessions_are_listed_with_labels_newest_first() {
    let app = App::new();
    let mut phone = Browser::new();
    phone
        .request(&app.manager, |session| {
            session.set_label("phone").unwrap();
            session.login("alice").unwrap();
        })
        .await;
    app.clock.advance(DAY);
    let mut laptop = login(&app.manager, "alice").await;
    laptop.request(&app.manager, |session| session.set_label("laptop")).await.unwrap();
    let sessions = app.manager.sessions_of("alice").await.unwrap();
    let labels: Vec<_> = sessions.iter().map(mocha_session_core::OwnedSession::label).collect();
    assert_eq!(labels, [Some("laptop"), Some("phone")]);
    let (_, session) = laptop.start(&app.manager).await;
    assert_eq!(
        (sessions[0].created_at(), sessions[0].expires_at()),
        (session.created_at(), session.expires_at())
    );
    laptop.request(&app.manager, |session| session.rotate()).await.unwrap();
    laptop.request(&app.manager, |session| session.set_label("")).await.unwrap();
    assert_eq!(app.manager.sessions_of("alice").await.unwrap()[0].label(), None);
    let too_long = "x".repeat(257);
    let (_, session) = laptop.start(&app.manager).await;
    assert!(session.set_label(&too_long).unwrap_err().is_invalid_input());
    assert!(session.login(&too_long).unwrap_err().is_invalid_input());
    assert!(session.login("").unwrap_err().is_invalid_input());
}

#[tokio::test]
async fn owner_calls_are_unsupported_on_engines_that_evict_unless_each_load_checks() {
    let app = App::new();
    app.store.set_capabilities(Capabilities::new("evicting").with_eviction(true));
    let plain = app.other_process();
    let browser = login(&plain, "alice").await;
    assert_eq!(app.store.kinds(), [1], "nothing is indexed");
    let (_, session) = browser.start(&plain).await;
    assert_eq!((session.owner().as_deref(), session.handle()), (Some("alice"), None));
    assert!(plain.sessions_of("alice").await.unwrap_err().is_unsupported());
    assert!(plain.revoke_all("alice").await.unwrap_err().is_unsupported());
    assert!(plain.revoke_others(&session).await.unwrap_err().is_unsupported());
    let required = SessionManager::builder(app.store.clone()).require(Requirement::OwnerIndex);
    assert!(required.build().unwrap_err().is_invalid_config());

    let checking =
        app.process_with(|rules| rules.check_owner_at_load(true).require(Requirement::OwnerIndex));
    let mut browser = login(&checking, "alice").await;
    assert!(browser.is_live(&checking).await);
    browser.request(&checking, |session| session.rotate()).await.unwrap();
    assert_eq!(listed(&checking, "alice").await.len(), 1);
    // The index is evicted: what cannot be shown not to be revoked is revoked.
    app.store.evict(4);
    assert!(!browser.is_live(&checking).await);
    let again = login(&checking, "alice").await;
    assert!(again.is_live(&checking).await && !browser.is_live(&checking).await);
    // A revocation whose deletes fail is a revocation all the same.
    app.store.on("update", 1, Fault::Fail(ErrorKind::Unavailable));
    assert!(checking.revoke_all("alice").await.unwrap_err().is_unavailable());
    assert!(!again.is_live(&checking).await);
}
