//! What the SDK's errors mean for a session: which say that a condition did not hold, and which that nothing is known.
//!
//! The SDK's own error is never attached: it holds the whole answer, which names the object and may repeat the access
//! key.

use std::error::Error as StdError;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use mocha_session_core::ErrorKind::{
    Ambiguous, Denied, Full, Internal, InvalidConfig, Timeout, TooLarge, Unavailable, Unsupported,
};
use mocha_session_core::{Error, ErrorKind};

/// How a call of the SDK fails.
pub(crate) type Failure<E> = SdkError<E, HttpResponse>;

/// What a call was for: after a read that failed nothing has changed, after a write nobody knows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
}

impl Call {
    fn without_answer(self) -> ErrorKind {
        match self {
            Self::Read => Unavailable,
            Self::Write => Ambiguous,
        }
    }
}

/// Whether S3 itself says that there is no such object. A 404 without an S3 error is somebody else's.
pub(crate) fn is_absent<E: ProvideErrorMetadata>(failure: &Failure<E>) -> bool {
    failure.code() == Some("NoSuchKey")
}

/// Whether S3 says that there is no such bucket.
pub(crate) fn is_without_bucket<E: ProvideErrorMetadata>(failure: &Failure<E>) -> bool {
    failure.code() == Some("NoSuchBucket")
}

/// Whether a conditional write was not done because its condition did not hold: the entry is another one, is gone, or
/// (409) someone else was writing it in the same moment.
pub(crate) fn is_condition<E: ProvideErrorMetadata>(failure: &Failure<E>) -> bool {
    status(failure) == Some(412) || is_absent(failure) || failure.code() == Some("ConditionalRequestConflict")
}

/// The HTTP status, if there was an answer.
pub(crate) fn status<E>(failure: &Failure<E>) -> Option<u16> {
    failure.raw_response().map(|answer| answer.status().as_u16())
}

/// Our error for a failure of the SDK.
pub(crate) fn explain<E: ProvideErrorMetadata>(
    operation: &'static str,
    call: Call,
    failure: &Failure<E>,
) -> Error {
    let (kind, why) = match failure {
        SdkError::TimeoutError(_) => (Timeout, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) => not_sent(failure.as_connector_error(), call),
        SdkError::ServiceError(answer) => answered(answer.raw(), failure.code(), call),
        SdkError::ResponseError(_) => {
            (call.without_answer(), "the answer cannot be read; is it an S3 endpoint?".to_owned())
        }
        _ => (InvalidConfig, "the request cannot be made; check region, endpoint and credentials".to_owned()),
    };
    Error::new(kind, why).on(super::ENGINE).during(operation)
}

fn not_sent(failure: Option<&ConnectorError>, call: Call) -> (ErrorKind, String) {
    if failure.is_some_and(ConnectorError::is_timeout) {
        return (Timeout, "no answer in time".to_owned());
    }
    let mut cause: Option<&dyn StdError> = failure.map(|failure| failure as _);
    let mut text = "unknown cause".to_owned();
    while let Some(error) = cause {
        // Nothing listens: nothing was sent.
        if error
            .downcast_ref()
            .is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            return (Unavailable, "connection refused; is the endpoint right, and is it up?".to_owned());
        }
        text = error.to_string();
        cause = error.source();
    }
    (call.without_answer(), format!("the endpoint cannot be reached, or broke off ({text})"))
}

fn answered(answer: &HttpResponse, code: Option<&str>, call: Call) -> (ErrorKind, String) {
    let status = answer.status().as_u16();
    let plain = |code: &&str| code.len() <= 64 && code.bytes().all(|c| c.is_ascii_alphanumeric());
    let code = code.filter(plain).unwrap_or_default();
    let says = if code.is_empty() { format!("status {status}") } else { format!("status {status}, {code}") };
    let (kind, advice) = match (status, code) {
        (_, "NoSuchBucket") => (Unavailable, "create the bucket, or open the store without create=false"),
        (_, "InvalidBucketName") => (InvalidConfig, "check the bucket's name"),
        (_, "BucketAlreadyExists") => (InvalidConfig, "the name belongs to another account: choose another"),
        (301 | 307, _)
        | (
            _,
            "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidLocationConstraint",
        ) => {
            return (InvalidConfig, wrong_region(answer, &says));
        }
        (_, "RequestTimeTooSkewed") => (Denied, "set this machine's clock"),
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") => {
            (Full, "make room, or raise the quota")
        }
        (401 | 403, _)
        | (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken") => (
            Denied,
            "check the keys; they need s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket",
        ),
        (413, _) | (_, "EntityTooLarge") => (TooLarge, "the endpoint does not take an object of this size"),
        (429, _) | (_, "SlowDown" | "ServiceUnavailable" | "OperationAborted" | "RequestTimeout") => {
            (Unavailable, "the endpoint is busy")
        }
        (501, _) => (Unsupported, "the endpoint cannot do what a session store needs"),
        (500.., _) => (call.without_answer(), "the endpoint failed"),
        (404, "") => (Unavailable, "not S3's own answer; is the endpoint right?"),
        _ => (Internal, "this was not expected"),
    };
    (kind, format!("{advice} ({says})"))
}

fn wrong_region(answer: &HttpResponse, says: &str) -> String {
    let region =
        answer.headers().get("x-amz-bucket-region").filter(|region| super::address::is_region(region));
    match region {
        Some(region) => format!("the bucket is in another region: add ?region={region} ({says})"),
        None => format!("the bucket is in another region: say which with ?region= ({says})"),
    }
}
