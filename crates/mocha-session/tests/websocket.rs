//! The examples `websocket` and `websocket_actix`, with a client that speaks to them.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "it has a `main`")]
#[path = "../examples/websocket_actix.rs"]
mod under_actix;
#[allow(dead_code, reason = "it has a `main`")]
#[path = "../examples/websocket.rs"]
mod under_axum;

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use mocha_session::{RequestInfo, SessionManager};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// A socket opened with this cookie.
async fn open(address: SocketAddr, cookie: &str) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{address}/socket").into_client_request().unwrap();
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

/// What a socket answers; `None` where it is closed.
async fn say(socket: &mut WebSocketStream<TcpStream>, text: &str) -> Option<String> {
    socket.send(Message::text(text)).await.unwrap();
    match socket.next().await {
        Some(Ok(Message::Text(answer))) => Some(answer.to_string()),
        _ => None,
    }
}

async fn counts_until_the_logout(manager: &SessionManager, address: SocketAddr) {
    let cookie = manager.seed(|session| session.insert("said", 0)).await.unwrap();
    let (mut one, mut two) = (open(address, &cookie).await, open(address, &cookie).await);
    assert_eq!(say(&mut one, "hello").await.as_deref(), Some("1: hello"));
    assert_eq!(say(&mut two, "and hello").await.as_deref(), Some("2: and hello"));

    let lazy = manager.open(RequestInfo::new(cookie));
    let session = lazy.load().await.unwrap();
    assert_eq!(session.get::<u64>("said").unwrap(), Some(2), "as any request sees it");
    session.destroy().unwrap();
    manager.finish(&lazy, 200).await.into_result().unwrap();
    assert_eq!(say(&mut one, "anybody?").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_under_axum_works_on_the_session_until_the_logout() {
    let manager = SessionManager::in_memory().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = under_axum::app(manager.clone());
    tokio::spawn(async { axum::serve(listener, app).await });
    counts_until_the_logout(&manager, address).await;
}

#[actix_web::test]
async fn a_socket_under_actix_works_on_the_session_until_the_logout() {
    let manager = SessionManager::in_memory().unwrap();
    let sessions = mocha_session::actix::SessionMiddleware::new(manager.clone());
    let app = move || actix_web::App::new().configure(under_actix::routes).wrap(sessions.clone());
    let server = actix_web::HttpServer::new(app).workers(1).disable_signals();
    let server = server.bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    counts_until_the_logout(&manager, address).await;
}
