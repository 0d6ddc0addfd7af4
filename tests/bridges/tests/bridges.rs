//! The examples, each on a server of its own.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "it has a `main`")]
#[path = "../examples/poem.rs"]
mod under_poem;
#[allow(dead_code, reason = "it has a `main`")]
#[path = "../examples/salvo.rs"]
mod under_salvo;

use std::net::SocketAddr;

use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mocha_session::store::Bytes;
use mocha_session::{SessionManager, open};
use poem::listener::{Acceptor as _, Listener as _};
use salvo::conn::Acceptor as _;
use salvo::prelude::Listener as _;

/// A browser that visits, logs in, visits again, and one that has no cookie.
async fn a_counter_and_a_login(manager: &SessionManager, address: SocketAddr) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut cookie = String::new();
    let mut seen = Vec::new();
    for (method, path) in [("GET", "/"), ("GET", "/"), ("POST", "/login"), ("GET", "/")] {
        let uri = format!("http://{address}{path}");
        let request = Request::builder().method(method).uri(uri).header(header::COOKIE, &cookie);
        let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        if let Some(line) = response.headers().get(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            assert!(line.contains("; HttpOnly; SameSite=Lax"), "{line}");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            line.split(';').next().unwrap().clone_into(&mut cookie);
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        seen.push((String::from_utf8(body.to_vec()).unwrap(), cookie.clone()));
    }
    let pages: Vec<_> = seen.iter().map(|(page, _)| page.as_str()).collect();
    assert_eq!(pages, [" 1", " 2", "", "ada 3"]);
    assert_eq!(seen[0].1, seen[1].1);
    assert_ne!(seen[1].1, seen[2].1, "a login gives the session a new id");
    assert_eq!(manager.sessions_of("ada").await.unwrap().len(), 1);
}

async fn manager() -> SessionManager {
    SessionManager::new(open("memory:").await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_under_poem() {
    let manager = manager().await;
    let listener = poem::listener::TcpListener::bind("127.0.0.1:0");
    let acceptor = listener.into_acceptor().await.unwrap();
    let address = *acceptor.local_addr()[0].as_socket_addr().unwrap();
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(under_poem::app(manager.clone())));
    a_counter_and_a_login(&manager, address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_under_salvo() {
    let manager = manager().await;
    let acceptor = salvo::prelude::TcpListener::new("127.0.0.1:0").bind().await;
    let address = acceptor.holdings()[0].local_addr.clone().into_std().unwrap();
    let server = salvo::prelude::Server::new(acceptor);
    tokio::spawn(server.serve(under_salvo::app(manager.clone())));
    a_counter_and_a_login(&manager, address).await;
}
