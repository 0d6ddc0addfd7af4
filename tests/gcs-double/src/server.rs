//! The server: one port for HTTP/1 and HTTP/2, which can be stopped and resumed, and the common
//! path of all calls.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::fault::Fault;
use crate::world::{Call, Outcome, Refusal, World};
use crate::{grpc, json, xml};

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>;

/// A command of the double's owner to its server.
#[derive(Debug)]
pub(crate) enum Command {
    Stop(oneshot::Sender<()>),
    Resume(oneshot::Sender<()>),
}

/// Serves until the command channel closes.
pub(crate) fn run(
    world: &Arc<World>,
    inbox: mpsc::UnboundedReceiver<Command>,
    ready: oneshot::Sender<u16>,
) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(serve(world, inbox, ready));
}

async fn serve(
    world: &Arc<World>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    ready: oneshot::Sender<u16>,
) {
    let mut listener =
        Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port"));
    let address: SocketAddr = listener
        .as_ref()
        .and_then(|listener| listener.local_addr().ok())
        .expect("it has an address");
    if ready.send(address.port()).is_err() {
        return;
    }
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some((stream, _)) = accept(listener.as_ref()) => {
                connections.spawn(connection(stream, Arc::clone(world)));
            }
            Some(_) = connections.join_next() => {}
            command = inbox.recv() => match command {
                None => return,
                Some(Command::Stop(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Command::Resume(done)) => {
                    if listener.is_none() {
                        listener = Some(TcpListener::bind(address).await.expect("the port is still free"));
                    }
                    let _ = done.send(());
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await.ok(),
        None => std::future::pending().await,
    }
}

async fn connection(stream: TcpStream, world: Arc<World>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, Arc::clone(&world)));
    // An error is a connection that the client or a fault has cut.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A connection that is cut on purpose.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut on request")
    }
}

impl std::error::Error for Cut {}

async fn answer(request: Request<Incoming>, world: Arc<World>) -> Result<Answer, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = parts.uri.path();
    if path.starts_with("/google.storage.") {
        let result = handle(&world, grpc::read(&parts, &body)).await?;
        return Ok(grpc::write(result));
    }
    if path.starts_with("/storage/v1/") || path.starts_with("/upload/storage/v1/") {
        let result = handle(&world, json::read(&parts, &body)).await?;
        return Ok(json::write(&parts, result));
    }
    let result = handle(&world, xml::read(&parts, body)).await?;
    Ok(xml::write(&parts, result))
}

/// Performs a call, or injects the requested fault.
async fn handle(
    world: &World,
    call: Result<Call, Refusal>,
) -> Result<Result<Outcome, Refusal>, Cut> {
    let call = match call {
        Ok(call) => call,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match world.faults().arrive(call.operation()) {
        None => Ok(world.perform(&call)),
        Some(Fault::Status(status)) => Ok(Err(Refusal::Status(status))),
        Some(Fault::BareNotFound) => Ok(Err(Refusal::Status(404))),
        Some(Fault::Late(after)) => {
            tokio::time::sleep(after).await;
            Ok(world.perform(&call))
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Cut) => Err(Cut),
        Some(Fault::HangAfter) => {
            let _ = world.perform(&call);
            std::future::pending().await
        }
        Some(Fault::LostAnswer) => {
            let _ = world.perform(&call);
            Err(Cut)
        }
        Some(Fault::MismatchAfter) => {
            let _ = world.perform(&call);
            Ok(Err(Refusal::Mismatch))
        }
    }
}

/// Creates a response of these parts.
pub(crate) fn respond(status: u16, headers: &[(&str, String)], body: impl Into<Bytes>) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(body.into()).boxed_unsync()).expect("headers that can be sent")
}

/// Returns a decoded parameter of the query.
pub(crate) fn parameter(parts: &Parts, name: &str) -> Option<String> {
    let pairs = parts.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(known, _)| *known == name)?;
    Some(decode(&value.replace('+', " ")))
}

/// Returns a header as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Decodes percent-encoded text.
pub(crate) fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
