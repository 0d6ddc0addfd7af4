//! The TLS in front of an application, as a proxy would be: it passes on what a browser sends, and
//! keeps a record of it. Under the name of another site it serves the page of the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mocha_session_conformance::engine_url;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The site of the application.
pub const SHOP: &str = "shop.example";
/// The same application under another name. The browser keeps other cookies for it, because
/// `__Host-` binds them to the host: it is a second device.
pub const PHONE: &str = "phone.shop.example";
/// A site that the application knows nothing of.
pub const OTHER: &str = "other.example";

/// A request of a browser, and what the application answered.
#[derive(Clone, Debug)]
pub struct Seen {
    pub request: String,
    pub headers: HeaderMap,
    pub status: u16,
    pub answer: HeaderMap,
}

impl Seen {
    /// A header of the request, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The proxy; it ends with its runtime.
#[derive(Clone, Debug)]
pub struct Front {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    page: Arc<Mutex<String>>,
}

impl Front {
    /// A front of the application at this address. `None` where the tests have no certificate.
    pub async fn of(application: SocketAddr) -> Option<Self> {
        let certificate = engine_url("MOCHA_TEST_SITE_CERT")?;
        let key = PrivateKeyDer::from_pem_file(engine_url("MOCHA_TEST_SITE_KEY")?).unwrap();
        let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let tls = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let front = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            page: Arc::default(),
        };
        tokio::spawn(front.clone().serve(listener, tls, application));
        Some(front)
    }

    async fn serve(self, listener: TcpListener, tls: TlsAcceptor, application: SocketAddr) {
        let client = Client::builder(TokioExecutor::new()).build_http();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().connection(stream, tls.clone(), client.clone(), application));
        }
    }

    /// Browsers open connections in advance and close them as they like: no error here is one.
    async fn connection(
        self,
        stream: TcpStream,
        tls: TlsAcceptor,
        client: Client<HttpConnector, Incoming>,
        application: SocketAddr,
    ) {
        let Ok(stream) = tls.accept(stream).await else { return };
        let service = service_fn(|request| self.answer(request, &client, application));
        let http = hyper::server::conn::http1::Builder::new();
        drop(http.serve_connection(TokioIo::new(stream), service).await);
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        client: &Client<HttpConnector, Incoming>,
        application: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, hyper_util::client::legacy::Error> {
        if request.headers()[header::HOST] == OTHER {
            let page = self.page.lock().unwrap().clone();
            let html = Response::builder().header(header::CONTENT_TYPE, "text/html; charset=utf-8");
            return Ok(html.body(Full::from(page)).unwrap());
        }
        let path = request.uri().path().to_owned();
        let (name, headers) = (format!("{} {path}", request.method()), request.headers().clone());
        *request.uri_mut() = format!("http://{application}{path}").parse().unwrap();
        let (parts, body) = client.request(request).await?.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let (status, answer) = (parts.status.as_u16(), parts.headers.clone());
        self.seen.lock().unwrap().push(Seen { request: name, headers, status, answer });
        Ok(Response::from_parts(parts, Full::from(body.unwrap_or_default())))
    }

    /// What the other site serves from now on.
    pub fn other_site(&self, page: impl Into<String>) {
        *self.page.lock().unwrap() = page.into();
    }

    /// The requests like `GET /path` that the application was sent so far.
    pub fn seen(&self, request: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.request == request).cloned().collect()
    }

    /// Waits until such a request was answered with such a header.
    pub async fn wait_for(&self, request: &str, header: &str, value: &str) -> Seen {
        for _ in 0..200 {
            let mut seen = self.seen(request).into_iter();
            if let Some(seen) = seen.find(|seen| seen.header(header) == value) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no `{request}` with `{header}: {value}`; there were {:?}", self.seen(request));
    }
}
