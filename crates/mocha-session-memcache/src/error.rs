//! From the client's errors to ours: whether the command was done, why it failed, what to do.

use memcache::exp::Error as ClientError;
use mocha_session_core::store::{Effect, Failure};
use mocha_session_core::{Error, ErrorKind};

/// The reason why a server refuses every command.
pub(crate) const WANTS_LOGIN: &str = "requires a login: memcache://username:password@…";

/// The error of a command that was sent to this server. The client's own text is left out, because
/// some of its messages repeat keys and answers.
pub(crate) fn of_call(address: &str, cause: ClientError, effect: Effect) -> Error {
    use Failure::{Refused, Unanswered};
    let (failure, why) = match &cause {
        ClientError::Io(_) => {
            (Unanswered, "broke the connection before it answered; was it restarted?")
        }
        ClientError::Server(text) if text.to_ascii_lowercase().contains("out of memory") => (
            Refused(ErrorKind::Full),
            "has no memory left and may not evict (-M); it has dropped the key's old value",
        ),
        ClientError::Server(text) if text.contains("too large") => (
            Refused(ErrorKind::TooLarge),
            "refused the value as too large and dropped the old one; raise its item size (-I)",
        ),
        ClientError::Rejected(text) if text.contains("unauthenticated") => {
            (Refused(ErrorKind::Denied), WANTS_LOGIN)
        }
        ClientError::Rejected(_) | ClientError::Usage(_) => {
            (Refused(ErrorKind::Internal), "does not accept the command; is it memcached?")
        }
        // A proxy's `SERVER_ERROR` does not tell whether the servers behind it did the command.
        _ => (Unanswered, "sent an answer that is not memcached's; is it memcached?"),
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

/// An error from before the command was sent.
pub(crate) fn unsent(address: &str, why: &str) -> Error {
    of_server(address, Failure::NotSent, Effect::Read, why)
}

/// An error for a server, or a configuration, that this store cannot use.
pub(crate) fn unfit(address: &str, kind: ErrorKind, why: &str) -> Error {
    of_server(address, Failure::Refused(kind), Effect::Read, why)
}
