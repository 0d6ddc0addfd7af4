//! An account page as a small, complete web application: forms with post/redirect/get and flash
//! messages, flash data, a visit counter, login and logout with a new session id, "my devices" with
//! log-out-everywhere. It uses axum; `account_actix` is the same for actix-web.
//!
//! ```console
//! $ cargo run --example account                                                     # sessions in the client's cookie
//! $ SESSION_URL=sqlite:///demo.db cargo run --example account --features sqlite     # in a file
//! $ SESSION_URL=redis://127.0.0.1:6379/0 cargo run --example account --features redis
//! ```
//!
//! `PORT` (3000; 0 selects a free one) and `SESSION_SECRET` are also read from the environment, and
//! `TLS` (set if a proxy in front speaks TLS).

#![allow(clippy::print_stdout, reason = "it speaks to whoever starts it")]

mod app;

use app::{Account, Answer, App, Device, Login};
use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use mocha_session::CrossOriginProtection;
use mocha_session::axum::{CrossOriginLayer, Error, Session, SessionLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = App::open().await?;
    let _sweeper = app.manager().spawn_sweeper(std::time::Duration::from_secs(600));
    let router = Router::new()
        .route("/", get(home))
        .route("/account", get(account_form).post(save_account))
        .route("/account/saved", get(saved))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/devices", get(devices))
        .route("/devices/end", post(end_device))
        .route("/devices/end-others", post(end_others))
        .route("/devices/end-all", post(end_all))
        .layer(SessionLayer::new(app.manager().clone()))
        // Outside the session layer, as are all pages that need no session.
        .route("/about", get(about))
        .layer(CrossOriginLayer::new(CrossOriginProtection::new()))
        .with_state(app);

    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    Ok(())
}

/// The result of a handler: a page, a redirect, or a session error, which is a response too.
type Handled = Result<Answer, Error>;

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Page(page) => Html(page).into_response(),
            Self::Private(page) => {
                ([(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
            }
            Self::SeeOther(path) => Redirect::to(path).into_response(),
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

async fn home(State(app): State<App>, session: Session) -> Handled {
    Ok(app.home(&session)?)
}

async fn account_form(State(app): State<App>, session: Session) -> Handled {
    Ok(app.account_form(&session)?)
}

async fn save_account(session: Session, Form(account): Form<Account>) -> Handled {
    Ok(App::save_account(&session, account)?)
}

async fn saved(State(app): State<App>, session: Session) -> Handled {
    Ok(app.saved(&session)?)
}

async fn login(session: Session, headers: HeaderMap, Form(login): Form<Login>) -> Handled {
    let browser = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Ok(App::login(&session, &login, browser)?)
}

async fn logout(session: Session) -> Handled {
    Ok(App::logout(&session)?)
}

async fn devices(State(app): State<App>, session: Session) -> Handled {
    Ok(app.devices(&session).await?)
}

async fn end_device(
    State(app): State<App>,
    session: Session,
    Form(device): Form<Device>,
) -> Handled {
    Ok(app.end_device(&session, &device).await?)
}

async fn end_others(State(app): State<App>, session: Session) -> Handled {
    Ok(app.end_others(&session).await?)
}

async fn end_all(State(app): State<App>, session: Session) -> Handled {
    Ok(app.end_all(&session).await?)
}

async fn about(State(app): State<App>) -> Answer {
    app.about()
}
