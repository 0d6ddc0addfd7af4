//! Proves that a session store keeps the contract: for every engine of mocha-session and for yours.

mod env;

pub use env::engine_url;
