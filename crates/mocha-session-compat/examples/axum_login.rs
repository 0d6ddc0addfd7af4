//! axum-login's users, logins and permissions, with the sessions in any engine. One line is this
//! library's: the one that makes the store.
//!
//! ```console
//! $ cargo run -p mocha-session-compat --features tower-sessions-0_14 --example axum_login
//! $ SESSION_URL=s3://key:secret@host/bucket?endpoint=… cargo run …    # another engine
//! $ curl -ic jar -b jar -d 'name=ada&password=lovelace' localhost:3000/login
//! $ curl -ic jar -b jar localhost:3000/me
//! ```
//!
//! `tests/axum_login.rs` runs it.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Form;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum_login::tower_sessions::SessionManagerLayer;
use axum_login::{
    AuthManagerLayerBuilder, AuthUser, AuthnBackend, AuthzBackend, login_required,
    permission_required,
};
use mocha_session_compat::tower_sessions_0_14::MochaStore;
use mocha_session_core::{Registry, Result, Storage};
use serde::Deserialize;

type AuthSession = axum_login::AuthSession<Users>;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // An application asks `mocha_session::open_from_env()`. This crate's examples have no facade.
    let registry = Registry::new()
        .register(mocha_session_memory::DRIVER)
        .register(mocha_session_redis::DRIVER)
        .register(mocha_session_s3::DRIVER)
        .register(mocha_session_sql::DRIVER);
    let url = std::env::var("SESSION_URL").unwrap_or_else(|_| "memory:".to_owned());
    let router = app(registry.open(&url).await?, Users::default())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

/// The application.
pub(crate) fn app(storage: impl Into<Storage>, users: Users) -> Result<Router> {
    // Was: let store = MemoryStore::default();
    let store = MochaStore::new(storage)?;
    let sessions = SessionManagerLayer::new(store).with_secure(false);
    let auth = AuthManagerLayerBuilder::new(users, sessions).build();
    Ok(Router::new()
        .route("/admin", get(admin))
        .route_layer(permission_required!(Users, "admin"))
        .route("/me", get(me))
        .route("/password", post(change_password))
        .route_layer(login_required!(Users))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .layer(auth))
}

async fn login(mut auth: AuthSession, Form(credentials): Form<Credentials>) -> StatusCode {
    match auth.authenticate(credentials).await {
        Ok(Some(user)) => match auth.login(&user).await {
            Ok(()) => StatusCode::NO_CONTENT,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        },
        Ok(None) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn logout(mut auth: AuthSession) -> StatusCode {
    match auth.logout().await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn me(auth: AuthSession) -> String {
    auth.user.map(|user| user.name).unwrap_or_default()
}

async fn admin() -> &'static str {
    "the vault"
}

/// Ends every other session of the user, because axum-login compares the password's hash with the
/// one at the login.
async fn change_password(mut auth: AuthSession, Form(new): Form<NewPassword>) -> StatusCode {
    let Some(user) = auth.user.clone() else { return StatusCode::UNAUTHORIZED };
    let user = auth.backend.set_password(&user.name, &new.password);
    match auth.login(&user).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The application's users. A real one hashes passwords.
#[derive(Clone, Debug)]
pub(crate) struct Users(Arc<Mutex<HashMap<String, User>>>);

#[derive(Clone, Debug)]
pub(crate) struct User {
    name: String,
    password: String,
    admin: bool,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct NewPassword {
    password: String,
}

impl Default for Users {
    fn default() -> Self {
        let user = |name: &str, password: &str, admin| {
            let user = User { name: name.to_owned(), password: password.to_owned(), admin };
            (name.to_owned(), user)
        };
        let users = [user("ada", "lovelace", true), user("bob", "tables", false)];
        Self(Arc::new(Mutex::new(users.into())))
    }
}

impl Users {
    fn find(&self, name: &str) -> Option<User> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn set_password(&self, name: &str, password: &str) -> User {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let user = User { name: name.to_owned(), password: password.to_owned(), admin: false };
        let user = users.entry(name.to_owned()).or_insert(user);
        password.clone_into(&mut user.password);
        user.clone()
    }
}

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.name.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        self.password.as_bytes()
    }
}

impl AuthnBackend for Users {
    type User = User;
    type Credentials = Credentials;
    type Error = Infallible;

    async fn authenticate(
        &self,
        its: Credentials,
    ) -> std::result::Result<Option<User>, Infallible> {
        Ok(self.find(&its.name).filter(|user| user.password == its.password))
    }

    async fn get_user(&self, id: &String) -> std::result::Result<Option<User>, Infallible> {
        Ok(self.find(id))
    }
}

impl AuthzBackend for Users {
    type Permission = &'static str;

    async fn get_user_permissions(
        &self,
        user: &User,
    ) -> std::result::Result<HashSet<&'static str>, Infallible> {
        Ok(if user.admin { HashSet::from(["admin"]) } else { HashSet::new() })
    }
}
