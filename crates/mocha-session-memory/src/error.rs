//! The errors of a store that has no client below it: its bounds, and cursors that it did not make.

use mocha_session_core::{Error, ErrorKind};

use crate::store::ENGINE;

/// The value does not fit into an empty store.
pub(crate) fn too_large(operation: &'static str, size: usize) -> Error {
    let why = format!("{size} bytes are more than `max_bytes` has room for");
    Error::new(ErrorKind::TooLarge, why).on(ENGINE).during(operation)
}

/// The store has reached a bound and may not evict.
pub(crate) fn full(operation: &'static str, max_entries: u64, max_bytes: u64) -> Error {
    let why = format!(
        "the bound of {max_entries} entries or {max_bytes} bytes is reached; raise it, or choose \
         `when_full=evict`"
    );
    Error::new(ErrorKind::Full, why).on(ENGINE).during(operation)
}

/// The cursor was made by another store.
pub(crate) fn foreign_cursor(operation: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "the cursor is not one of this store's")
        .on(ENGINE)
        .during(operation)
}
