//! Scopes: two applications on one store accept, list and end nothing of each other.

#![allow(
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use mocha_session_core::{
    CookiePolicy, RequestInfo, Secrets, SessionManager, SessionManagerBuilder, Storage, WhenFull,
};
use support::{App, Browser, listed, logged_in};

const SECRET: &str = "a secret of more than 32 bytes: kdU2hs8dm2M";

type Rules = fn(SessionManagerBuilder) -> SessionManagerBuilder;

/// A shop and its administration on one store: told apart by the cookie's name, or by the scope
/// alone.
const APART: [(&str, Rules, Rules); 3] = [
    (
        "cookie names",
        |rules| rules.cookie(CookiePolicy::named("__Host-shop")),
        |rules| rules.cookie(CookiePolicy::named("__Host-admin")),
    ),
    ("scopes", |rules| rules.scope("shop"), |rules| rules.scope("admin")),
    ("a scope and the cookie's name", |rules| rules.scope("shop"), |rules| rules),
];

/// The same id under the other's cookie name.
fn renamed(browser: &Browser, to: &SessionManager) -> Browser {
    let header = browser.header();
    let (_, value) = header.split_once('=').unwrap();
    Browser { cookie: Some(format!("{}={value}", to.cookie_name().unwrap())) }
}

fn two(
    app: &App,
    (_, shop, admin): (&str, Rules, Rules),
    signed: bool,
) -> (SessionManager, SessionManager) {
    let secrets = |rules: SessionManagerBuilder| {
        if signed { rules.secrets(Secrets::parse(SECRET).unwrap()) } else { rules }
    };
    (
        app.process_with(|rules| secrets(shop(rules))),
        app.process_with(|rules| secrets(admin(rules))),
    )
}

#[tokio::test]
async fn a_customers_id_under_the_admins_cookie_name_is_nobody() {
    for signed in [false, true] {
        for apart in APART {
            let app = App::new();
            let (shop, admin) = two(&app, apart, signed);
            let customer = logged_in(&shop, "1").await;
            let mut forged = renamed(&customer, &admin);
            app.store.reset_calls();
            assert!(!forged.is_live(&admin).await, "{} {signed}", apart.0);
            // A signature of another scope is none: the store is not asked.
            assert_eq!(app.store.calls().load, usize::from(!signed), "{} {signed}", apart.0);
            forged.request(&admin, |session| session.insert("a", 1)).await.unwrap();
            assert!(forged != renamed(&customer, &admin), "an id that is not known is not adopted");
            assert!(customer.is_live(&shop).await);
            assert!(!renamed(&forged, &shop).is_live(&shop).await, "nor the other way round");
        }
    }
}

#[tokio::test]
async fn the_same_user_number_in_two_scopes_is_two_users() {
    for apart in APART {
        let app = App::new();
        let (shop, admin) = two(&app, apart, false);
        let (customer, administrator) = (logged_in(&shop, "1").await, logged_in(&admin, "1").await);
        let handle = administrator.open(&admin).load().await.unwrap().handle().unwrap();
        assert_eq!((listed(&shop, "1").await, listed(&admin, "1").await), (1, 1), "{}", apart.0);
        assert!(!shop.revoke("1", handle).await.unwrap());
        assert_eq!(shop.revoke_all("1").await.unwrap(), 1);
        assert!(
            !customer.is_live(&shop).await && administrator.is_live(&admin).await,
            "{}",
            apart.0
        );
    }
}

#[tokio::test]
async fn a_login_in_one_scope_makes_no_room_in_another() {
    let app = App::new();
    let (shop, admin) = two(&app, APART[0], false);
    let few = |name: &'static str| {
        app.process_with(|rules| {
            rules
                .cookie(CookiePolicy::named(name))
                .max_sessions_per_owner(1, WhenFull::RevokeOldest)
        })
    };
    let (few_shop, few_admin) = (few("__Host-shop"), few("__Host-admin"));
    let customer = logged_in(&few_shop, "1").await;
    logged_in(&few_admin, "1").await;
    logged_in(&few_admin, "1").await;
    assert!(customer.is_live(&shop).await);
    assert_eq!(listed(&admin, "1").await, 1);
}

#[tokio::test]
async fn a_named_scope_keeps_its_sessions_when_the_cookie_is_renamed() {
    let app = App::new();
    let named = |name: &'static str| {
        app.process_with(|rules| {
            rules
                .scope("shop")
                .cookie(CookiePolicy::named(name))
                .secrets(Secrets::parse(SECRET).unwrap())
        })
    };
    let (before, after) = (named("__Host-shop"), named("__Host-s"));
    let browser = renamed(&logged_in(&before, "1").await, &after);
    assert!(browser.is_live(&after).await);
    assert_eq!(after.revoke_all("1").await.unwrap(), 1);
    assert!(!browser.is_live(&after).await);
}

#[tokio::test]
async fn a_client_side_session_of_another_scope_does_not_open() {
    let app = |scope: &str| {
        let secrets = Secrets::parse(SECRET).unwrap();
        SessionManager::builder(Storage::client_side())
            .secrets(secrets)
            .scope(scope)
            .build()
            .unwrap()
    };
    let (shop, admin) = (app("shop"), app("admin"));
    assert_eq!(shop.cookie_name(), admin.cookie_name());
    let cookie = shop.seed(|session| session.login("1")).await.unwrap();
    let open = |manager: &SessionManager| manager.open(RequestInfo::new(cookie.clone()));
    assert!(open(&admin).load_existing().await.unwrap().is_none());
    assert!(open(&shop).load_existing().await.unwrap().is_some());
    assert!(
        open(&app("shop")).load_existing().await.unwrap().is_some(),
        "another process of the shop"
    );
}
