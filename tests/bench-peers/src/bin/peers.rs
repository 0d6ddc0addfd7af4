//! The other libraries, as a worker of `cargo xtask bench`.

use mocha_session_bench::worker::{self, Subject};
use mocha_session_bench_peers::Program;

struct Worker;

impl Program for Worker {
    fn run<S: Subject>(self, open: impl AsyncFn(&str, Option<&str>) -> Option<S>) {
        worker::main(open);
    }
}

fn main() {
    mocha_session_bench_peers::main(Worker);
}
