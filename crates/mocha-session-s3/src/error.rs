//! From the SDK's errors to ours: whether the call was done, why it failed, what to do.
//!
//! The SDK's own error is never attached: it holds the whole answer, which names the object and may
//! repeat the access key.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use hyper_util::client::legacy::Error as HttpError;
use mocha_session_core::backend::objects::Outcome;
use mocha_session_core::store::Failure::{NotSent, Refused, TimedOut, Unanswered};
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind, Result};

/// The advice where the SDK finds no credentials.
pub(crate) const NO_CREDENTIALS: &str = "no credentials found: set AWS_ACCESS_KEY_ID and \
     AWS_SECRET_ACCESS_KEY, or use a profile or a role";

/// The error of a call of the SDK.
pub(crate) type CallError<E> = SdkError<E, HttpResponse>;

/// Returns whether S3 says that the object does not exist. A 404 without S3's error code comes from
/// another server.
pub(crate) fn is_absent<E: ProvideErrorMetadata>(failure: &CallError<E>) -> bool {
    failure.code() == Some("NoSuchKey")
}

/// Returns whether S3 says that the bucket does not exist.
pub(crate) fn is_without_bucket<E: ProvideErrorMetadata>(failure: &CallError<E>) -> bool {
    failure.code() == Some("NoSuchBucket")
}

/// Returns whether a write was not done because its condition did not hold: the object has changed,
/// is gone, or (409) another request was writing it at the same time.
pub(crate) fn is_condition<E: ProvideErrorMetadata>(failure: &CallError<E>) -> bool {
    status(failure) == Some(412)
        || is_absent(failure)
        || failure.code() == Some("ConditionalRequestConflict")
}

/// The HTTP status, if there was an answer.
pub(crate) fn status<E>(failure: &CallError<E>) -> Option<u16> {
    failure.raw_response().map(|answer| answer.status().as_u16())
}

/// The outcome of a write that failed for another reason than its condition.
pub(crate) fn of_write<T, E: ProvideErrorMetadata>(failure: &CallError<E>) -> Result<Outcome<T>> {
    let error = of_call(failure, Effect::Write);
    if is_busy(status(failure), failure.code().unwrap_or_default()) {
        Ok(Outcome::Busy(error))
    } else {
        Err(error)
    }
}

/// The error of a read.
pub(crate) fn of_read<E: ProvideErrorMetadata>(failure: &CallError<E>) -> Error {
    of_call(failure, Effect::Read)
}

fn of_call<E: ProvideErrorMetadata>(failure: &CallError<E>, effect: Effect) -> Error {
    let (failure, why) = match failure {
        SdkError::TimeoutError(_) => (TimedOut, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) => failure
            .as_connector_error()
            .map_or_else(|| (Unanswered, "the connection failed".to_owned()), dispatched),
        SdkError::ServiceError(answer) => answered(answer.raw(), failure.code()),
        SdkError::ResponseError(_) => {
            (Unanswered, "the answer is not S3's; is it an S3 endpoint?".to_owned())
        }
        _ => {
            let why = "the request cannot be built; check region, endpoint and credentials";
            (Refused(ErrorKind::InvalidConfig), why.to_owned())
        }
    };
    failure.error(effect, why)
}

/// Returns whether a request was refused for now, and nothing was done.
fn is_busy(status: Option<u16>, code: &str) -> bool {
    status == Some(429)
        || matches!(code, "SlowDown" | "ServiceUnavailable" | "OperationAborted" | "RequestTimeout")
}

/// The meaning of a request without an answer.
fn dispatched(failure: &ConnectorError) -> (Failure, String) {
    if let Some(cause) = find::<CredentialsError>(failure) {
        return match cause {
            CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                let why = "the provider of the credentials failed; is it configured and running?";
                (NotSent, why.to_owned())
            }
            _ => (Refused(ErrorKind::Denied), NO_CREDENTIALS.to_owned()),
        };
    }
    let cause = sources(failure).last().map_or_else(|| failure.to_string(), ToString::to_string);
    // Name, connection and TLS come before the request.
    if find::<HttpError>(failure).is_some_and(HttpError::is_connect) {
        (NotSent, format!("the endpoint cannot be reached ({cause}); is it right and running?"))
    } else if failure.is_timeout() {
        (TimedOut, "no answer in time".to_owned())
    } else {
        (Unanswered, format!("the connection broke before the answer came ({cause})"))
    }
}

fn answered(answer: &HttpResponse, code: Option<&str>) -> (Failure, String) {
    use ErrorKind::{Denied, Full, Internal, InvalidConfig, TooLarge, Unavailable, Unsupported};
    let status = answer.status().as_u16();
    let plain = |code: &&str| code.len() <= 64 && code.bytes().all(|c| c.is_ascii_alphanumeric());
    let code = code.filter(plain).unwrap_or_default();
    let says = if code.is_empty() {
        format!("status {status}")
    } else {
        format!("status {status}, {code}")
    };
    let (failure, advice) = match (status, code) {
        (_, "NoSuchBucket") => {
            (Refused(Unavailable), "create the bucket, or open the store without create=false")
        }
        (_, "InvalidBucketName") => (Refused(InvalidConfig), "check the bucket's name"),
        (_, "BucketAlreadyExists") => {
            (Refused(InvalidConfig), "the name belongs to another account: choose another")
        }
        (301 | 307, _)
        | (
            _,
            "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidLocationConstraint",
        ) => {
            return (Refused(InvalidConfig), wrong_region(answer, &says));
        }
        (_, "RequestTimeTooSkewed") => (Refused(Denied), "set this machine's clock"),
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage") => {
            (Refused(Full), "the endpoint is full; make room, or raise the quota")
        }
        (401 | 403, _)
        | (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken") => {
            (
                Refused(Denied),
                "check the keys and the session token; they need s3:GetObject, s3:PutObject, \
                 s3:DeleteObject and s3:ListBucket",
            )
        }
        (413, _) | (_, "EntityTooLarge") => {
            (Refused(TooLarge), "the endpoint does not take an object of this size")
        }
        _ if is_busy(Some(status), code) => (Refused(Unavailable), "the endpoint is busy"),
        (501, _) => (Refused(Unsupported), "the endpoint lacks a request that the store needs"),
        (500.., _) => (Unanswered, "the endpoint failed"),
        (404, "") => (Refused(Unavailable), "the answer is not S3's; is the endpoint right?"),
        _ => (Refused(Internal), "unexpected answer"),
    };
    (failure, format!("{advice} ({says})"))
}

fn wrong_region(answer: &HttpResponse, says: &str) -> String {
    let region =
        answer.headers().get("x-amz-bucket-region").filter(|region| super::url::is_region(region));
    match region {
        Some(region) => format!("the bucket is in another region: add ?region={region} ({says})"),
        None => format!("the bucket is in another region: name it with ?region= ({says})"),
    }
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    sources(error).find_map(|cause| cause.downcast_ref())
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}
