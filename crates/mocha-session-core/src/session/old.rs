//! The way from a request to a session of another library, which becomes one of this manager's.

use std::sync::Arc;

use crate::error::Result;
use crate::future::BoxFuture;
use crate::record::content::Content;
use crate::session::base::Base;
use crate::session::state::{Inner, Line};

/// Takes over the sessions of another library.
pub(crate) trait TakesOver: Send + Sync {
    /// A future where the request has a cookie of the other library and none of ours. For any other
    /// request nothing is allocated and no store is called.
    fn take_over(&self, request: &Arc<Inner>) -> Option<BoxFuture<'static, Result<TakenOver>>>;
}

/// The result of taking over an old session.
#[allow(clippy::large_enum_variant, reason = "short-lived, and rare")]
pub(crate) enum TakenOver {
    /// There is none, or ours has ended.
    Nothing,
    /// Ours has a newer id, which another response tells the browser.
    Superseded,
    /// Ours, and the line that tells the browser.
    Live { base: Base, content: Arc<Content>, line: Line },
}
