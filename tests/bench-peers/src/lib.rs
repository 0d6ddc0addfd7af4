//! The other libraries' side of `cargo xtask bench`: the same routes over the same data, each as
//! its users write them.
//!
//! All of them have the same conditions: sessions that end after two weeks without activity, and a
//! cookie that is `Secure`, `HttpOnly`, `SameSite=Lax` and for every path. Otherwise they have
//! their defaults. None has flash messages of its own: a message is a value that is inserted before
//! the redirect and removed after it.

mod actix;
mod axum_session;
mod tower_sessions;

use mocha_session_bench::worker::{AxumSubject, Subject};
use time::Duration;

/// How long a session lives without activity.
const TWO_WEEKS: Duration = Duration::weeks(2);

/// A program that can be had for any subject; actix has types without names, so that each subject
/// has one of its own.
pub trait Program {
    fn run<S: Subject>(self, open: impl AsyncFn(&str, Option<&str>) -> Option<S>);
}

/// Runs a program for the subject that the command line names.
pub fn main(program: impl Program) {
    // Every command is `WHAT SUBJECT …`.
    match std::env::args().nth(2).as_deref() {
        Some("actix-floor") => program.run(async |_, _| Some(actix::floor().await)),
        Some("actix-cookie") => program.run(async |_, _| Some(actix::cookie().await)),
        Some("actix-redis") => {
            program.run(async |_, url| Some(actix::redis(url?.to_owned()).await))
        }
        _ => program.run(open_axum),
    }
}

async fn open_axum(name: &str, url: Option<&str>) -> Option<AxumSubject> {
    Some(match (name, url) {
        ("tower-sessions-memory", None) => tower_sessions::memory(),
        ("tower-sessions-redis", Some(url)) => tower_sessions::redis(url).await,
        ("tower-sessions-sqlite", Some(url)) => tower_sessions::sqlite(url).await,
        ("tower-sessions-postgres", Some(url)) => tower_sessions::postgres(url).await,
        ("axum-session-memory", None) => axum_session::memory().await,
        ("axum-session-redis", Some(url)) => axum_session::redis(url).await,
        _ => return None,
    })
}
