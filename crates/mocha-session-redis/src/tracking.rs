//! Client-side caching: the server reports which keys were changed, to a store that keeps what it
//! reads.

use std::sync::OnceLock;

use mocha_session_core::store::{Changes, KeySpace};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisResult, Value, cmd};

/// The key space of the first store on a connection, with its reports.
#[derive(Default)]
pub(crate) struct Tracking(OnceLock<(KeySpace, Changes)>);

impl Tracking {
    /// Returns the reports of a store's keys. Another key space on the same connection has none.
    pub(crate) fn of(&self, space: &KeySpace) -> Option<Changes> {
        let (first, changes) = self.0.get_or_init(|| (space.clone(), Changes::new()));
        (first == space).then(|| changes.clone())
    }

    /// Returns whether a connection must report changes.
    pub(crate) fn is_wanted(&self) -> bool {
        self.watched().is_some()
    }

    fn watched(&self) -> Option<&(KeySpace, Changes)> {
        self.0.get().filter(|(_, changes)| changes.is_watched())
    }

    /// Asks the server for reports on this connection, and returns whether it was asked. An ACL can
    /// forbid it, and Redis before 6 does not know it; reads then expire by time alone.
    pub(crate) async fn begin(&self, connection: &mut MultiplexedConnection) -> bool {
        let Some((space, changes)) = self.watched() else { return false };
        let mut command = cmd("CLIENT");
        command.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(space.prefix());
        // The writes of this connection need no report.
        command.arg("NOLOOP");
        let asked: RedisResult<Value> = command.query_async(connection).await;
        // Values that were read over an earlier connection may have changed unseen.
        changes.missed();
        // A lost connection is found by the next command.
        drop(asked);
        true
    }

    /// Passes on what the server pushed.
    pub(crate) fn note(&self, push: &PushInfo) {
        let Some((space, changes)) = self.watched() else { return };
        match (&push.kind, push.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(names))) => {
                for name in names {
                    if let Value::BulkString(name) = name
                        && let Ok(name) = std::str::from_utf8(name)
                        && let Some(key) = space.parse(name)
                    {
                        changes.changed(&key);
                    }
                }
            }
            // Without names all keys were removed.
            (PushKind::Invalidate | PushKind::Disconnection, _) => changes.missed(),
            _ => {}
        }
    }
}
