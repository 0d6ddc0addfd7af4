//! An application's own tests: a logged-in user without a login form, and a clock that the test
//! controls.
//!
//! ```console
//! $ cargo run --example testing       # the application, then http://127.0.0.1:3000
//! $ cargo test --example testing      # its tests
//! ```

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use mocha_session::axum::{Error, Session, SessionLayer};
use mocha_session::{CookiePolicy, SessionManager, SessionManagerBuilder, Storage};

/// The application's settings, in one place for the server and for the tests.
fn rules(storage: Storage) -> SessionManagerBuilder {
    SessionManager::builder(storage)
        .cookie(CookiePolicy::for_plain_http())
        .idle_timeout(Duration::from_secs(30 * 60))
}

async fn account(session: Option<Session>) -> Result<Response, Error> {
    let Some(user) = session.and_then(|session| session.owner()) else {
        return Ok((StatusCode::UNAUTHORIZED, "Log in first.").into_response());
    };
    Ok(format!("The account of {user}.").into_response())
}

fn app(manager: SessionManager) -> Router {
    Router::new().route("/", get(account)).layer(SessionLayer::new(manager))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = app(rules(mocha_session::open("memory:").await?).build()?);
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use mocha_session::ManualClock;
    use tower::ServiceExt as _;

    use super::*;

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    /// Creates a manager with the application's settings, and a clock that stands still.
    async fn setup() -> Outcome<(SessionManager, ManualClock)> {
        let clock = ManualClock::new();
        let storage = mocha_session::open("memory:").await?; // or a real server
        Ok((rules(storage).clock(clock.clone()).build()?, clock))
    }

    async fn status_and_page(manager: &SessionManager, cookie: &str) -> Outcome<(u16, String)> {
        let request = Request::get("/").header("cookie", cookie).body(Body::empty())?;
        let response = app(manager.clone()).oneshot(request).await?;
        let status = response.status().as_u16();
        let page = to_bytes(response.into_body(), 1024).await?;
        Ok((status, String::from_utf8(page.to_vec())?))
    }

    #[tokio::test]
    async fn a_user_who_is_logged_in_sees_their_account() -> Outcome {
        let (manager, _clock) = setup().await?;
        let cookie = manager.seed(|session| session.login("alice")).await?;
        let seen = status_and_page(&manager, &cookie).await?;
        assert_eq!(seen, (200, "The account of alice.".into()));
        Ok(())
    }

    #[tokio::test]
    async fn after_half_an_hour_they_log_in_again() -> Outcome {
        let (manager, clock) = setup().await?;
        let cookie = manager.seed(|session| session.login("alice")).await?;
        clock.advance(Duration::from_secs(29 * 60));
        assert_eq!(status_and_page(&manager, &cookie).await?.0, 200);
        clock.advance(Duration::from_secs(31 * 60));
        assert_eq!(status_and_page(&manager, &cookie).await?.0, 401);
        Ok(())
    }

    #[tokio::test]
    async fn who_was_logged_out_everywhere_is_logged_out() -> Outcome {
        let (manager, _clock) = setup().await?;
        let cookie = manager.seed(|session| session.login("alice")).await?;
        manager.revoke_all("alice").await?;
        assert_eq!(status_and_page(&manager, &cookie).await?.0, 401);
        Ok(())
    }
}
