//! What a program is told when it starts: which cookie is set, and what the engine can do.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use mocha_session_conformance::tools::Trace;
use mocha_session_core::{CookiePolicy, Secrets, SessionManager, Storage};

fn client_side() -> Storage {
    Storage::client_side().with_secrets(Secrets::generate().unwrap())
}

#[test]
fn a_manager_says_once_which_cookie_it_sets_and_that_it_is_secure() {
    let trace = Trace::start();
    let manager = SessionManager::new(client_side()).unwrap();
    drop(manager.clone());
    let said = trace.at("INFO");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("__Host-session") && said[0].contains("secure=true"), "{said:?}");
    assert!(said[0].contains("HTTPS and on localhost"), "{said:?}");
}

#[test]
fn a_manager_says_that_a_cookie_without_secure_can_be_read() {
    let trace = Trace::start();
    SessionManager::builder(client_side()).cookie(CookiePolicy::for_plain_http()).build().unwrap();
    let said = trace.at("INFO");
    assert!(said.len() == 1 && said[0].contains("secure=false"), "{said:?}");
}

#[test]
fn the_clients_cookie_expires_by_itself_and_claims_no_durability() {
    let shown = client_side().capabilities().to_string();
    assert!(shown.starts_with("cookie: kept by the client"), "{shown}");
    assert!(shown.contains("native expiry yes") && !shown.contains("durability"), "{shown}");
}
