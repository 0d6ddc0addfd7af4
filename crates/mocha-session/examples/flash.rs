//! Flash messages: a form that redirects, and a page that shows each message once.
//!
//! ```console
//! $ cargo run --example flash         # then open http://127.0.0.1:3000
//! ```

use axum::extract::Form;
use axum::response::{Html, Redirect};
use axum::{Router, routing::get};
use mocha_session::axum::{Error, Flash, SessionLayer};
use mocha_session::{CookiePolicy, Message, SessionManager};

#[derive(serde::Deserialize)]
struct Note {
    text: String,
}

/// Shows the waiting messages, and so consumes them.
async fn page(flash: Flash) -> Html<String> {
    let shown = |message: &Message| {
        format!("<p><b>{}</b>: {}</p>", message.level().as_str(), escape(message.text()))
    };
    let messages: Vec<_> = flash.messages().iter().map(shown).collect();
    let messages = messages.concat();
    Html(format!("{messages}<form method=post><input name=text> <button>Save</button></form>"))
}

/// Responds with a redirect, which shows nothing, so the messages wait for the next page.
async fn save(flash: Flash, Form(note): Form<Note>) -> Result<Redirect, Error> {
    if note.text.trim().is_empty() {
        flash.error("A note needs a text.")?;
    } else {
        flash.success(format!("Saved: {}", note.text))?.info("It is kept nowhere, though.")?;
    }
    Ok(Redirect::to("/"))
}

/// Messages are text. A template engine escapes them by itself.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage = mocha_session::open("memory:").await?;
    let manager =
        SessionManager::builder(storage).cookie(CookiePolicy::for_plain_http()).build()?;
    let app = Router::new().route("/", get(page).post(save)).layer(SessionLayer::new(manager));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?;
    Ok(())
}
