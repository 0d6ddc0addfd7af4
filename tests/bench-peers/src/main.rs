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

use mocha_session_bench::axum_client::AxumClient;
use mocha_session_bench::worker;
use time::Duration;

/// How long a session lives without activity.
const TWO_WEEKS: Duration = Duration::weeks(2);

fn main() {
    // actix has types without names, so that each of its subjects has one of its own.
    match std::env::args().nth(1).as_deref() {
        Some("actix-floor") => worker::main(async |_, _| Some(actix::floor())),
        Some("actix-cookie") => worker::main(async |_, _| Some(actix::cookie())),
        Some("actix-redis" | "actix-valkey") => {
            worker::main(async |_, url| Some(actix::redis(url?).await))
        }
        _ => worker::main(open),
    }
}

async fn open(name: &str, url: Option<&str>) -> Option<AxumClient> {
    Some(AxumClient::new(match (name, url) {
        ("tower-sessions-memory", None) => tower_sessions::memory(),
        ("tower-sessions-redis" | "tower-sessions-valkey", Some(url)) => {
            tower_sessions::redis(url).await
        }
        ("tower-sessions-sqlite", Some(url)) => tower_sessions::sqlite(url).await,
        ("tower-sessions-postgres", Some(url)) => tower_sessions::postgres(url).await,
        ("axum-session-memory", None) => axum_session::memory().await,
        ("axum-session-redis", Some(url)) => axum_session::redis(url).await,
        _ => return None,
    }))
}
