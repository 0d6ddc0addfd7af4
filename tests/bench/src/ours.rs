//! This library over axum, on each engine that another library also supports.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mocha_session::axum::{Error, Flash, Session, SessionLayer};
use mocha_session::memory::MemoryStore;
use mocha_session::{Key, Registry, Secrets, SessionManager, Storage};

use crate::axum_client::{AxumClient, see_other};
use crate::data::{self, Item};
use crate::worker::AxumSubject;
use crate::{floor, ideal};

const USER: Key<u64> = Key::new(data::USER);
const COUNTER: Key<u64> = Key::new(data::COUNTER);
const CART: Key<Vec<Item>> = Key::new(data::CART);

/// Returns a subject of this crate by its name: this library, the bare handler, or the ideal.
pub async fn open(name: &str, url: Option<&str>) -> Option<AxumSubject> {
    Some(match name {
        "floor" => floor::bare(),
        "empty-layer" => floor::with_empty_layer(),
        "ideal-memory" | "ideal-redis" => ideal::subject(url).await,
        _ => subject(manager(name, url).await?),
    })
}

/// Returns the manager of a subject: `ours-memory`, `ours-cookie`, or any other over a URL.
pub async fn manager(subject: &str, url: Option<&str>) -> Option<SessionManager> {
    let storage = match (subject, url) {
        ("ours-memory", None) => memory(),
        ("ours-cookie", None) => Storage::client_side().with_secrets(Secrets::generate().ok()?),
        ("ours-redis" | "ours-postgres" | "ours-sqlite", Some(url)) => {
            Registry::builtin().open(url).await.expect("an engine that answers")
        }
        _ => return None,
    };
    Some(managed(storage))
}

/// Returns a memory store with room for millions of sessions.
pub fn memory() -> Storage {
    let store = MemoryStore::builder().max_bytes(usize::MAX).build();
    Storage::from_arc(Arc::new(store))
}

pub fn managed(storage: Storage) -> SessionManager {
    SessionManager::new(storage).expect("a manager")
}

pub fn subject(manager: SessionManager) -> AxumSubject {
    let login = manager.capabilities().compare_and_set();
    AxumSubject { client: AxumClient::new(router(manager)), login, sessions: true }
}

fn router(manager: SessionManager) -> Router {
    Router::new()
        .route("/untouched", get(async || "ok"))
        .route("/read", get(read))
        .route("/items", get(items))
        .route("/count", get(count))
        .route("/fill", get(fill))
        .route("/login", get(login))
        .route("/rotate", get(rotate))
        .route("/flash", get(flash))
        .route("/flashed", get(flashed))
        .layer(SessionLayer::new(manager))
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get(USER)?.unwrap_or_default().to_string())
}

async fn items(session: Session) -> Result<String, Error> {
    Ok(session.get(CART)?.unwrap_or_default().len().to_string())
}

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update(COUNTER, |count| count.unwrap_or(0) + 1)?.to_string())
}

async fn fill(session: Session) -> Result<&'static str, Error> {
    put_data(&session)?;
    Ok("filled")
}

async fn login(session: Session) -> Result<&'static str, Error> {
    // Each login is of a new user, because an owner has at most a hundred sessions, and a full list
    // is another workload.
    session.login(format!("user-{:016x}", fastrand::u64(..)))?;
    put_data(&session)?;
    Ok("logged in")
}

fn put_data(session: &Session) -> Result<(), Error> {
    session.insert(USER, data::USER_ID)?;
    session.insert(COUNTER, 0)?;
    session.insert(CART, data::cart())?;
    Ok(())
}

async fn rotate(session: Session) -> Result<&'static str, Error> {
    session.rotate()?;
    Ok("rotated")
}

async fn flash(flash: Flash) -> Result<Response, Error> {
    flash.success(data::SAVED)?;
    Ok(see_other().into_response())
}

async fn flashed(flash: Flash) -> Result<String, Error> {
    Ok(flash.messages().first().map(|message| message.text().to_owned()).unwrap_or_default())
}
