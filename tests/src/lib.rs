//! What crosses crates: every engine under every framework.
