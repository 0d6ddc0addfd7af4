//! A bucket behind either API: how it is connected to, looked for and created.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use google_cloud_auth::credentials::{
    Builder as DefaultCredentials, Credentials as GoogleCredentials, anonymous, service_account,
};
use google_cloud_storage::client::{Storage, StorageControl};
use google_cloud_wkt::Timestamp;
use mocha_session_core::backend::Timeouts;
use mocha_session_core::backend::objects::{ObjectClient, Outcome};
use mocha_session_core::store::{Effect, Failure, Revision};
use mocha_session_core::{Error, ErrorKind, Result};

use crate::examine::Told;
use crate::official_api::{Clients, OfficialApi};
use crate::url::{Creation, Credentials, GOOGLE, Target};
use crate::xml_api::XmlApi;

/// The metadata of an object with the expiry of its entry, in milliseconds since 1970.
pub(crate) const EXPIRES: &str = "mocha-expires";
pub(crate) const CONTENT_TYPE: &str = "application/octet-stream";
/// Keeps caches from serving objects, should the bucket be made public by mistake.
pub(crate) const CACHE_CONTROL: &str = "private, no-store";

/// A bucket behind one of the APIs.
#[async_trait]
pub(crate) trait Bucket: ObjectClient {
    async fn exists(&self) -> Result<bool>;

    /// Creates the bucket, unless it exists.
    async fn create(&self, creation: &Creation) -> Result<()>;

    /// Asks for the bucket's rules, and waits no longer than `limit` for each answer.
    async fn examine(&self, limit: Duration) -> Told;
}

/// The endpoint and the credentials of Google's official clients.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` for Google's.
    endpoint: Option<String>,
    /// They keep their access token, so new clients need none.
    credentials: GoogleCredentials,
}

impl Connection {
    /// Makes the clients, which connect when they are used.
    pub(crate) async fn open(&self) -> Result<Clients> {
        let mut objects = Storage::builder().with_credentials(self.credentials.clone());
        let mut control = StorageControl::builder().with_credentials(self.credentials.clone());
        if let Some(endpoint) = &self.endpoint {
            (objects, control) = (objects.with_endpoint(endpoint), control.with_endpoint(endpoint));
        }
        let objects = objects.build().await.map_err(|_| unusable())?;
        let control = control.build().await.map_err(|_| unusable())?;
        Ok((objects, control))
    }
}

/// Makes the client of a URL's bucket.
pub(crate) async fn connect(target: &Target) -> Result<Arc<dyn Bucket>> {
    let endpoint = target.endpoint.as_deref().unwrap_or(GOOGLE);
    let credentials = match &target.credentials {
        Credentials::Hmac(key) => {
            let connect = Timeouts::within(target.deadline).connect;
            return Ok(Arc::new(XmlApi::new(endpoint, &target.bucket, key.clone(), connect)?));
        }
        Credentials::Default => DefaultCredentials::default().build().map_err(|_| {
            Error::new(
                ErrorKind::Denied,
                "no default credentials were found; set GOOGLE_APPLICATION_CREDENTIALS, name a key \
                 file with ?credentials=, or run where a service account is attached",
            )
        })?,
        Credentials::Anonymous => anonymous::Builder::new().build(),
        Credentials::File(path) => service_account_from(path).await?,
    };
    let connection = Connection { endpoint: target.endpoint.clone(), credentials };
    let clients = connection.open().await?;
    Ok(Arc::new(OfficialApi::new(clients, Some(connection), &target.bucket)))
}

/// The outcome of a write that Google acknowledged. Without a generation, the write was done all the
/// same.
pub(crate) fn acknowledged(revision: Result<Revision>) -> Result<Outcome<Revision>> {
    let unknown = || Failure::Unanswered.error(Effect::Write, NO_GENERATION);
    revision.map(Outcome::Done).map_err(|_| unknown())
}

/// The error of an answer to a read that has no generation.
pub(crate) fn no_generation() -> Error {
    Error::new(ErrorKind::Internal, NO_GENERATION)
}

const NO_GENERATION: &str = "an answer of Google Cloud Storage has no generation; does a proxy \
     before it remove headers?";

/// The deadline as the custom time of an object.
pub(crate) fn custom_time(deadline: u64) -> Timestamp {
    Timestamp::clamp(i64::try_from(deadline / 1000).unwrap_or(i64::MAX), 0)
}

/// The error of a client that cannot be built. Google's own text is left out, because it may quote
/// the credentials.
fn unusable() -> Error {
    Error::new(
        ErrorKind::InvalidConfig,
        "Google's client cannot be built for this endpoint and these credentials; check both",
    )
}

async fn service_account_from(path: &Path) -> Result<GoogleCredentials> {
    let wrong = |why: &'static str| Error::new(ErrorKind::InvalidConfig, why);
    let bytes = tokio::fs::read(path).await.map_err(|error| {
        wrong("the file that the option `credentials` names cannot be read").with_source(error)
    })?;
    // The errors of the parser and of the builder are left out, because they could quote the key.
    let json: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|_| wrong("the file that the option `credentials` names is not JSON"))?;
    if json.get("type").and_then(serde_json::Value::as_str) != Some("service_account") {
        return Err(wrong(
            "the file that the option `credentials` names is not the key of a service account; for \
             other kinds leave the option out and set GOOGLE_APPLICATION_CREDENTIALS",
        ));
    }
    service_account::Builder::new(json)
        .build()
        .map_err(|_| wrong("the file that the option `credentials` names is not a complete key"))
}
