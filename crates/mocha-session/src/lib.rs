//! Web-app sessions and flash for Rust: one setting, SESSION_URL, picks the engine.
