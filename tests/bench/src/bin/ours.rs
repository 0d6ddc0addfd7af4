//! This library, the bare handler and the ideal, as a worker of `cargo xtask bench`.

use mocha_session_bench::{ours, worker};

fn main() {
    worker::main(ours::open);
}
