#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "actix-session-0_11")]
pub mod actix_session_0_11;
#[cfg(any(
    feature = "actix-session-0_11",
    feature = "tower-sessions-0_14",
    feature = "tower-sessions-0_15"
))]
mod adapter;
#[cfg(any(feature = "tower-sessions-0_14", feature = "tower-sessions-0_15"))]
mod tower_sessions;

pub use mocha_session_core::Records;
#[cfg(feature = "tower-sessions-0_14")]
pub use tower_sessions::tower_sessions_0_14;
#[cfg(feature = "tower-sessions-0_15")]
pub use tower_sessions::tower_sessions_0_15;
