//! actix-session's middleware over the store, on each engine: values, a new key, a purge, the
//! policies that extend a session, guards, crossing requests.

#![cfg(feature = "actix-session-0_11")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

#[allow(dead_code, reason = "its main function")]
#[path = "../examples/actix_session.rs"]
mod example;

use support::on_engines;

mod cases {
    use std::time::Duration as StdDuration;

    use actix_http::Request;
    use actix_session::config::{CookieContentSecurity, PersistentSession, TtlExtensionPolicy};
    use actix_session::{Session, SessionExt as _, SessionMiddleware};
    use actix_web::body::{BoxBody, MessageBody};
    use actix_web::cookie::time::Duration;
    use actix_web::cookie::{Cookie, Key};
    use actix_web::dev::{Service, ServiceResponse};
    use actix_web::http::StatusCode;
    use actix_web::middleware::Compat;
    use actix_web::test::{TestRequest, init_service};
    use actix_web::{App, Error, Result, guard, web};
    use mocha_session_compat::actix_session_0_11::MochaStore;
    use mocha_session_core::Storage;
    use tokio::sync::Notify;

    use crate::support::{Counting, Engine};

    const HOUR: Duration = Duration::HOUR;

    /// Holds a request back after it has used its session.
    #[derive(Default)]
    struct Gate {
        arrived: Notify,
        open: Notify,
    }

    async fn read(session: Session, key: web::Path<String>) -> Result<String> {
        let value = session.get::<u64>(&key)?;
        Ok(value.map_or_else(|| "none".to_owned(), |value| value.to_string()))
    }

    async fn write(session: Session, pair: web::Path<(String, u64)>) -> Result<&'static str> {
        let (key, value) = pair.into_inner();
        session.insert(key, value)?;
        Ok("")
    }

    async fn renew(session: Session) -> Result<&'static str> {
        session.insert("user", 7)?;
        session.renew();
        Ok("")
    }

    async fn purge(session: Session) -> &'static str {
        session.purge();
        ""
    }

    async fn slow(session: Session, gate: web::Data<Gate>) -> Result<&'static str> {
        session.insert("slow", 1)?;
        gate.arrived.notify_one();
        gate.open.notified().await;
        Ok("")
    }

    async fn untouched() -> &'static str {
        "hello"
    }

    fn routes(app: &mut web::ServiceConfig) {
        app.app_data(web::Data::new(Gate::default()))
            .route("/", web::get().to(untouched))
            .route("/read/{key}", web::get().to(read))
            .route("/write/{key}/{value}", web::get().to(write))
            .route("/renew", web::get().to(renew))
            .route("/purge", web::get().to(purge))
            .route("/slow", web::get().to(slow))
            .service(
                web::scope("/members")
                    .guard(guard::fn_guard(|it| {
                        it.get_session().get::<u64>("user").is_ok_and(|user| user.is_some())
                    }))
                    .route("", web::get().to(untouched)),
            );
    }

    /// How the middleware is set up.
    #[derive(Clone)]
    struct Rules {
        ttl: Duration,
        policy: TtlExtensionPolicy,
        security: CookieContentSecurity,
        key: Key,
    }

    impl Default for Rules {
        fn default() -> Self {
            Self {
                ttl: HOUR,
                policy: TtlExtensionPolicy::OnStateChanges,
                security: CookieContentSecurity::Private,
                key: Key::generate(),
            }
        }
    }

    /// An application of actix-web.
    trait Web<B>: Service<Request, Response = ServiceResponse<B>, Error = Error> {}

    impl<B, S: Service<Request, Response = ServiceResponse<B>, Error = Error>> Web<B> for S {}

    async fn app(storage: impl Into<Storage>, rules: Rules) -> impl Web<BoxBody> {
        let lifecycle = PersistentSession::default()
            .session_ttl(rules.ttl)
            .session_ttl_extension_policy(rules.policy);
        let store = MochaStore::new(storage).unwrap();
        let sessions = SessionMiddleware::builder(store, rules.key)
            .cookie_content_security(rules.security)
            .session_lifecycle(lifecycle)
            .build();
        init_service(App::new().wrap(Compat::new(sessions)).configure(routes)).await
    }

    /// A browser, which keeps its cookie.
    #[derive(Clone, Default)]
    struct Browser(Option<Cookie<'static>>);

    impl Browser {
        /// The status of the answer, whether it sets or removes the cookie, and its text.
        async fn get<B: MessageBody>(
            &mut self,
            app: &impl Web<B>,
            path: &str,
        ) -> (StatusCode, bool, String) {
            let mut request = TestRequest::with_uri(path);
            if let Some(cookie) = &self.0 {
                request = request.cookie(cookie.clone());
            }
            let response = match app.call(request.to_request()).await {
                Ok(response) => response,
                Err(error) => {
                    let answer = error.error_response();
                    let told = answer.cookies().next().is_some();
                    return (answer.status(), told, String::new());
                }
            };
            let cookie = response.response().cookies().next().map(Cookie::into_owned);
            let told = cookie.is_some();
            if let Some(cookie) = cookie {
                self.0 = Some(cookie).filter(|cookie| !cookie.value().is_empty());
            }
            let status = response.status();
            let body = response.into_body().try_into_bytes().ok().unwrap();
            (status, told, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn text<B: MessageBody>(&mut self, app: &impl Web<B>, path: &str) -> String {
            let (status, _, text) = self.get(app, path).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            text
        }
    }

    pub(super) async fn values_are_kept_and_changed(engine: Engine) {
        for security in [CookieContentSecurity::Signed, CookieContentSecurity::Private] {
            let rules = Rules { security, ..Rules::default() };
            let here = app(engine.storage.clone(), rules.clone()).await;
            let there = app(engine.other_process().await, rules).await;
            let mut browser = Browser::default();
            browser.get(&here, "/write/n/42").await;
            assert_eq!(browser.0.as_ref().unwrap().max_age(), Some(HOUR));
            assert_eq!(browser.text(&there, "/read/n").await, "42");
            browser.get(&there, "/write/n/43").await;
            assert_eq!(browser.text(&here, "/read/n").await, "43");
        }
    }

    pub(super) async fn a_visitor_costs_nothing_and_a_cookie_costs_one_call(engine: Engine) {
        let store = Counting::new(&engine.storage);
        let app = app(store.clone(), Rules::default()).await;
        let mut browser = Browser::default();
        assert_eq!(browser.get(&app, "/").await, (StatusCode::OK, false, "hello".to_owned()));
        assert_eq!(browser.text(&app, "/read/n").await, "none");
        assert_eq!((store.calls(), &browser.0), (0, &None));
        browser.get(&app, "/write/n/1").await;
        assert_eq!(store.calls(), 1);
        // Their middleware loads the session whether the handler uses it or not.
        assert_eq!(browser.get(&app, "/").await, (StatusCode::OK, false, "hello".to_owned()));
        assert_eq!(store.calls(), 1);
    }

    pub(super) async fn a_login_gives_a_new_key_and_a_logout_ends_it(engine: Engine) {
        let app = app(engine.storage.clone(), Rules::default()).await;
        let mut browser = Browser::default();
        assert_eq!(browser.get(&app, "/members").await.0, StatusCode::NOT_FOUND);
        browser.get(&app, "/write/n/1").await;
        let mut before = browser.clone();
        browser.get(&app, "/renew").await;
        assert_ne!(browser.0, before.0);
        assert_eq!(browser.text(&app, "/members").await, "hello");
        assert_eq!(browser.text(&app, "/read/n").await, "1");
        assert_eq!(before.text(&app, "/read/n").await, "none");
        assert_eq!(engine.live().await, 1);

        let mut stolen = browser.clone();
        browser.get(&app, "/purge").await;
        assert_eq!(browser.0, None);
        assert_eq!(stolen.get(&app, "/members").await.0, StatusCode::NOT_FOUND);
        assert_eq!(stolen.text(&app, "/read/n").await, "none");
        assert_eq!(engine.live().await, 0);
    }

    pub(super) async fn two_devices_log_out_apart(engine: Engine) {
        let app = app(engine.storage.clone(), Rules::default()).await;
        let (mut phone, mut laptop) = (Browser::default(), Browser::default());
        for device in [&mut phone, &mut laptop] {
            device.get(&app, "/renew").await;
        }
        phone.get(&app, "/purge").await;
        assert_eq!(phone.get(&app, "/members").await.0, StatusCode::NOT_FOUND);
        assert_eq!(laptop.text(&app, "/members").await, "hello");
    }

    pub(super) async fn keys_that_a_client_made_up_are_not_adopted(engine: Engine) {
        let app = app(engine.storage.clone(), Rules::default()).await;
        let mut browser = Browser(Some(Cookie::new("id", "x".repeat(64))));
        browser.get(&app, "/write/n/1").await;
        assert_ne!(browser.0.as_ref().unwrap().value(), "x".repeat(64));
        assert_eq!(browser.text(&app, "/read/n").await, "1");
    }

    pub(super) async fn use_extends_a_session_where_the_policy_says_so(engine: Engine) {
        let (step, ttl) = (StdDuration::from_millis(1_200), Duration::milliseconds(2_000));
        for (policy, extends) in [
            (TtlExtensionPolicy::OnStateChanges, false),
            (TtlExtensionPolicy::OnEveryRequest, true),
        ] {
            let rules = Rules { ttl, policy, ..Rules::default() };
            let app = app(engine.storage.clone(), rules).await;
            let mut browser = Browser::default();
            browser.get(&app, "/write/n/1").await;
            tokio::time::sleep(step).await;
            let (_, told, _) = browser.get(&app, "/").await;
            assert_eq!(told, extends);
            tokio::time::sleep(step).await;
            let kept = if extends { "1" } else { "none" };
            assert_eq!(browser.text(&app, "/read/n").await, kept);
        }
    }

    pub(super) async fn a_change_extends_a_session_under_each_policy(engine: Engine) {
        let (step, ttl) = (StdDuration::from_millis(1_200), Duration::milliseconds(2_000));
        let rules = Rules { ttl, ..Rules::default() };
        let app = app(engine.storage.clone(), rules).await;
        let mut browser = Browser::default();
        browser.get(&app, "/write/n/1").await;
        tokio::time::sleep(step).await;
        assert!(browser.get(&app, "/write/m/2").await.1);
        tokio::time::sleep(step).await;
        assert_eq!(browser.text(&app, "/read/n").await, "1");
    }

    pub(super) async fn a_request_in_flight_brings_back_no_session_that_ended(engine: Engine) {
        let app = app(engine.storage.clone(), Rules::default()).await;
        let gate = gate_of(&app).await;
        // A logout, and a login that gives a new key.
        for path in ["/purge", "/renew"] {
            let mut browser = Browser::default();
            browser.get(&app, "/write/secret/1").await;
            let (mut old, mut late) = (browser.clone(), browser.clone());
            let crossing = async {
                gate.arrived.notified().await;
                browser.get(&app, path).await;
                gate.open.notify_one();
            };
            let ((status, told, _), ()) = tokio::join!(late.get(&app, "/slow"), crossing);
            // Its line would overwrite the newer cookie.
            assert_eq!((status, told), (StatusCode::INTERNAL_SERVER_ERROR, false));
            assert_eq!(old.text(&app, "/read/secret").await, "none");
        }
        assert_eq!(engine.live().await, 1, "the session with the new key");
    }

    /// Not a promise: their middleware writes the whole session.
    pub(super) async fn of_two_requests_at_once_the_last_write_wins(engine: Engine) {
        let app = app(engine.storage.clone(), Rules::default()).await;
        let gate = gate_of(&app).await;
        let mut browser = Browser::default();
        browser.get(&app, "/write/n/1").await;
        let mut late = browser.clone();
        let crossing = async {
            gate.arrived.notified().await;
            browser.get(&app, "/write/n/2").await;
            gate.open.notify_one();
        };
        let (answer, ()) = tokio::join!(late.get(&app, "/slow"), crossing);
        assert_eq!(answer.0, StatusCode::OK);
        assert_eq!(browser.text(&app, "/read/slow").await, "1");
        assert_eq!(browser.text(&app, "/read/n").await, "1", "the update to 2 is lost");
    }

    /// The gate that the application's handlers see.
    async fn gate_of<B: MessageBody>(app: &impl Web<B>) -> web::Data<Gate> {
        let response = app.call(TestRequest::with_uri("/").to_request()).await.unwrap();
        response.request().app_data::<web::Data<Gate>>().unwrap().clone()
    }
}

on_engines!(actix_web::test, cases:
    values_are_kept_and_changed,
    a_visitor_costs_nothing_and_a_cookie_costs_one_call,
    a_login_gives_a_new_key_and_a_logout_ends_it,
    two_devices_log_out_apart,
    keys_that_a_client_made_up_are_not_adopted,
    use_extends_a_session_where_the_policy_says_so,
    a_change_extends_a_session_under_each_policy,
    a_request_in_flight_brings_back_no_session_that_ended,
    of_two_requests_at_once_the_last_write_wins,
);

#[actix_web::test]
async fn the_example_counts() {
    use actix_session::SessionMiddleware;
    use actix_web::cookie::Cookie;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    let storage = support::memory().await.unwrap().storage;
    let store = mocha_session_compat::actix_session_0_11::MochaStore::new(storage).unwrap();
    let sessions = SessionMiddleware::new(store, actix_web::cookie::Key::generate());
    let app = init_service(actix_web::App::new().wrap(sessions).configure(example::routes)).await;
    let mut cookie: Option<Cookie<'static>> = None;
    for count in ["1", "2", "3"] {
        let mut request = TestRequest::get();
        if let Some(cookie) = cookie.take() {
            request = request.cookie(cookie);
        }
        let response = call_service(&app, request.to_request()).await;
        cookie = response.response().cookies().next().map(Cookie::into_owned);
        assert_eq!(read_body(response).await, count);
    }
}
