//! This library, the bare handler and the ideal, as a worker of `cargo xtask bench`, and `scale`,
//! which measures the growth of the cost.

use mocha_session_bench::{ours, scale, worker};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("scale") => scale::main(std::env::args().any(|word| word == "--quick")),
        _ => worker::main(ours::open),
    }
}
