//! From a URL to a store: the forms and the options of an `s3:` URL.

use std::net::Ipv4Addr;
use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation,
};
use aws_sdk_s3::{Client, Config};
use mocha_session_core::backend::objects::ObjectStore;
use mocha_session_core::backend::{Timeouts, shared};
use mocha_session_core::store::KeySpace;
use mocha_session_core::{BoxFuture, Driver, Error, ErrorKind, Result, StoreUrl};

#[cfg(feature = "default-credentials")]
use crate::error::NO_CREDENTIALS;
#[cfg(feature = "default-credentials")]
use crate::store::ENGINE;
use crate::store::S3Store;

/// Opens `s3://`. [Forms and options](crate#urls).
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_s3::DRIVER);
/// registry.check("s3://key:secret@s3.aws.amazon.com/my-bucket?region=eu-central-1").unwrap();
/// assert!(registry.check("s3://key:secret@s3.aws.amazon.com/my-bucket?regoin=eu").is_err());
/// ```
pub const DRIVER: Driver =
    Driver::new(&["s3"], |url| open(url).map(shared)).with_examination(|url| {
        let opening = open(url)?;
        Ok(Box::pin(async move { opening.await?.examine().await }))
    });

/// Reads the URL, and returns the future that connects and prepares the bucket.
pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<S3Store>>> {
    let target = Target::read(url)?;
    Ok(Box::pin(async move {
        let client = target.client().await?;
        let store =
            S3Store::new(client, target.bucket, target.space).with_deadline(target.deadline);
        let store = if target.endpoint.is_none() { store.on_aws() } else { store };
        store.prepare(target.create).await
    }))
}

const DEFAULT_REGION: &str = "us-east-1";

/// The parts of a URL.
struct Target {
    bucket: String,
    space: KeySpace,
    /// `None` for Amazon's own.
    endpoint: Option<String>,
    region: Option<String>,
    credentials: Option<Credentials>,
    create: bool,
    deadline: Duration,
}

impl Target {
    fn read(url: &mut StoreUrl) -> Result<Self> {
        let instead = url.take("endpoint").map(|text| checked_endpoint(url, &text)).transpose()?;
        let region = url.take("region");
        let token = url.take("session_token");
        let tls = url.take_bool("tls")?;
        let create = url.take_bool("create")?.unwrap_or(true);
        let credentials = match (url.username(), url.password()) {
            (Some(key), Some(secret)) if !secret.is_empty() => {
                Some(Credentials::new(key, secret, token, None, "session URL"))
            }
            (None, None) if token.is_none() => None,
            (None, None) => {
                return Err(
                    url.refuse_option("session_token", "needs an access key and its secret")
                );
            }
            _ => {
                return Err(url.refuse(
                    "an access key and its secret must be given together: \
                     s3://key:secret@host/bucket",
                ));
            }
        };
        if region.as_ref().is_some_and(|region| !is_region(region)) {
            return Err(url.refuse_option("region", "must be a name like eu-central-1"));
        }
        let host = url.single_host()?.clone();
        let amazon = is_amazon(host.name());
        // With keys, as in Mocha's URLs, the host is the endpoint and the path begins with the
        // bucket.
        let host_is_bucket = credentials.is_none() && !amazon;
        let (bucket, folder) = if host_is_bucket {
            (host.name(), url.path().trim_start_matches('/'))
        } else {
            url.split_path()
        };
        if !is_bucket(bucket) || (host_is_bucket && host.port().is_some()) {
            return Err(url.refuse(
                "it names no bucket (3 to 63 letters, digits, '.', '-' or '_'); write \
                 s3://key:secret@host/bucket/folder, or s3://bucket/folder for credentials from \
                 the environment",
            ));
        }
        let endpoint = match instead {
            _ if tls.is_some() && (instead.is_some() || host_is_bucket || amazon) => {
                return Err(url.refuse_option("tls", "needs an endpoint as the URL's host"));
            }
            Some((_, authority)) if !host_is_bucket && !amazon && authority != host.name() => {
                return Err(url.refuse_option(
                    "endpoint",
                    "names another host than the URL; write s3.aws.amazon.com as the host, and \
                     begin the path with the bucket",
                ));
            }
            Some((endpoint, _)) => Some(endpoint),
            None if host_is_bucket || amazon => None,
            None => {
                let (scheme, port) = if tls == Some(false) { ("http", 80) } else { ("https", 443) };
                Some(format!("{scheme}://{}", host.authority(port)))
            }
        };
        let (bucket, folder) = (bucket.to_owned(), folder.to_owned());
        let space = ObjectStore::space_of(url, &folder)?;
        if credentials.is_none() && cfg!(not(feature = "default-credentials")) {
            return Err(url.refuse(
                "it has no keys; write s3://key:secret@…, or enable the cargo feature \
                 `default-credentials` of mocha-session-s3",
            ));
        }
        let region = region.or_else(|| amazon_region(host.name()).map(str::to_owned));
        Ok(Self { bucket, space, endpoint, region, credentials, create, deadline: url.deadline() })
    }

    async fn client(&self) -> Result<Client> {
        let mut config = match &self.credentials {
            Some(credentials) => Config::builder()
                .credentials_provider(credentials.clone())
                .region(Region::new(DEFAULT_REGION)),
            None => default_chain(self.region.is_none()).await?,
        };
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Timeouts::within(self.deadline).connect)
            .build();
        // No checksums, because other endpoints refuse them.
        let config = config
            .behavior_version(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        Ok(Client::from_conf(config.build()))
    }
}

#[cfg(feature = "default-credentials")]
async fn default_chain(find_region: bool) -> Result<Builder> {
    use aws_sdk_s3::config::ProvideCredentials;

    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if !find_region {
        // The URL's region replaces it, and looking for one may ask a metadata server.
        loader = loader.region(Region::new(DEFAULT_REGION));
    }
    let found = loader.load().await;
    let credentials = match found.credentials_provider() {
        Some(provider) => provider.provide_credentials().await.is_ok(),
        None => false,
    };
    if !credentials {
        return Err(Error::new(ErrorKind::Denied, NO_CREDENTIALS).on(ENGINE).during("open"));
    }
    // The URL alone names the endpoint. One from the environment would be used as Amazon's, without
    // a proof of its conditions.
    let mut config = Builder::from(&found);
    config.set_endpoint_url(None);
    Ok(if found.region().is_none() { config.region(Region::new(DEFAULT_REGION)) } else { config })
}

#[cfg(not(feature = "default-credentials"))]
#[allow(clippy::unused_async, reason = "as with the feature")]
async fn default_chain(_find_region: bool) -> Result<Builder> {
    Err(Error::new(
        ErrorKind::InvalidConfig,
        "no keys, and the cargo feature `default-credentials` is off",
    ))
}

/// Returns whether the host is Amazon's own S3. `s3.aws.amazon.com` is that of Mocha's
/// documentation.
fn is_amazon(host: &str) -> bool {
    matches!(host, "s3.aws.amazon.com" | "s3.amazonaws.com") || amazon_region(host).is_some()
}

/// The region in a host like `s3.eu-central-1.amazonaws.com`.
fn amazon_region(host: &str) -> Option<&str> {
    let region = host.strip_prefix("s3.")?;
    let region = region
        .strip_suffix(".amazonaws.com")
        .or_else(|| region.strip_suffix(".amazonaws.com.cn"))?;
    is_region(region).then_some(region)
}

/// Returns whether the name is that of a region. It becomes part of a host name, so nothing else
/// may pass.
pub(crate) fn is_region(name: &str) -> bool {
    (2..=32).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.parse::<Ipv4Addr>().is_err()
}

/// Checks an endpoint, and returns it with its host's name.
fn checked_endpoint(url: &StoreUrl, endpoint: &str) -> Result<(String, String)> {
    let wrong = || url.refuse_option("endpoint", "must be like https://minio.example:9000");
    let parsed = StoreUrl::parse(endpoint).map_err(|_| wrong())?;
    let http = matches!(parsed.scheme(), "http" | "https");
    let bare = parsed.username().is_none()
        && parsed.password().is_none()
        && !endpoint.contains(['?', '%', ' ']);
    match parsed.hosts() {
        [host] if http && bare => {
            Ok((endpoint.trim().trim_end_matches('/').to_owned(), host.name().to_owned()))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
