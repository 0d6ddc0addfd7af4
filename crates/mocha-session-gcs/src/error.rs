//! Turns Google's errors into this library's: what is absent, what a call can have done, what to
//! do.

use std::error::Error as StdError;

use google_cloud_gax::error::CredentialsError;
use google_cloud_gax::error::rpc::Code;
use google_cloud_storage::Error as GoogleError;
use mocha_session_core::backend::objects::Outcome;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind, Result};

/// What an answer that isn't a success says.
#[derive(Debug)]
pub(crate) enum Answer {
    /// There is no such object, in a bucket that is there.
    Absent,
    /// There is no such bucket.
    NoBucket,
    /// The generation does not match.
    Mismatch,
    /// What was to be created is there already.
    Taken,
    /// The object or the bucket is missing: the answer does not say which.
    ObjectOrBucketMissing,
    /// Refused for now, and nothing was done.
    Busy(Error),
    /// Neither: an error.
    Failed(Error),
}

/// Reads an HTTP status and the word or sentence that came with it.
pub(crate) fn status(status: u16, says: &str, effect: Effect) -> Answer {
    use ErrorKind::{Denied, Internal, TooLarge, Unavailable};
    // Google's sentences hold the object's name, which holds the key: only known words of them are
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
                "the credentials were not accepted (401{code}); are they this project's, and not revoked?"
            ),
        ),
        403 => (
            Failure::Refused(Denied),
            format!(
                "the credentials may not do this (403{code}): they need the role roles/storage.objectUser on the \
                 bucket; a wrong HMAC secret or a clock that is wrong ends here, too"
            ),
        ),
        408 | 429 => {
            let why = format!(
                "refused for now ({status}{code}): Google limits how often one object is written, and requests \
                 in all"
            );
            return Answer::Busy(Failure::Refused(Unavailable).error(effect, why));
        }
        413 => (Failure::Refused(TooLarge), "refused as too large (413)".to_owned()),
        // A front end may say so after the write was done behind it.
        500.. => (Failure::Unanswered, format!("Google's side failed ({status}{code}); try later")),
        _ => (
            Failure::Refused(Internal),
            format!("an answer that was not expected ({status}{code})"),
        ),
    };
    Answer::Failed(failure.error(effect, why))
}

/// What the official client's error says.
pub(crate) fn google(error: &GoogleError, effect: Effect) -> Answer {
    // gRPC dresses up a connection that nobody took as an answer of the server's.
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
        (Some(code), _) => status(code, says, effect),
        (None, Some(Code::AlreadyExists)) => Answer::Taken,
        (None, Some(code)) => status(http_status(code), says, effect),
        (None, None) => Answer::Failed(transport(error, effect)),
    }
}

/// What it means that there was no answer.
pub(crate) fn transport(error: &(dyn StdError + 'static), effect: Effect) -> Error {
    let (failure, why) = if let Some(cause) = find::<CredentialsError>(error) {
        if cause.is_transient() {
            let why = "no access token could be had; where no service account is attached to the machine, set \
                       GOOGLE_APPLICATION_CREDENTIALS or name a key file with ?credentials=";
            (Failure::NotSent, why.to_owned())
        } else {
            let why = "no access token could be had for these credentials; are they still valid?";
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
    /// How a write ended that was not done, or may not have been.
    pub(crate) fn of_write<T>(self, conditional: bool) -> Result<Outcome<T>> {
        match self {
            Self::Absent => Ok(Outcome::Unmet),
            Self::Mismatch if conditional => Ok(Outcome::Unmet),
            Self::Busy(error) => Ok(Outcome::Busy(error)),
            other => Err(other.into_error()),
        }
    }

    /// The error that it is where neither absence nor a mismatch was to be expected.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) | Self::Busy(error) => error,
            Self::NoBucket | Self::ObjectOrBucketMissing => Error::new(
                ErrorKind::Unavailable,
                "the bucket does not exist; create it (gcloud storage buckets create gs://NAME), or let the URL do it \
                 with ?project=",
            ),
            Self::Mismatch => Error::new(
                ErrorKind::Denied,
                "refused under a condition that was not set here; has the bucket a retention policy, or the object a hold?",
            ),
            Self::Absent | Self::Taken => {
                Error::new(ErrorKind::Internal, "Google answered a question that was not asked")
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

/// `says`, if it is a single word like `SignatureDoesNotMatch`, shorter than a key.
fn word(says: &str) -> String {
    if !says.is_empty() && says.len() < 40 && says.bytes().all(|c| c.is_ascii_alphabetic()) {
        format!(" {says}")
    } else {
        String::new()
    }
}

/// The innermost cause in words: the outer ones show the URL, and with it the key.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let Some(last) = sources(error).last() else { return String::new() };
    let text: String = last.to_string().chars().filter(|c| !c.is_control()).take(120).collect();
    let shows_more = text.contains("://") || text.contains('/') || text.contains('@');
    if shows_more { String::new() } else { format!(": {text}") }
}

/// Whether the request cannot have left: name, connection and TLS come before it.
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
        assert!(matches!(status(404, "No such object: b/o", Effect::Read), Answer::Absent));
        assert!(matches!(status(404, "NoSuchKey", Effect::Write), Answer::Absent));
        assert!(matches!(status(404, "", Effect::Read), Answer::ObjectOrBucketMissing));
        assert!(matches!(
            status(404, "<html>nginx</html>", Effect::Read),
            Answer::ObjectOrBucketMissing
        ));
        for says in ["The specified bucket does not exist.", "NoSuchBucket"] {
            let answer = status(404, says, Effect::Read);
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
            assert_eq!(failed(status(code, "", effect)).kind(), kind, "{code} {effect:?}");
        }
        assert!(matches!(status(412, "", Effect::Write), Answer::Mismatch));
        assert!(matches!(status(429, "", Effect::Write), Answer::Busy(_)));
    }

    #[test]
    fn what_google_says_is_repeated_only_if_it_is_one_word() {
        let key = "ab".repeat(20);
        let shown =
            failed(status(403, &format!("x lacks access to bucket/sessions/{key}"), Effect::Read));
        assert!(!shown.to_string().contains(&key));
        assert!(!failed(status(403, &key, Effect::Read)).to_string().contains(&key));
        let shown = failed(status(403, "SignatureDoesNotMatch", Effect::Read));
        assert!(shown.to_string().contains("SignatureDoesNotMatch"));
    }
}
