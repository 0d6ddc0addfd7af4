//! This library over axum, on each engine that another library also supports, and the bare handler
//! without sessions, which is the baseline of every other figure.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mocha_session::axum::{Error, Flash, Session, SessionLayer};
use mocha_session::memory::MemoryStore;
use mocha_session::{Key, Registry, Secrets, SessionManager, Storage};
use tower_layer::layer_fn;
use tower_service::Service;

use crate::axum_client::{AxumClient, see_other};
use crate::data::{self, Item};
use crate::ideal;

const USER: Key<u64> = Key::new(data::USER);
const COUNTER: Key<u64> = Key::new(data::COUNTER);
const CART: Key<Vec<Item>> = Key::new(data::CART);

/// Returns a subject of this crate by its name: this library, the bare handler, or the ideal.
pub async fn open(name: &str, url: Option<&str>) -> Option<AxumClient> {
    let bare = Router::new().route("/untouched", get(async || "ok"));
    Some(AxumClient::new(match name {
        "floor" => bare,
        // Shows the cost of any middleware.
        "empty-layer" => bare.layer(layer_fn(Empty)),
        "ideal-memory" | "ideal-redis" => ideal::router(url).await,
        _ => router(SessionManager::new(storage(name, url).await?).expect("a manager")),
    }))
}

async fn storage(name: &str, url: Option<&str>) -> Option<Storage> {
    Some(match (name, url) {
        // With room for millions.
        ("ours-memory", None) => {
            Storage::from_arc(Arc::new(MemoryStore::builder().max_bytes(usize::MAX).build()))
        }
        ("ours-cookie", None) => Storage::client_side().with_secrets(Secrets::generate().ok()?),
        ("ours-redis" | "ours-postgres" | "ours-sqlite", Some(url)) => {
            Registry::builtin().open(url).await.expect("an engine that answers")
        }
        _ => return None,
    })
}

fn router(manager: SessionManager) -> Router {
    let mut router = Router::new()
        .route("/untouched", get(async || "ok"))
        .route("/read", get(read))
        .route("/items", get(items))
        .route("/count", get(count))
        .route("/fill", get(fill))
        .route("/rotate", get(rotate))
        .route("/flash", get(flash))
        .route("/flashed", get(flashed));
    // Only a server can list the sessions of a user.
    if manager.capabilities().compare_and_set() {
        router = router.route("/login", get(login));
    }
    router.layer(SessionLayer::new(manager))
}

/// A layer that does nothing.
#[derive(Clone)]
struct Empty<S>(S);

impl<S: Service<R>, R> Service<R> for Empty<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitor::{Visitor, Workload};

    #[tokio::test]
    async fn only_what_a_subject_can_do_is_measured() {
        let known = async |name| Visitor::new(open(name, None).await.unwrap()).verify().await;
        assert_eq!(known("floor").await, [Workload::W1]);
        assert_eq!(known("ours-memory").await, Workload::ALL);
        for name in ["ideal-memory", "ours-cookie"] {
            let workloads = Workload::ALL.into_iter().filter(|it| *it != Workload::W5L);
            assert_eq!(known(name).await, workloads.collect::<Vec<_>>());
        }
    }
}
