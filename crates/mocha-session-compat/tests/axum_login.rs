//! The flows of axum-login over each engine: login, logout, permissions, two devices, a new
//! password. The application is the example, and only its storage differs.

#![cfg(feature = "tower-sessions-0_14")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

#[allow(dead_code, reason = "its main function")]
#[path = "../examples/axum_login.rs"]
mod example;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use support::{Engine, on_engines};
use tower::ServiceExt as _;

/// A device with a cookie of its own.
#[derive(Clone)]
struct Device {
    app: Router,
    cookie: Option<String>,
}

impl Device {
    fn of(app: &Router) -> Self {
        Self { app: app.clone(), cookie: None }
    }

    async fn send(&mut self, method: &str, path: &str, form: &str) -> (StatusCode, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        if let Some(line) = response.headers().get(header::SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            self.cookie = Some(pair.to_owned()).filter(|pair| !pair.ends_with('='));
        }
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&mut self, path: &str) -> (StatusCode, String) {
        self.send("GET", path, "").await
    }

    async fn login(&mut self, name: &str, password: &str) -> StatusCode {
        let form = format!("name={name}&password={password}");
        self.send("POST", "/login", &form).await.0
    }

    async fn logout(&mut self) -> StatusCode {
        self.send("POST", "/logout", "").await.0
    }

    async fn is_logged_in(&mut self) -> bool {
        self.get("/me").await.0 == StatusCode::OK
    }
}

mod cases {
    use super::{Device, Engine, Router, StatusCode, example};

    fn app(engine: &Engine) -> Router {
        example::app(engine.storage.clone(), example::Users::default()).unwrap()
    }

    pub(super) async fn login_and_logout(engine: Engine) {
        let app = app(&engine);
        let mut device = Device::of(&app);
        assert_eq!(device.get("/me").await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(device.login("ada", "wrong").await, StatusCode::UNAUTHORIZED);
        assert_eq!(device.cookie, None);
        assert_eq!(engine.live().await, 0, "nothing is stored for strangers");

        assert_eq!(device.login("ada", "lovelace").await, StatusCode::NO_CONTENT);
        assert_eq!(device.get("/me").await, (StatusCode::OK, "ada".to_owned()));
        let stolen = device.clone();
        assert_eq!(device.logout().await, StatusCode::NO_CONTENT);
        assert_eq!(device.cookie, None);
        for mut device in [device, stolen] {
            assert!(!device.is_logged_in().await);
        }
        assert_eq!(engine.live().await, 0);
    }

    pub(super) async fn permissions(engine: Engine) {
        let app = app(&engine);
        let (mut ada, mut bob) = (Device::of(&app), Device::of(&app));
        assert_ne!(ada.get("/admin").await.0, StatusCode::OK);
        ada.login("ada", "lovelace").await;
        bob.login("bob", "tables").await;
        assert_eq!(ada.get("/admin").await, (StatusCode::OK, "the vault".to_owned()));
        assert_eq!(bob.get("/admin").await.0, StatusCode::FORBIDDEN);
        assert_eq!(bob.get("/me").await.0, StatusCode::OK);
    }

    pub(super) async fn two_devices_log_out_apart(engine: Engine) {
        let app = app(&engine);
        let (mut phone, mut laptop) = (Device::of(&app), Device::of(&app));
        for device in [&mut phone, &mut laptop] {
            device.login("ada", "lovelace").await;
        }
        assert_ne!(phone.cookie, laptop.cookie);
        assert_eq!(engine.live().await, 2);
        phone.logout().await;
        assert!(!phone.is_logged_in().await);
        assert!(laptop.is_logged_in().await);
    }

    pub(super) async fn a_login_gives_a_new_id_and_ends_the_old_one(engine: Engine) {
        let app = app(&engine);
        let mut victim = Device::of(&app);
        // An id that an attacker planted, and the one of an earlier login.
        victim.cookie = Some("id=AAAAAAAAAAAAAAAAAAAAAA".to_owned());
        let attacker = victim.clone();
        victim.login("bob", "tables").await;
        let earlier = victim.clone();
        victim.logout().await;
        victim.login("ada", "lovelace").await;
        for mut other in [attacker, earlier] {
            assert_ne!(other.cookie, victim.cookie);
            assert!(!other.is_logged_in().await);
        }
        assert!(victim.is_logged_in().await);
    }

    pub(super) async fn a_new_password_ends_the_other_devices(engine: Engine) {
        let app = app(&engine);
        let (mut phone, mut laptop) = (Device::of(&app), Device::of(&app));
        for device in [&mut phone, &mut laptop] {
            device.login("bob", "tables").await;
        }
        phone.send("POST", "/password", "password=better").await;
        assert!(phone.is_logged_in().await);
        assert!(!laptop.is_logged_in().await);
        assert_eq!(engine.live().await, 1, "axum-login flushed the other");
    }

    pub(super) async fn the_login_is_there_in_another_process(engine: Engine) {
        let users = example::Users::default();
        let here = example::app(engine.storage.clone(), users.clone()).unwrap();
        let there = example::app(engine.other_process().await, users).unwrap();
        let mut device = Device::of(&here);
        device.login("ada", "lovelace").await;
        let mut elsewhere = Device { app: there, ..device.clone() };
        assert!(elsewhere.is_logged_in().await);
        elsewhere.logout().await;
        assert!(!device.is_logged_in().await);
    }
}

on_engines!(tokio::test(flavor = "multi_thread"), cases:
    login_and_logout,
    permissions,
    two_devices_log_out_apart,
    a_login_gives_a_new_id_and_ends_the_old_one,
    a_new_password_ends_the_other_devices,
    the_login_is_there_in_another_process,
);
