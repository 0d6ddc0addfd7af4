//! The lower bound without safety: a layer that neither seals, hashes, compares nor limits
//! anything.
//!
//! A record is a plain list of names and JSON values. It is stored under the id that the client
//! sends, and overwrites the current record. It is not a library and must not become one. It is a
//! reference for comparing libraries.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode, header};
use pin_project_lite::pin_project;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower_layer::layer_fn;
use tower_service::Service;

use crate::axum_client::{Values, routes};

type Id = [u8; 16];
type Shard = Mutex<HashMap<Id, Arc<[u8]>>>;

const TWO_WEEKS: u64 = 14 * 24 * 3600;

/// Returns the reference in memory, or over one multiplexed connection to a Redis.
pub async fn router(url: Option<&str>) -> Router {
    let store = match url {
        None => Store::Memory((0..64).map(|_| Shard::default()).collect()),
        #[cfg(feature = "redis")]
        Some(url) => {
            let client = redis::Client::open(url).expect("a URL");
            Store::Redis(
                client.get_multiplexed_async_connection().await.expect("a server that answers"),
            )
        }
        #[cfg(not(feature = "redis"))]
        Some(_) => panic!("built without the feature `redis`"),
    };
    let store = Arc::new(store);
    routes::<Handle>().layer(layer_fn(move |inner| Sessions { inner, store: Arc::clone(&store) }))
}

#[cfg(feature = "redis")]
use redis::AsyncCommands as _;

enum Store {
    Memory(Box<[Shard]>),
    #[cfg(feature = "redis")]
    Redis(redis::aio::MultiplexedConnection),
}

impl Store {
    async fn load(&self, id: &Id) -> Option<Arc<[u8]>> {
        match self {
            Self::Memory(shards) => {
                shards[usize::from(id[0] & 63)].lock().unwrap().get(id).cloned()
            }
            #[cfg(feature = "redis")]
            Self::Redis(connection) => {
                let bytes: Option<Vec<u8>> = connection.clone().get(&id[..]).await.unwrap();
                bytes.map(Arc::from)
            }
        }
    }

    async fn save(&self, id: &Id, bytes: Arc<[u8]>) {
        match self {
            Self::Memory(shards) => {
                drop(shards[usize::from(id[0] & 63)].lock().unwrap().insert(*id, bytes));
            }
            #[cfg(feature = "redis")]
            Self::Redis(connection) => {
                connection
                    .clone()
                    .set_ex::<_, _, ()>(&id[..], &bytes[..], TWO_WEEKS)
                    .await
                    .unwrap();
            }
        }
    }

    async fn remove(&self, id: &Id) {
        match self {
            Self::Memory(shards) => {
                drop(shards[usize::from(id[0] & 63)].lock().unwrap().remove(id));
            }
            #[cfg(feature = "redis")]
            Self::Redis(connection) => connection.clone().del::<_, ()>(&id[..]).await.unwrap(),
        }
    }
}

#[derive(Clone)]
struct Handle(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    cookie: Option<HeaderValue>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: bool,
    id: Option<Id>,
    bytes: Vec<u8>,
    shared: Option<Arc<[u8]>>,
    dirty: bool,
    rotate: bool,
}

impl State {
    fn bytes(&self) -> &[u8] {
        self.shared.as_deref().unwrap_or(&self.bytes)
    }

    /// Returns the position of a value: the start of its entry, its start, and its end.
    fn find(&self, name: &str) -> Option<(usize, usize, usize)> {
        let (bytes, mut at) = (self.bytes(), 0);
        while at < bytes.len() {
            let named = at + 1 + usize::from(bytes[at]);
            let value = named + 2;
            let end = value + usize::from(u16::from_be_bytes([bytes[named], bytes[named + 1]]));
            if &bytes[at + 1..named] == name.as_bytes() {
                return Some((at, value, end));
            }
            at = end;
        }
        None
    }

    fn remove(&mut self, name: &str) {
        let found = self.find(name);
        let bytes = self.bytes();
        self.bytes = match found {
            Some((from, _, to)) => [&bytes[..from], &bytes[to..]].concat(),
            None => bytes.to_vec(),
        };
        self.shared = None;
        self.dirty = true;
    }
}

impl Handle {
    async fn load(&self) {
        let id = {
            let mut state = self.0.state.lock().unwrap();
            if std::mem::replace(&mut state.loaded, true) {
                return;
            }
            self.0.cookie.as_ref().and_then(id_of)
        };
        let Some(id) = id else { return };
        let found = self.0.store.load(&id).await;
        let mut state = self.0.state.lock().unwrap();
        (state.id, state.shared) = (found.as_ref().map(|_| id), found);
    }

    /// Writes the changes. Returns the cookie line, if there is a new id.
    async fn save(self) -> Option<HeaderValue> {
        let (old, new, bytes) = {
            let mut state = self.0.state.lock().unwrap();
            let old = state.id.filter(|_| state.rotate);
            let new = state
                .id
                .filter(|_| !state.rotate)
                .unwrap_or_else(|| fastrand::u128(..).to_be_bytes());
            let bytes = match state.shared.take() {
                Some(shared) => shared,
                None => Arc::from(std::mem::take(&mut state.bytes)),
            };
            (old, (new, state.id != Some(new)), bytes)
        };
        let (id, is_new) = new;
        self.0.store.save(&id, bytes).await;
        if let Some(old) = old {
            self.0.store.remove(&old).await;
        }
        is_new.then(|| line(&id))
    }
}

impl Values for Handle {
    async fn get<T: DeserializeOwned>(&self, name: &'static str) -> Option<T> {
        self.load().await;
        let state = self.0.state.lock().unwrap();
        let (_, from, to) = state.find(name)?;
        serde_json::from_slice(&state.bytes()[from..to]).ok()
    }

    async fn insert<T: Serialize>(&self, name: &'static str, value: T) {
        self.load().await;
        let mut state = self.0.state.lock().unwrap();
        state.remove(name);
        state.bytes.push(u8::try_from(name.len()).unwrap());
        state.bytes.extend_from_slice(name.as_bytes());
        let at = state.bytes.len();
        state.bytes.extend_from_slice(&[0, 0]);
        serde_json::to_writer(&mut state.bytes, &value).unwrap();
        let length = u16::try_from(state.bytes.len() - at - 2).unwrap();
        state.bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }

    async fn remove<T: DeserializeOwned + Send>(&self, name: &'static str) -> Option<T> {
        let found = self.get(name).await;
        if found.is_some() {
            self.0.state.lock().unwrap().remove(name);
        }
        found
    }

    async fn rotate(&self) {
        self.load().await;
        self.0.state.lock().unwrap().rotate = true;
    }
}

fn id_of(cookie: &HeaderValue) -> Option<Id> {
    let mut pairs = cookie.as_bytes().split(|&c| c == b';');
    let value = pairs.find_map(|pair| pair.trim_ascii().strip_prefix(b"id="))?;
    u128::from_str_radix(std::str::from_utf8(value).ok()?, 16).ok().map(u128::to_be_bytes)
}

fn line(id: &Id) -> HeaderValue {
    let line = format!(
        "id={:032x}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age={TWO_WEEKS}",
        u128::from_be_bytes(*id)
    );
    HeaderValue::try_from(line).unwrap()
}

impl<S: Sync> FromRequestParts<S> for Handle {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

#[derive(Clone)]
struct Sessions<I> {
    inner: I,
    store: Arc<Store>,
}

impl<I: Service<Request<Body>, Response = Response>> Service<Request<Body>> for Sessions<I> {
    type Response = Response;
    type Error = I::Error;
    type Future = Saved<I::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Saved<I::Future> {
        let handle = Handle(Arc::new(Inner {
            store: Arc::clone(&self.store),
            cookie: request.headers().get(header::COOKIE).cloned(),
            state: Mutex::default(),
        }));
        request.extensions_mut().insert(handle.clone());
        Saved { state: Step::Handling { future: self.inner.call(request) }, handle: Some(handle) }
    }
}

type Saving = Pin<Box<dyn Future<Output = Option<HeaderValue>> + Send>>;

pin_project! {
    struct Saved<F> {
        #[pin]
        state: Step<F>,
        handle: Option<Handle>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<F> {
        Handling { #[pin] future: F },
        Saving { saving: Saving, response: Option<Response> },
    }
}

impl<E, F: Future<Output = Result<Response, E>>> Future for Saved<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StepProj::Handling { future } => {
                    let response = ready!(future.poll(cx))?;
                    let handle = this.handle.take().expect("polled after it was ready");
                    let (dirty, rotate) = {
                        let state = handle.0.state.lock().unwrap();
                        (state.dirty, state.rotate)
                    };
                    if !dirty && !rotate {
                        return Poll::Ready(Ok(response));
                    }
                    let saving = Box::pin(handle.save());
                    this.state.set(Step::Saving { saving, response: Some(response) });
                }
                StepProj::Saving { saving, response } => {
                    let line = ready!(saving.as_mut().poll(cx));
                    let mut response = response.take().expect("polled after it was ready");
                    if let Some(line) = line {
                        response.headers_mut().append(header::SET_COOKIE, line);
                    }
                    return Poll::Ready(Ok(response));
                }
            }
        }
    }
}
