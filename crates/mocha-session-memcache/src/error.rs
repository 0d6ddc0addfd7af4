//! What a failed command means: the one place that turns the client's errors into ours.

use memcache::exp::Error as ClientError;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind};

/// The engine's name in errors and capabilities.
pub(crate) const ENGINE: &str = "memcached";

/// Why a command that was sent to this server has no answer that could be used. What the client
/// library prints is never part of it: some of its messages repeat keys and answers.
pub(crate) fn of_command(address: &str, cause: ClientError, effect: Effect) -> Error {
    use Failure::{Refused, Unanswered};
    let (failure, why) = match &cause {
        ClientError::Io(_) => {
            (Unanswered, "broke the connection before it answered; was it restarted?")
        }
        ClientError::Server(text) if text.to_ascii_lowercase().contains("out of memory") => (
            Refused(ErrorKind::Full),
            "has no memory left and evicts nothing (-M); it drops what was stored under the key",
        ),
        ClientError::Server(text) if text.contains("too large") => (
            Refused(ErrorKind::TooLarge),
            "refused the value and dropped what was stored under the key",
        ),
        ClientError::Rejected(text) if text.contains("unauthenticated") => {
            (Refused(ErrorKind::Denied), "wants a login: memcache://username:password@…")
        }
        ClientError::Rejected(_) | ClientError::Usage(_) => {
            (Refused(ErrorKind::Internal), "does not accept the command")
        }
        // A proxy's `SERVER_ERROR` says nothing about what the servers behind it did.
        _ => (Unanswered, "gave no proper answer; is it memcached?"),
    };
    let error = of_server(address, failure, effect, why);
    match cause {
        ClientError::Io(cause) => error.with_source(cause),
        _ => error,
    }
}

/// An error that names the server.
pub(crate) fn of_server(address: &str, failure: Failure, effect: Effect, why: &str) -> Error {
    failure.error(effect, format!("{address} {why}"))
}

/// An error that was found before a command was sent.
pub(crate) fn unsent(address: &str, why: &str) -> Error {
    of_server(address, Failure::NotSent, Effect::Read, why)
}

/// What a server is, or was told, that keeps it from being used.
pub(crate) fn unfit(address: &str, kind: ErrorKind, why: &str) -> Error {
    of_server(address, Failure::Refused(kind), Effect::Read, why)
}
