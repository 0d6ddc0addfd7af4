//! From Google's errors to ours: whether the call was done, why it failed, what to do.

use std::error::Error as StdError;

use google_cloud_gax::error::CredentialsError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_storage::Error as GoogleError;
use mocha_session_core::backend::objects::Outcome;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind, Result};

/// The meaning of an answer that is not a success.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The object does not exist; the bucket does.
    Absent,
    /// The bucket does not exist.
    NoBucket,
    /// The generation does not match.
    Mismatch,
    /// The bucket exists already.
    Taken,
    /// The object or the bucket is missing; the answer does not say which.
    ObjectOrBucketMissing,
    /// Refused for now; nothing was done.
    Busy(Error),
    /// Any other failure.
    Failed(Error),
}

/// The meaning of an HTTP status, and of the code or text that came with it.
pub(crate) fn of_status(status: u16, says: &str, effect: Effect) -> Answer {
    use ErrorKind::{Denied, Internal, TooLarge, Unavailable};
    // Google's text may contain the object's name, which contains the key. So only a single word is
    // repeated.
    let code = word(says);
    let (failure, why) = match status {
        404 if says.contains("No such object") || says == "NoSuchKey" => return Answer::Absent,
        404 if says.contains("bucket does not exist") || says == "NoSuchBucket" => {
            return Answer::NoBucket;
        }
        404 => return Answer::ObjectOrBucketMissing,
        409 if says.starts_with("BucketAlready") => return Answer::Taken,
        412 => return Answer::Mismatch,
        401 => (
            Failure::Refused(Denied),
            format!(
                "the credentials were refused (401{code}); are they of this project, and valid?"
            ),
        ),
        403 => (
            Failure::Refused(Denied),
            format!(
                "the credentials may not do this (403{code}); give them roles/storage.objectUser \
                 on the bucket, and check the HMAC secret and this machine's clock"
            ),
        ),
        408 | 429 => {
            let why = format!(
                "refused for now ({status}{code}); Google limits the writes of one object and the \
                 requests of a bucket"
            );
            return Answer::Busy(Failure::Refused(Unavailable).error(effect, why));
        }
        413 => (Failure::Refused(TooLarge), "refused as too large (413)".to_owned()),
        // A front end may answer so after the write was done behind it.
        500.. => (Failure::Unanswered, format!("Google failed ({status}{code}); try again later")),
        _ => (Failure::Refused(Internal), format!("unexpected answer ({status}{code})")),
    };
    Answer::Failed(failure.error(effect, why))
}

/// The meaning of an error of the official client.
pub(crate) fn of_call(error: &GoogleError, effect: Effect) -> Answer {
    // gRPC reports a refused connection as if the server had answered.
    if never_sent(error) {
        return Answer::Failed(transport(error, effect));
    }
    let told = error.status();
    let says = match (told, error.http_payload()) {
        (Some(told), _) => told.message.as_str(),
        (None, Some(payload)) => std::str::from_utf8(payload).unwrap_or_default(),
        (None, None) => "",
    };
    match (error.http_status_code(), told.map(|told| told.code)) {
        (Some(code), _) => of_status(code, says, effect),
        (None, Some(Code::AlreadyExists)) => Answer::Taken,
        (None, Some(code)) => of_status(http_status(code), says, effect),
        (None, None) => Answer::Failed(transport(error, effect)),
    }
}

/// The error of a call without an answer.
pub(crate) fn transport(error: &(dyn StdError + 'static), effect: Effect) -> Error {
    let (failure, why) = if let Some(cause) = find::<CredentialsError>(error) {
        if cause.is_transient() {
            let why = "Google issued no access token; where no service account is attached to the \
                       machine, set GOOGLE_APPLICATION_CREDENTIALS or name a key file with \
                       ?credentials=";
            (Failure::NotSent, why.to_owned())
        } else {
            let why = "Google issued no access token for these credentials; are they still valid?";
            (Failure::Refused(ErrorKind::Denied), why.to_owned())
        }
    } else if never_sent(error) {
        (Failure::NotSent, format!("Google Cloud Storage cannot be reached{}", cause(error)))
    } else {
        (
            Failure::Unanswered,
            format!("the connection broke before the answer came{}", cause(error)),
        )
    };
    failure.error(effect, why)
}

impl Answer {
    /// The outcome of a write that was not acknowledged.
    pub(crate) fn of_write<T>(self, conditional: bool) -> Result<Outcome<T>> {
        match self {
            Self::Absent => Ok(Outcome::Unmet),
            Self::Mismatch if conditional => Ok(Outcome::Unmet),
            Self::Busy(error) => Ok(Outcome::Busy(error)),
            other => Err(other.into_error()),
        }
    }

    /// The error, where neither absence nor a mismatch is an expected answer.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) | Self::Busy(error) => error,
            Self::NoBucket | Self::ObjectOrBucketMissing => Error::new(
                ErrorKind::Unavailable,
                "the bucket does not exist; create it (gcloud storage buckets create gs://NAME), \
                 or let the store create it with ?project=",
            ),
            Self::Mismatch => Error::new(
                ErrorKind::Denied,
                "refused by a condition that the store did not set; has the bucket a retention \
                 policy, or the object a hold?",
            ),
            Self::Absent | Self::Taken => {
                Error::new(ErrorKind::Internal, "Google's answer does not fit the request")
            }
        }
    }
}

const fn http_status(code: Code) -> u16 {
    match code {
        Code::NotFound => 404,
        Code::FailedPrecondition => 412,
        Code::PermissionDenied => 403,
        Code::Unauthenticated => 401,
        Code::ResourceExhausted => 429,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        Code::InvalidArgument | Code::OutOfRange => 400,
        Code::Aborted => 409,
        _ => 500,
    }
}

/// The text, if it is a single word like `SignatureDoesNotMatch` and shorter than a key.
fn word(says: &str) -> String {
    if !says.is_empty() && says.len() < 40 && says.bytes().all(|c| c.is_ascii_alphabetic()) {
        format!(" {says}")
    } else {
        String::new()
    }
}

/// The text of the innermost cause. The outer ones contain the URL, and with it the key.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let Some(last) = sources(error).last() else { return String::new() };
    let text: String = last.to_string().chars().filter(|c| !c.is_control()).take(120).collect();
    let shows_more = text.contains("://") || text.contains('/') || text.contains('@');
    if shows_more { String::new() } else { format!(": {text}") }
}

/// Returns whether the failure precedes the request: name lookup, connecting, TLS.
fn never_sent(error: &(dyn StdError + 'static)) -> bool {
    find::<tonic::ConnectError>(error).is_some()
        || find::<reqwest::Error>(error).is_some_and(reqwest::Error::is_connect)
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    error.downcast_ref().or_else(|| sources(error).find_map(|cause| cause.downcast_ref()))
}

fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(answer: Answer) -> Error {
        match answer {
            Answer::Failed(error) | Answer::Busy(error) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_missing_object_is_absent() {
        assert!(matches!(of_status(404, "No such object: b/o", Effect::Read), Answer::Absent));
        assert!(matches!(of_status(404, "NoSuchKey", Effect::Write), Answer::Absent));
        assert!(matches!(of_status(404, "", Effect::Read), Answer::ObjectOrBucketMissing));
        assert!(matches!(
            of_status(404, "<html>nginx</html>", Effect::Read),
            Answer::ObjectOrBucketMissing
        ));
        for says in ["The specified bucket does not exist.", "NoSuchBucket"] {
            let answer = of_status(404, says, Effect::Read);
            assert!(matches!(answer, Answer::NoBucket));
            assert!(answer.into_error().to_string().contains("bucket does not exist"));
        }
    }

    #[test]
    fn statuses_are_told_apart() {
        use ErrorKind::{Ambiguous, Denied, Internal, TooLarge, Unavailable};
        for (code, effect, kind) in [
            (400, Effect::Write, Internal),
            (401, Effect::Read, Denied),
            (403, Effect::Write, Denied),
            (413, Effect::Write, TooLarge),
            (429, Effect::Write, Unavailable),
            (500, Effect::Write, Ambiguous),
            (503, Effect::Write, Ambiguous),
            (503, Effect::Read, Unavailable),
            (302, Effect::Read, Internal),
        ] {
            assert_eq!(failed(of_status(code, "", effect)).kind(), kind, "{code} {effect:?}");
        }
        assert!(matches!(of_status(412, "", Effect::Write), Answer::Mismatch));
        assert!(matches!(of_status(429, "", Effect::Write), Answer::Busy(_)));
    }

    #[test]
    fn googles_text_is_repeated_only_if_it_is_one_word() {
        let key = "ab".repeat(20);
        let shown = failed(of_status(
            403,
            &format!("x lacks access to bucket/sessions/{key}"),
            Effect::Read,
        ));
        assert!(!shown.to_string().contains(&key));
        assert!(!failed(of_status(403, &key, Effect::Read)).to_string().contains(&key));
        let shown = failed(of_status(403, "SignatureDoesNotMatch", Effect::Read));
        assert!(shown.to_string().contains("SignatureDoesNotMatch"));
    }
}
