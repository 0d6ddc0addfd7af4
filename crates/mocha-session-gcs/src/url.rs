//! From a URL to a store: the forms and the options of `gs:` and `google_storage:` URLs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mocha_session_core::backend::objects::{ObjectClient, ObjectStore};
use mocha_session_core::backend::shared;
use mocha_session_core::store::{KeySpace, SessionStore as _};
use mocha_session_core::{BoxFuture, Driver, ErrorKind, Result, StoreUrl};

use crate::bucket;
use crate::error::Answer;
use crate::signature::HmacKey;
use crate::store::{ENGINE, GcsStore};

/// Opens `gs://` and `google_storage://`. [Forms and options](crate#urls).
///
/// ```
/// use mocha_session_core::Registry;
///
/// let registry = Registry::new().register(mocha_session_gcs::DRIVER);
/// registry.check("gs://bucket/sessions").unwrap();
/// registry.check("google_storage://GOOG1ACCESS:secret@cloud.google.com/bucket").unwrap();
/// assert!(registry.check("gs://bucket?projcet=typo").is_err());
/// ```
pub const DRIVER: Driver = Driver::new(&["gs", "google_storage"], |url| open(url).map(shared))
    .with_examination(|url| {
        let target = Target::read(url)?;
        Ok(Box::pin(async move {
            Ok(bucket::connect(&target).await?.examine(target.deadline).await.findings())
        }))
    });

/// Reads the URL, and returns the future that connects and looks for the bucket.
pub(crate) fn open(url: &mut StoreUrl) -> Result<BoxFuture<'static, Result<GcsStore>>> {
    let target = Target::read(url)?;
    Ok(Box::pin(
        async move { target.open().await.map_err(|error| error.on(ENGINE).during("open")) },
    ))
}

/// The endpoint of both APIs.
pub(crate) const GOOGLE: &str = "https://storage.googleapis.com";

/// The parts of a URL.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) bucket: String,
    pub(crate) space: KeySpace,
    pub(crate) credentials: Credentials,
    /// Without a trailing slash; `None` for Google's.
    pub(crate) endpoint: Option<String>,
    /// The settings for creating a missing bucket, or `None` if it may not be created.
    pub(crate) creation: Option<Creation>,
    pub(crate) deadline: Duration,
}

#[derive(Debug)]
pub(crate) enum Credentials {
    /// Those that Google's libraries find by themselves.
    Default,
    /// The key file of a service account.
    File(PathBuf),
    /// None.
    Anonymous,
    /// An HMAC key, for the XML API.
    Hmac(HmacKey),
}

/// The place of a new bucket.
#[derive(Debug)]
pub(crate) struct Creation {
    pub(crate) project: String,
    pub(crate) location: Option<String>,
}

impl Target {
    fn read(url: &mut StoreUrl) -> Result<Self> {
        let project = url.take("project");
        let location = url.take("location");
        let create = url.take_bool("create")?.unwrap_or(true);
        if location.is_some() && project.is_none() {
            return Err(url.refuse_option(
                "location",
                "is the place of a new bucket, which needs `project`, too",
            ));
        }
        let creation = project.filter(|_| create).map(|project| Creation { project, location });
        let endpoint = take_endpoint(url)?;
        let (bucket, folder, credentials, endpoint) = if url.scheme() == "gs" {
            let (bucket, folder) = by_default(url)?;
            let credentials = take_credentials(url, endpoint.as_deref())?;
            (bucket, folder, credentials, endpoint)
        } else {
            let (bucket, folder, key, host) = by_hmac(url)?;
            (bucket, folder, Credentials::Hmac(key), endpoint.or(host))
        };
        check_bucket(url, &bucket)?;
        let space = ObjectStore::space_of(url, &folder)?;
        Ok(Self { bucket, space, credentials, endpoint, creation, deadline: url.deadline() })
    }

    async fn open(self) -> Result<GcsStore> {
        let bucket = bucket::connect(&self).await?;
        let store = GcsStore::over(Arc::clone(&bucket) as Arc<dyn ObjectClient>, self.space)
            .with_deadline(self.deadline);
        let prepared = async {
            if !bucket.exists().await? {
                match &self.creation {
                    Some(creation) => bucket.create(creation).await?,
                    None => return Err(Answer::NoBucket.into_error()),
                }
            }
            Ok(())
        };
        match tokio::time::timeout(self.deadline, prepared).await {
            Ok(Err(error)) if error.kind() != ErrorKind::Unavailable || self.creation.is_some() => {
                return Err(error);
            }
            // Repeats and explains the failure as for any read.
            _ => store.ping().await?,
        }
        Ok(store)
    }
}

/// Reads `gs://bucket/prefix`, or `gs:///bucket/prefix` for a bucket whose name is not a host name.
fn by_default(url: &StoreUrl) -> Result<(String, String)> {
    if url.username().is_some() || url.password().is_some() {
        return Err(url.refuse(
            "it takes no user name and password; for HMAC keys write \
             google_storage://ACCESS_ID:SECRET@cloud.google.com/bucket",
        ));
    }
    if url.hosts().is_empty() {
        let (bucket, folder) = url.split_path();
        return Ok((bucket.to_owned(), folder.to_owned()));
    }
    let host = url.single_host()?;
    if host.port().is_some() {
        return Err(url
            .refuse("its host must be the bucket, without a port; name a server with ?endpoint="));
    }
    if is_google(host.name()) {
        return Err(url.refuse("its host must be the bucket: gs://bucket/prefix"));
    }
    Ok((host.name().to_owned(), url.path().trim_start_matches('/').to_owned()))
}

/// Reads `google_storage://username:password@cloud.google.com/bucket/prefix`.
fn by_hmac(url: &StoreUrl) -> Result<(String, String, HmacKey, Option<String>)> {
    let (Some(access_id), Some(secret)) =
        (url.username(), url.password().filter(|word| !word.is_empty()))
    else {
        return Err(url.refuse(
            "it needs an HMAC key: google_storage://ACCESS_ID:SECRET@cloud.google.com/bucket; \
             for other credentials write gs://bucket",
        ));
    };
    let printable = |text: &str| text.bytes().all(|c| c.is_ascii_graphic());
    if !printable(access_id) || access_id.contains(['/', ',']) {
        return Err(url.refuse("its user name is not the access id of an HMAC key"));
    }
    let host = url.single_host()?;
    let endpoint = (!is_google(host.name())).then(|| format!("https://{}", host.authority(443)));
    let (bucket, folder) = url.split_path();
    Ok((bucket.to_owned(), folder.to_owned(), HmacKey::new(access_id, secret), endpoint))
}

fn is_google(host: &str) -> bool {
    ["cloud.google.com", "storage.cloud.google.com", "storage.googleapis.com"].contains(&host)
}

fn take_endpoint(url: &mut StoreUrl) -> Result<Option<String>> {
    let Some(text) = url.take("endpoint") else { return Ok(None) };
    let parsed = reqwest::Url::parse(&text).ok().filter(|parsed| {
        matches!(parsed.scheme(), "http" | "https")
            && parsed.has_host()
            && parsed.path() == "/"
            && parsed.query().is_none()
            && parsed.fragment().is_none()
            && parsed.username().is_empty()
            && parsed.password().is_none()
    });
    match parsed {
        Some(parsed) => Ok(Some(parsed.as_str().trim_end_matches('/').to_owned())),
        None => Err(url.refuse_option(
            "endpoint",
            "must be http://host:port or https://host:port without a path",
        )),
    }
}

fn take_credentials(url: &mut StoreUrl, endpoint: Option<&str>) -> Result<Credentials> {
    let anonymous = url.take_bool("anonymous")?.unwrap_or(false);
    let file = url.take("credentials");
    if anonymous {
        return match (endpoint, file) {
            (Some(_), None) => Ok(Credentials::Anonymous),
            (_, Some(_)) => {
                Err(url.refuse_option("anonymous", "and `credentials` contradict each other"))
            }
            (None, None) => {
                Err(url.refuse_option("anonymous", "is for test servers, with `endpoint`"))
            }
        };
    }
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http:")) {
        let why = "is http://, which would send an access token in the clear; use https://, or \
                   anonymous=true for a test server";
        return Err(url.refuse_option("endpoint", why));
    }
    match file {
        Some(path) if path.is_empty() => Err(url.refuse_option("credentials", "must be a path")),
        Some(path) => Ok(Credentials::File(PathBuf::from(path))),
        None => Ok(Credentials::Default),
    }
}

fn check_bucket(url: &StoreUrl, bucket: &str) -> Result<()> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c);
    let ends = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let address = bucket.parse::<std::net::Ipv4Addr>().is_ok();
    let good = (3..=222).contains(&bucket.len())
        && bucket.bytes().all(allowed)
        && ends(bucket.bytes().next())
        && ends(bucket.bytes().last())
        && !address;
    if good {
        return Ok(());
    }
    let why = if bucket.is_empty() {
        "it names no bucket"
    } else if address {
        "its bucket looks like an address; write gs:///NUMBER/prefix for a bucket whose name is a \
         number"
    } else {
        "its bucket is not a bucket name: 3 to 222 of a-z, 0-9, '-', '_' and '.'"
    };
    Err(url.refuse(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Target> {
        let mut url = StoreUrl::parse(text)?;
        let target = Target::read(&mut url)?;
        url.finish()?;
        Ok(target)
    }

    #[test]
    fn every_form_is_read() {
        // The bucket, the prefix and the endpoint.
        for (text, read_as) in [
            ("gs://bucket", "bucket sessions/ -"),
            ("gs://bucket/", "bucket sessions/ -"),
            ("gs://my_bucket.example/app/prod/", "my_bucket.example app/prod/ -"),
            ("gs://bucket?prefix=a:", "bucket a: -"),
            ("gs://bucket/a/b/?prefix=s-", "bucket a/b/s- -"),
            ("gs:///12345/x", "12345 x/ -"),
            ("gs://bucket?credentials=/k.json&endpoint=https://h", "bucket sessions/ https://h"),
            ("gs://b-1?endpoint=http://[::1]:9/&anonymous=true", "b-1 sessions/ http://[::1]:9"),
            ("google_storage://username:password@cloud.google.com/bucket", "bucket sessions/ -"),
            ("google_storage://u:p@storage.googleapis.com:443/bucket/x/y", "bucket x/y/ -"),
            (
                "google_storage://u:p%2Fq@gcs.example:8443/bucket",
                "bucket sessions/ https://gcs.example:8443",
            ),
            (
                "google_storage://u:p@h/bucket?endpoint=http://127.0.0.1:1",
                "bucket sessions/ http://127.0.0.1:1",
            ),
        ] {
            let target = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let endpoint = target.endpoint.as_deref().unwrap_or("-");
            let shown = format!("{} {} {endpoint}", target.bucket, target.space.prefix());
            assert_eq!(shown, read_as, "{text}");
            let hmac = matches!(target.credentials, Credentials::Hmac(_));
            assert_eq!(hmac, text.starts_with("google_storage"), "{text}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_by_the_name_of_its_fault() {
        for (text, word) in [
            ("gs://", "names no bucket"),
            ("gs://ab", "not a bucket name"),
            ("gs://123456", "gs:///NUMBER"),
            ("gs://a,b", "exactly one host"),
            ("gs://bucket:80", "?endpoint="),
            ("gs://cloud.google.com/bucket", "gs://bucket/prefix"),
            ("gs://GOOG1:hunter2@bucket", "google_storage://"),
            ("gs://bucket/a/../b", "`prefix`"),
            ("google_storage://u:hunter2@cloud.google.com/bucket?prefix=./", "`prefix`"),
            ("google_storage://u:hunter2@cloud.google.com/bucket/..", "`prefix`"),
            ("gs://bucket/a%20b", "prefix"),
            ("gs://bucket?anonymous=true", "`endpoint`"),
            ("gs://bucket?anonymous=true&credentials=a&endpoint=https://h", "contradict"),
            ("gs://bucket?endpoint=http://h", "in the clear"),
            ("gs://bucket?endpoint=h:80", "`endpoint`"),
            ("gs://bucket?endpoint=https://h/path", "`endpoint`"),
            ("gs://bucket?endpoint=https://u:hunter2@h", "`endpoint`"),
            ("gs://bucket?credentials=", "must be a path"),
            ("gs://bucket?location=EU", "`project`"),
            ("gs://bucket?projekt=x", "`projekt`"),
            ("google_storage://cloud.google.com/bucket", "needs an HMAC key"),
            ("google_storage://u:@cloud.google.com/bucket", "needs an HMAC key"),
            ("google_storage://u%0d:p@cloud.google.com/bucket", "control character"),
            ("google_storage://u v:hunter2@cloud.google.com/bucket", "access id"),
            ("google_storage://u:hunter2@cloud.google.com", "names no bucket"),
            ("google_storage://u:hunter2@cloud.google.com/bucket?credentials=f", "`credentials`"),
            ("google_storage://u:hunter2@cloud.google.com/bucket?anonymous=true", "`anonymous`"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.is_invalid_config(), "{text}");
            assert!(error.to_string().contains(word), "{text}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_bucket_is_created_only_where_a_project_is_named() {
        assert!(read("gs://bucket").unwrap().creation.is_none());
        assert!(read("gs://bucket?project=p&create=false").unwrap().creation.is_none());
        let creation = read("gs://bucket?project=p&location=EU").unwrap().creation.unwrap();
        assert_eq!((creation.project.as_str(), creation.location.as_deref()), ("p", Some("EU")));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown =
            format!("{:?}", read("google_storage://u:hunter2@cloud.google.com/bucket").unwrap());
        assert!(!shown.contains("hunter2"));
    }
}
