//! Bugs that the simulator plants, one at a time, to prove that it finds them. Compiled by its own
//! build alone.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<&'static str> = const { Cell::new("") };
}

/// Plants the bug of this name in this thread; the empty name removes it.
pub fn plant(name: &'static str) {
    PLANTED.set(name);
}

/// Returns whether the bug of this name is planted.
pub(crate) fn mutant(name: &str) -> bool {
    PLANTED.get() == name
}
