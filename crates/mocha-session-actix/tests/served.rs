//! Over a real server: streams, WebSockets, and many workers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use actix_web::http::header;
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle};
use actix_ws::Message;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use mocha_session_actix::{Error, LazySession, Session, SessionMiddleware};
use mocha_session_core::{ErrorKind, RequestInfo, SessionManager};
use support::{count, manager};

/// An application that listens.
struct Served {
    address: SocketAddr,
    server: ServerHandle,
}

impl Served {
    fn new(
        workers: usize,
        manager: &SessionManager,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> Self {
        let sessions = SessionMiddleware::new(manager.clone());
        let app = move || App::new().configure(routes.clone()).wrap(sessions.clone());
        let server = HttpServer::new(app).workers(workers).disable_signals();
        let server = server.bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { address, server: handle }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Returns the session's current content in the store.
async fn stored(manager: &SessionManager, cookie: &str) -> Option<String> {
    let session = manager.open(RequestInfo::new(cookie.to_owned())).load().await.unwrap();
    session.get("last").unwrap()
}

#[actix_web::test]
async fn a_stream_goes_on_after_the_commit_with_a_detached_handle() {
    async fn streaming(session: Session) -> Result<HttpResponse, Error> {
        session.insert("last", "before the stream")?;
        let detached = session.detached();
        let chunks = stream::iter(1..=3).then(move |n| {
            let (session, detached) = (session.clone(), detached.clone());
            async move {
                let closed = session.insert("last", n).unwrap_err();
                assert_eq!(closed.kind(), ErrorKind::Closed);
                let own = detached.load().await.unwrap().unwrap();
                own.insert("last", format!("chunk {n}")).unwrap();
                own.commit().await.unwrap();
                Ok::<_, std::io::Error>(Bytes::from(format!("{n} ")))
            }
        });
        Ok(HttpResponse::Ok().streaming(chunks))
    }
    let manager = manager("s");
    let served = Served::new(1, &manager, |config| {
        config.route("/", web::get().to(streaming));
    });
    let mut response = awc::Client::new().get(served.url("/")).send().await.unwrap();
    let line = response.headers().get(header::SET_COOKIE).unwrap().to_str().unwrap();
    let cookie = line.split(';').next().unwrap().to_owned();
    assert_eq!(response.headers().get(header::TRANSFER_ENCODING).unwrap(), "chunked");
    assert_eq!(response.body().await.unwrap(), "1 2 3 ");
    assert_eq!(stored(&manager, &cookie).await.as_deref(), Some("chunk 3"));
    served.server.stop(false).await;
}

#[actix_web::test]
async fn a_session_that_a_stream_asks_for_only_after_the_response_is_closed() {
    async fn late(lazy: LazySession) -> HttpResponse {
        HttpResponse::Ok().streaming(stream::once(async move {
            let kind = lazy.load().await.unwrap_err().kind();
            Ok::<_, std::io::Error>(Bytes::from(format!("{kind:?}")))
        }))
    }
    let served = Served::new(1, &manager("s"), |config| {
        config.route("/", web::get().to(late));
    });
    let mut response = awc::Client::new().get(served.url("/")).send().await.unwrap();
    assert!(!response.headers().contains_key(header::VARY), "untouched");
    assert_eq!(response.body().await.unwrap(), "Closed");
    served.server.stop(false).await;
}

async fn socket(
    request: HttpRequest,
    body: web::Payload,
    session: Session,
) -> actix_web::Result<HttpResponse> {
    session.insert("last", "upgraded").map_err(Error::from)?;
    let (response, mut socket, mut messages) = actix_ws::handle(&request, body)?;
    let detached = session.detached();
    actix_web::rt::spawn(async move {
        while let Some(Ok(Message::Text(text))) = messages.recv().await {
            let Some(session) = detached.load().await.unwrap() else {
                socket.text("logged out").await.unwrap();
                continue;
            };
            session.insert("last", &*text).unwrap();
            session.commit().await.unwrap();
            socket.text("kept").await.unwrap();
        }
    });
    Ok(response)
}

#[actix_web::test]
async fn a_web_socket_works_on_the_session_until_it_is_logged_out() {
    let manager = manager("s");
    let served = Served::new(1, &manager, |config| {
        config.route("/", web::get().to(socket)).route("/logout", web::post().to(logout));
    });
    let client = awc::Client::new();
    let (response, mut socket) = client.ws(served.url("/")).connect().await.unwrap();
    let line = response.headers().get(header::SET_COOKIE).unwrap().to_str().unwrap();
    let cookie = line.split(';').next().unwrap().to_owned();
    assert_eq!(
        stored(&manager, &cookie).await.as_deref(),
        Some("upgraded"),
        "committed by the 101"
    );
    assert_eq!(ask(&mut socket, "hello").await, "kept");
    assert_eq!(stored(&manager, &cookie).await.as_deref(), Some("hello"));
    let logout = client.post(served.url("/logout")).insert_header((header::COOKIE, cookie.clone()));
    assert_eq!(logout.send().await.unwrap().status(), 200);
    assert_eq!(ask(&mut socket, "anybody?").await, "logged out");
    assert_eq!(stored(&manager, &cookie).await, None);
    served.server.stop(false).await;
}

async fn logout(session: Session) -> Result<&'static str, Error> {
    session.destroy()?;
    Ok("bye")
}

async fn ask<S>(socket: &mut S, text: &'static str) -> String
where
    S: futures_util::Sink<awc::ws::Message>
        + futures_util::Stream<Item = Result<awc::ws::Frame, awc::error::WsProtocolError>>
        + Unpin,
    S::Error: std::fmt::Debug,
{
    socket.send(awc::ws::Message::Text(text.into())).await.unwrap();
    let awc::ws::Frame::Text(answer) = socket.next().await.unwrap().unwrap() else {
        return String::new();
    };
    String::from_utf8(answer.to_vec()).unwrap()
}

#[actix_web::test]
async fn workers_share_one_manager_and_lose_no_update() {
    const REQUESTS: usize = 32;
    let manager = manager("s");
    let threads: Arc<Mutex<HashSet<ThreadId>>> = Arc::default();
    let seen = Arc::clone(&threads);
    let served = Served::new(4, &manager, move |config| {
        let seen = Arc::clone(&seen);
        let counts = move |session: Session| {
            seen.lock().unwrap().insert(thread::current().id());
            count(session)
        };
        config.route("/", web::post().to(counts));
    });
    let cookie = manager.seed(|session| session.insert("n", 0)).await.unwrap();
    let requests = (0..REQUESTS).map(|_| async {
        // A client, and so a connection, of its own: the server hands them to its workers in turn.
        let request = awc::Client::new().post(served.url("/"));
        let request = request.insert_header((header::COOKIE, cookie.clone()));
        assert_eq!(request.send().await.unwrap().status(), 200);
    });
    futures_util::future::join_all(requests).await;
    let session = manager.open(RequestInfo::new(cookie.clone())).load().await.unwrap();
    assert_eq!(session.get::<usize>("n").unwrap(), Some(REQUESTS));
    assert!(threads.lock().unwrap().len() > 1, "several workers served them");
    served.server.stop(false).await;
}
