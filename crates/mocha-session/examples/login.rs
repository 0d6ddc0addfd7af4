//! Login with "keep me logged in", a list of the user's devices, and a logout of the other devices.
//!
//! The larger example, `account`, also refuses forms that other sites send.
//!
//! ```console
//! $ cargo run --example login         # then open http://127.0.0.1:3000
//! ```

use std::time::Duration;

use axum::extract::{Form, State};
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use axum::{Router, http::HeaderMap};
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, SessionManager};

#[derive(serde::Deserialize)]
struct Login {
    user: String,
    keep: Option<String>,
}

async fn home(
    State(manager): State<SessionManager>,
    session: Session,
) -> Result<Html<String>, Error> {
    let Some(user) = session.owner() else {
        return Ok(Html(
            "<form method=post action=/login><input name=user required> \
             <label><input type=checkbox name=keep> keep me logged in</label> <button>Log in</button></form>"
                .into(),
        ));
    };
    let devices = manager.sessions_of(&user).await?.len();
    Ok(Html(format!(
        "<p>You are logged in on {devices} devices.</p>\
         <form method=post action=/others><button>Log out the others</button></form>\
         <form method=post action=/logout><button>Log out</button></form>"
    )))
}

async fn login(
    session: Session,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Result<Redirect, Error> {
    // A real application checks a password here. The session gets a new id, and the old id is no
    // longer valid.
    session.login(&login.user)?;
    match login.keep {
        Some(_) => session.remember_for(Duration::from_secs(30 * 24 * 60 * 60))?,
        None => session.forget_on_close()?,
    }
    let browser =
        headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or("unknown");
    session.set_label(browser.chars().take(60).collect::<String>())?;
    Ok(Redirect::to("/"))
}

async fn others(
    State(manager): State<SessionManager>,
    session: Session,
) -> Result<Redirect, Error> {
    manager.revoke_others(&session).await?;
    Ok(Redirect::to("/"))
}

async fn logout(session: Session) -> Result<Redirect, Error> {
    session.destroy()?;
    Ok(Redirect::to("/"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = mocha_session::open("memory:").await?;
    let manager =
        SessionManager::builder(storage).cookie(CookiePolicy::for_plain_http()).build()?;
    let app = Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/others", post(others))
        .route("/logout", post(logout))
        .layer(SessionLayer::new(manager.clone()))
        .with_state(manager);
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
