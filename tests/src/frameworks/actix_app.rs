//! The application under actix-web, on a server of its own: its services cannot leave their thread.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mocha_session::SessionManager;
use mocha_session::actix::{
    Error, ExistingSession, Flash, LazySession, Session, SessionMiddleware,
};
use tokio::net::TcpStream;

use super::{Answer, Answering, Client, Framework, Gate, Send};

/// actix-web, with several workers.
#[derive(Debug)]
pub struct Actix;

impl Framework for Actix {
    fn serve(manager: SessionManager, gate: Gate) -> Box<dyn Client> {
        let (sessions, gate) = (SessionMiddleware::new(manager), Data::new(gate));
        let app =
            move || App::new().app_data(gate.clone()).configure(routes).wrap(sessions.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // A worker that panics prints a back-trace first. On a busy machine that takes longer than
        // actix lets a connection wait for its first request, which it would answer with 408.
        let server = HttpServer::new(app)
            .workers(2)
            .client_request_timeout(Duration::from_secs(60))
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
        let stop = Arc::new(Stop(server.handle()));
        tokio::spawn(server);
        Box::new(ActixClient { address, stop })
    }
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/untouched", web::get().to(async || "ok"))
        .route("/lazy", web::get().to(async |_: LazySession| "ok"))
        .route("/read", web::get().to(read))
        .route(
            "/contains",
            web::get().to(async |session: Session| session.contains("n").to_string()),
        )
        .route("/optional", web::get().to(optional))
        .route(
            "/owner",
            web::get().to(async |session: Session| session.owner().unwrap_or_default()),
        )
        .route("/count", web::post().to(count))
        .route("/set/{key}/{value}", web::post().to(set))
        .route("/get/{key}", web::get().to(text))
        .route("/clear", web::post().to(async |session: Session| done(session.clear())))
        .route("/login/{who}", web::post().to(login))
        .route("/rotate", web::post().to(async |session: Session| done(session.rotate())))
        .route("/logout", web::post().to(async |session: Session| done(session.destroy())))
        .route("/status/{status}", web::post().to(status))
        .route("/committed/{status}", web::post().to(committed))
        .route("/panic", web::post().to(panicking))
        .route("/slow", web::post().to(slow))
        .route("/flash/{text}", web::post().to(flash))
        .route("/messages/{status}", web::get().to(messages))
        .route("/messages/{status}", web::head().to(messages))
        .route("/cached", web::get().to(cached))
        .route("/cached", web::post().to(cached_write));
}

type Handled<T = HttpResponse> = Result<T, Error>;

fn done(result: mocha_session::Result<()>) -> Handled<&'static str> {
    result.map(|()| "").map_err(Error::from)
}

fn answer(status: u16) -> HttpResponse {
    HttpResponse::new(StatusCode::from_u16(status).unwrap())
}

async fn read(session: Session) -> Handled<String> {
    Ok(session.get::<u64>("n")?.unwrap_or_default().to_string())
}

async fn optional(ExistingSession(session): ExistingSession) -> &'static str {
    if session.is_some() { "some" } else { "none" }
}

async fn count(session: Session) -> Handled<String> {
    Ok(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?.to_string())
}

async fn set(session: Session, path: Path<(String, String)>) -> Handled<&'static str> {
    let (key, value) = path.into_inner();
    done(session.insert(key, value))
}

async fn text(session: Session, key: Path<String>) -> Handled<String> {
    Ok(session.get(key.as_str())?.unwrap_or_default())
}

async fn login(session: Session, who: Path<String>) -> Handled<&'static str> {
    done(session.login(&*who))
}

async fn status(session: Session, status: Path<u16>) -> Handled {
    session.insert("n", 99)?;
    Ok(answer(*status))
}

async fn committed(session: Session, status: Path<u16>) -> Handled {
    session.login("early")?;
    session.commit().await?;
    session.insert("n", 99)?;
    Ok(answer(*status))
}

async fn panicking(session: Session) -> Handled {
    session.insert("n", 99)?;
    panic!("as the test asked");
}

async fn slow(gate: Data<Gate>, session: Session) -> Handled<&'static str> {
    gate.pass().await;
    done(session.insert("slow", "yes"))
}

async fn flash(flash: Flash, text: Path<String>) -> Handled {
    flash.info(text.into_inner())?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/messages/200")).finish())
}

async fn messages(flash: Flash, status: Path<u16>) -> Handled {
    let texts: Vec<_> = flash.messages().iter().map(|message| message.text().to_owned()).collect();
    Ok(HttpResponse::build(StatusCode::from_u16(*status).unwrap()).body(texts.join(",")))
}

async fn cached(session: Session) -> Handled {
    read(session).await.map(own_headers)
}

async fn cached_write(session: Session) -> Handled {
    count(session).await.map(own_headers)
}

fn own_headers(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=60"))
        .insert_header((header::SET_COOKIE, "theme=dark"))
        .body(body)
}

struct ActixClient {
    address: SocketAddr,
    stop: Arc<Stop>,
}

/// Stops the server when the last client is gone.
struct Stop(ServerHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        // The command is sent at once; the future only waits for its end.
        drop(self.0.stop(false));
    }
}

impl Client for ActixClient {
    fn send(&self, request: Send) -> Answering<'_> {
        let request = request.header("host", self.address.to_string());
        let request = request.into_http(Empty::<Bytes>::new());
        Box::pin(async move {
            let stream = TcpStream::connect(self.address).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            Answer::read(sender.send_request(request).await.unwrap()).await
        })
    }

    fn again(&self) -> Box<dyn Client> {
        Box::new(Self { address: self.address, stop: Arc::clone(&self.stop) })
    }
}

impl fmt::Debug for ActixClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActixClient")
    }
}
