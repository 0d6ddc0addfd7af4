//! This library over axum, on each engine that another library also supports, and the bare handler
//! without sessions, which is the baseline of every other figure.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
#[cfg(feature = "engines")]
use mocha_session::SessionManagerBuilder;
use mocha_session::axum::{Error, Flash, Session, SessionLayer};
use mocha_session::memory::MemoryStore;
use mocha_session::{Key, NearPolicy, Registry, Secrets, SessionManager, Storage, Transport};
use tower_layer::layer_fn;
use tower_service::Service;

use crate::axum_client::{AxumClient, TOKEN, TokenClient, see_other};
use crate::data::{self, Item};
use crate::ideal;

pub(crate) const USER: Key<u64> = Key::new(data::USER);
pub(crate) const COUNTER: Key<u64> = Key::new(data::COUNTER);
pub(crate) const CART: Key<Vec<Item>> = Key::new(data::CART);

/// Returns a subject of this crate by its name: this library, the bare handler, or the ideal.
pub async fn open(name: &str, url: Option<&str>) -> Option<AxumClient> {
    let bare = Router::new().route("/untouched", get(async || "ok"));
    Some(AxumClient::new(match name {
        "floor" => bare,
        // Shows the cost of any middleware.
        "empty-layer" => bare.layer(layer_fn(Empty)),
        _ if name.starts_with("ideal-") => ideal::router(url).await,
        _ => {
            let manager = SessionManager::builder(storage(name, url).await?);
            #[cfg(feature = "engines")]
            let manager =
                if name.starts_with("ours-observed-") { observed(manager) } else { manager };
            router(manager.build().expect("a manager"))
        }
    }))
}

/// The same for a client with a token in a header and without cookies.
pub async fn with_token(name: &str, url: Option<&str>) -> Option<TokenClient> {
    let manager = SessionManager::builder(storage(name, url).await?);
    let manager = manager.transport(Transport::header(TOKEN.as_str()));
    Some(TokenClient(AxumClient::new(router(manager.build().expect("a manager")))))
}

/// Returns the storage that the end of a subject's name says.
pub(crate) async fn storage(name: &str, url: Option<&str>) -> Option<Storage> {
    let near = name.starts_with("ours-near-");
    Some(match (name.rsplit('-').next()?, url) {
        // With room for millions.
        ("memory", _) => {
            Storage::from_arc(Arc::new(MemoryStore::builder().max_bytes(usize::MAX).build()))
        }
        ("cookie", None) => Storage::client_side().with_secrets(Secrets::generate().ok()?),
        (_, Some(url)) => {
            let storage = Registry::builtin().open(url).await.expect("an engine that answers");
            if near { storage.near(NearPolicy::within(Duration::from_secs(2))) } else { storage }
        }
        _ => return None,
    })
}

/// Reports to a recorder of Prometheus, which an endpoint would read and empty once in a while.
#[cfg(feature = "engines")]
fn observed(manager: SessionManagerBuilder) -> SessionManagerBuilder {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).expect("the only recorder of this process");
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(5));
            handle.run_upkeep();
        }
    });
    manager.observer(mocha_session::metrics::Metrics::new())
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
        let workloads: Vec<_> =
            Workload::ALL.into_iter().filter(|it| *it != Workload::W5L).collect();
        for name in ["ideal-memory", "ours-cookie"] {
            assert_eq!(known(name).await, workloads);
        }
        let header = with_token("ours-header-memory", None).await.unwrap();
        assert_eq!(Visitor::new(header).verify().await, Workload::ALL);
        #[cfg(feature = "engines")]
        for name in ["ours-actix-memory", "ours-actix-cookie"] {
            let subject = crate::ours_actix::open(name, None).await.unwrap();
            let client = crate::visitor::Subject::client(&subject).await;
            assert_eq!(Visitor::new(client).verify().await, workloads);
        }
    }
}
