//! The requests that a store makes: one object each, or one page of a listing.

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Builder, Config};
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use mocha_session_core::store::{Revision, ScanCursor, StorageKey, Stored};
use mocha_session_core::{Error, ErrorKind, Result};

use crate::failure::{self, Call, Failure};
use crate::{ENGINE, S3Store, address, body};

/// In an object's metadata: when its entry expires, in milliseconds since 1970.
const DEADLINE: &str = "session-deadline";
/// The most that one listing gives.
const MAX_PAGE: usize = 1000;

/// On what a write depends.
#[derive(Clone, Copy)]
pub(crate) enum Condition<'a> {
    Absent,
    Is(&'a Revision),
}

/// What a HEAD tells of an entry.
pub(crate) struct Head {
    pub(crate) etag: String,
    pub(crate) deadline: Option<i64>,
    pub(crate) is_grave: bool,
}

/// What a listing tells of an entry.
pub(crate) struct Listed {
    pub(crate) key: StorageKey,
    pub(crate) size: i64,
    /// Seconds since 1970.
    pub(crate) written: i64,
}

impl S3Store {
    pub(crate) async fn get(&self, operation: &'static str, name: &str) -> Result<Option<Stored>> {
        let object = match self.client.get_object().bucket(&self.bucket).key(name).send().await {
            Ok(object) => object,
            Err(failure) if failure::is_absent(&failure) => return Ok(None),
            Err(failure) => return Err(failure::explain(operation, Call::Read, &failure)),
        };
        let revision = revision(operation, object.e_tag)?;
        let body = object.body.collect().await.map_err(|_| {
            let why = "the connection broke in the middle of the object";
            Error::new(ErrorKind::Unavailable, why).on(ENGINE).during(operation)
        })?;
        let value = body::unwrap(&body.into_bytes()).map_err(|body::NotOurs| {
            let why =
                "an object in the sessions' place was not written by this store; give it a prefix of its own";
            Error::new(ErrorKind::Corrupt, why).on(ENGINE).during(operation)
        })?;
        Ok(value.map(|value| Stored::new(value, revision)))
    }

    /// Writes if the condition holds; `None` if it does not.
    pub(crate) async fn put(
        &self,
        operation: &'static str,
        name: &str,
        body: Vec<u8>,
        deadline: i64,
        condition: Condition<'_>,
    ) -> Result<Option<Revision>> {
        let request = self.client.put_object().bucket(&self.bucket).key(name);
        let request = request.metadata(DEADLINE, deadline.to_string()).body(ByteStream::from(body));
        let request = match condition {
            Condition::Absent => request.if_none_match("*"),
            Condition::Is(expected) => request.if_match(expected.as_str()),
        };
        match request.customize().config_override(only_once()).send().await {
            Ok(written) => revision(operation, written.e_tag).map(Some),
            Err(failure) if failure::is_condition(&failure) => Ok(None),
            Err(failure) => Err(failure::explain(operation, Call::Write, &failure)),
        }
    }

    /// Removes, if it is still what was looked at (or whatever it is); whether that was so.
    pub(crate) async fn remove(
        &self,
        operation: &'static str,
        name: &str,
        expected: Option<&str>,
    ) -> Result<bool> {
        let request = self.client.delete_object().bucket(&self.bucket).key(name);
        let request = request.set_if_match(expected.map(str::to_owned));
        match request.customize().config_override(only_once()).send().await {
            Ok(_) => Ok(true),
            Err(failure) if failure::is_absent(&failure) => Ok(false),
            Err(failure) if expected.is_some() && failure::is_condition(&failure) => Ok(false),
            Err(failure) => Err(failure::explain(operation, Call::Write, &failure)),
        }
    }

    pub(crate) async fn head(&self, operation: &'static str, name: &str) -> Result<Option<Head>> {
        let head = match self.client.head_object().bucket(&self.bucket).key(name).send().await {
            Ok(head) => head,
            // The answer to a HEAD has no body that could say more.
            Err(failure) if failure::status(&failure) == Some(404) => return Ok(None),
            Err(failure) => return Err(failure::explain(operation, Call::Read, &failure)),
        };
        let etag = revision(operation, head.e_tag)?.as_str().into_owned();
        let deadline = head.metadata.and_then(|all| all.get(DEADLINE)?.parse().ok());
        Ok(Some(Head { etag, deadline, is_grave: head.content_length.is_some_and(body::is_grave) }))
    }

    pub(crate) async fn list(
        &self,
        operation: &'static str,
        cursor: Option<ScanCursor>,
        limit: usize,
    ) -> Result<(Vec<Listed>, Option<ScanCursor>)> {
        let limit = i32::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(i32::MAX);
        let request =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(self.space.prefix()).max_keys(limit);
        let request = request.set_continuation_token(cursor.map(|cursor| cursor.as_str().to_owned()));
        let page =
            request.send().await.map_err(|failure| failure::explain(operation, Call::Read, &failure))?;
        let ours = page.contents.unwrap_or_default().into_iter().filter_map(|object| {
            Some(Listed {
                key: self.space.parse(object.key.as_deref()?)?,
                size: object.size.unwrap_or_default(),
                written: object.last_modified.map_or(0, |at| at.secs()),
            })
        });
        Ok((ours.collect(), page.next_continuation_token.map(ScanCursor::new)))
    }

    /// Asks for a name that nobody uses: that there is none is the answer of an endpoint in order.
    pub(crate) async fn look(&self) -> Result<(), Failure<GetObjectError>> {
        let name = format!("{}ping", self.space.prefix());
        match self.client.get_object().bucket(&self.bucket).key(name).send().await {
            Ok(_) => Ok(()),
            Err(failure) if failure::is_absent(&failure) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

/// For writes. The SDK would repeat one whose answer was lost, and report our own first write as somebody else's. And as
/// there is one attempt, it may take all the time there is.
fn only_once() -> Builder {
    Config::builder()
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(address::WHOLE).build())
}

fn revision(operation: &'static str, etag: Option<String>) -> Result<Revision> {
    etag.map(Revision::from).ok_or_else(|| {
        let why = "the endpoint's answer has no ETag, without which nothing can be written on condition";
        Error::new(ErrorKind::Unsupported, why).on(ENGINE).during(operation)
    })
}
