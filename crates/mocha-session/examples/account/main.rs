//! An account page as a small, whole web application: forms with post/redirect/get and flash messages, flash data, a visit
//! counter, login and logout with a new session id, "my devices" with log-out-everywhere.
//!
//! ```console
//! $ cargo run --example account                                                     # sessions in the client's cookie
//! $ SESSION_URL=sqlite:///demo.db cargo run --example account --features sqlite     # in a file
//! $ SESSION_URL=redis://127.0.0.1:6379/0 cargo run --example account --features redis
//! ```
//!
//! `PORT` (3000; 0 picks a free one) and `SESSION_SECRET` are read from the environment too.

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

mod pages;

use axum::Router;
use axum::extract::{Form, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use mocha_session::axum::{Flash, Session, SessionLayer};
use mocha_session::{CookiePolicy, Durability, Key, Level, Secrets, SessionManager, open_from_env};
use serde::{Deserialize, Serialize};

use minijinja::Value;
use pages::Pages;

/// Names of values with their types: a typo or a wrong type does not compile.
const VISITS: Key<u64> = Key::new("visits");
const ACCOUNT: Key<Account> = Key::new("account");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    name: String,
    email: String,
}

impl From<Account> for Value {
    fn from(Account { name, email }: Account) -> Self {
        minijinja::context! { name, email }
    }
}

#[derive(Clone)]
struct App {
    manager: SessionManager,
    pages: Pages,
    engine: String,
}

/// For engines that cannot list a user's sessions.
const NO_DEVICES: &str = "This engine cannot list your devices. Log out on each of them.";

/// What any handler answers: a page, a redirect, or a session error, which is a response of its own.
type Answer = Result<Response, mocha_session::axum::Error>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut storage = open_from_env().await?;
    let client_side = !storage.capabilities().compare_and_set();
    if client_side && std::env::var_os("SESSION_SECRET").is_none_or(|secret| secret.is_empty()) {
        println!("No SESSION_SECRET: made one for this process. Sessions end when it does.");
        storage = storage.with_secrets(Secrets::generate()?);
    }
    // Plain HTTP on this machine. A real application behind TLS leaves the cookie as it is: `__Host-session`, Secure.
    let manager = SessionManager::builder(storage).cookie(CookiePolicy::for_plain_http()).build()?;
    let _sweeper = manager.spawn_sweeper(std::time::Duration::from_secs(600));
    let engine = manager.capabilities().engine().to_owned();
    println!("Sessions live in {}", manager.capabilities());

    let app = Router::new()
        .route("/", get(home))
        .route("/account", get(account_form).post(save_account))
        .route("/account/saved", get(saved))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/devices", get(devices))
        .route("/devices/end", post(end_device))
        .route("/devices/end-others", post(end_others))
        .route("/devices/end-all", post(end_all))
        .layer(SessionLayer::new(manager.clone()))
        // Outside the session layer, and so are the pages that need no session at all.
        .route("/about", get(about))
        .layer(middleware::from_fn(same_origin))
        .with_state(App { manager, pages: Pages::new()?, engine });

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) }).await?;
    Ok(())
}

async fn home(State(app): State<App>, session: Session) -> Answer {
    let visits = session.update(VISITS, |visits| visits.unwrap_or(0) + 1)?;
    app.page("home.html", &session, minijinja::context! { visits })
}

async fn account_form(State(app): State<App>, session: Session) -> Answer {
    let flash = session.flash();
    // The form as it was sent, if it was refused; else what is saved.
    let refused = flash.take_data_for::<Account>("refused")?;
    if refused.is_none() {
        flash.now(Level::Info, "You need to provide your account info");
    }
    let account = match refused {
        Some(account) => account,
        None => session.get(ACCOUNT)?.unwrap_or_default(),
    };
    app.page("account.html", &session, minijinja::context! { account => Value::from(account) })
}

async fn save_account(session: Session, Form(account): Form<Account>) -> Answer {
    let flash = session.flash();
    if account.name.trim().is_empty() || !account.email.contains('@') {
        flash.error("An error occurred while saving your info: a name and an e-mail address are needed")?;
        flash.set_data_for("refused", &account)?;
        return Ok(Redirect::to("/account").into_response());
    }
    session.insert(ACCOUNT, account)?;
    flash.success("Account info saved successfully!")?;
    flash.set_data("account")?;
    Ok(Redirect::to("/account/saved").into_response())
}

async fn saved(State(app): State<App>, session: Session) -> Answer {
    let what: Option<String> = session.flash().take_data()?;
    let account = session.get(ACCOUNT)?;
    app.page("saved.html", &session, minijinja::context! { what, account => account.map(Value::from) })
}

#[derive(Deserialize)]
struct Login {
    user: String,
}

async fn login(session: Session, flash: Flash, headers: HeaderMap, Form(login): Form<Login>) -> Answer {
    let user = login.user.trim();
    if user.is_empty() {
        flash.error("Who are you?")?;
        return Ok(Redirect::to("/").into_response());
    }
    // A real application checks a password here. The session gets a new id; the old one dies.
    session.login(user)?;
    let browser =
        headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or("unknown browser");
    session.set_label(browser.chars().take(60).collect::<String>())?;
    // A client-side session has no id: its contents travel in the cookie.
    let id = if session.fingerprint().is_some() { " Your session has a new id." } else { "" };
    flash.success(format!("Welcome, {user}.{id}"))?;
    Ok(Redirect::to("/").into_response())
}

async fn logout(session: Session) -> Answer {
    session.destroy()?;
    // Pushed after it: the beginning of a new session, which holds this message alone.
    session.flash().info("You are logged out.")?;
    Ok(Redirect::to("/").into_response())
}

async fn devices(State(app): State<App>, session: Session) -> Answer {
    let Some(owner) = session.owner() else { return Ok(Redirect::to("/").into_response()) };
    let own = session.handle();
    let (devices, unsupported) = match app.manager.sessions_of(&owner).await {
        Ok(devices) => (devices, None),
        Err(error) if error.is_unsupported() => (Vec::new(), Some(NO_DEVICES)),
        Err(error) => return Err(error.into()),
    };
    let devices: Vec<_> = devices
        .iter()
        .map(|device| {
            let minutes = device.created_at().elapsed().unwrap_or_default().as_secs() / 60;
            minijinja::context! {
                handle => device.handle().to_string(),
                label => device.label().unwrap_or("unknown"),
                minutes,
                own => Some(device.handle()) == own,
            }
        })
        .collect();
    app.page("devices.html", &session, minijinja::context! { devices, unsupported })
}

#[derive(Deserialize)]
struct Device {
    handle: String,
}

async fn end_device(State(app): State<App>, session: Session, Form(device): Form<Device>) -> Answer {
    let Some(owner) = session.owner() else { return Ok(Redirect::to("/").into_response()) };
    let ended = match device.handle.parse() {
        Ok(handle) => app.manager.revoke(&owner, handle).await,
        Err(_) => Ok(false),
    };
    session.flash().info(match ended {
        Ok(true) => "That device is logged out.",
        Ok(false) => "There is no such device.",
        Err(error) if error.is_unsupported() => NO_DEVICES,
        Err(error) => return Err(error.into()),
    })?;
    Ok(Redirect::to("/devices").into_response())
}

async fn end_others(State(app): State<App>, session: Session) -> Answer {
    match app.manager.revoke_others(&session).await {
        Ok(ended) => session.flash().success(format!("{ended} other devices are logged out."))?,
        Err(error) if error.is_unsupported() => session.flash().error(NO_DEVICES)?,
        Err(error) => return Err(error.into()),
    };
    Ok(Redirect::to("/devices").into_response())
}

async fn end_all(State(app): State<App>, session: Session) -> Answer {
    if let Some(owner) = session.owner() {
        match app.manager.revoke_all(&owner).await {
            Ok(_) => {}
            // Only this device can be logged out.
            Err(error) if error.is_unsupported() => {}
            Err(error) => return Err(error.into()),
        }
    }
    session.destroy()?;
    Ok(Redirect::to("/").into_response())
}

async fn about(State(app): State<App>) -> Answer {
    let can = app.manager.capabilities();
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let survives = match can.durability() {
        _ if !can.compare_and_set() => "what the browser survives",
        Durability::Process => "nothing: it is lost when this process ends",
        Durability::Server => "the end of this process, not a restart of the engine",
        Durability::Delayed => "a crash of the engine, but for the last moments",
        Durability::Disk => "a crash of the engine",
        Durability::Replicated => "the loss of a machine",
        _ => "see the engine's documentation",
    };
    let abilities = [
        ("No update is lost, and a logout is final", yes(can.compare_and_set()).to_owned()),
        ("Lists a user's devices", yes(can.compare_and_set() && !can.evicts()).to_owned()),
        ("Sessions expire by themselves", yes(can.native_expiry()).to_owned()),
        ("May drop live sessions to make room", yes(can.evicts()).to_owned()),
        ("An acknowledged write survives", survives.to_owned()),
        ("Largest session", can.max_value().map_or("unlimited".into(), |bytes| format!("{bytes} bytes"))),
    ];
    let page = app.pages.render("about.html", minijinja::context! { engine => app.engine, abilities });
    Ok(page.map(Html).into_response())
}

impl App {
    /// A page with what all pages show: the messages that wait, who is logged in, where the session lives.
    #[allow(clippy::unnecessary_wraps, reason = "every handler ends in it")]
    fn page(&self, name: &str, session: &Session, own: Value) -> Answer {
        let messages: Vec<_> =
            session.flash().messages().iter().map(|m| (m.level().as_str(), m.text().to_owned())).collect();
        let page = self.pages.render(
            name,
            minijinja::context! {
                messages,
                owner => session.owner(),
                label => session.label(),
                fingerprint => session.fingerprint(),
                engine => self.engine.clone(),
                ..own
            },
        );
        Ok(page.map(Html).into_response())
    }
}

/// Refuses what another site makes a browser send: `SameSite=Lax` alone is no protection against CSRF.
///
/// Every current browser says where a request comes from in `Sec-Fetch-Site`; older ones at least in `Origin`.
async fn same_origin(request: Request, next: Next) -> Response {
    if is_same_origin(request.method(), request.headers()) {
        next.run(request).await
    } else {
        StatusCode::FORBIDDEN.into_response()
    }
}

fn is_same_origin(method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        _ if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => true,
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, from)| from) == text("host"),
        (None, None) => true, // not a browser
    }
}
