//! This library, the bare handler and the ideal, as a worker of `cargo xtask bench`, and `scale`,
//! which measures the growth of the cost.

use mocha_session_bench::{ours, scale, worker};

fn main() {
    // Each kind of client has a type of its own.
    match std::env::args().nth(1).as_deref() {
        Some("scale") => scale::main(std::env::args().any(|word| word == "--quick")),
        #[cfg(feature = "engines")]
        Some(name) if name.starts_with("ours-actix-") => {
            worker::main(mocha_session_bench::ours_actix::open);
        }
        Some("ours-header-memory") => worker::main(ours::with_token),
        _ => worker::main(ours::open),
    }
}
