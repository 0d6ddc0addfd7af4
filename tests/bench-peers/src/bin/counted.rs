//! The same subjects under an allocator that counts.

use mocha_session_bench::counted::{self, Counted};
use mocha_session_bench::worker::Subject;
use mocha_session_bench_peers::Program;

struct Counter;

impl Program for Counter {
    fn run<S: Subject>(self, open: impl AsyncFn(&str, Option<&str>) -> Option<S>) {
        counted::main(open, |run| {
            let counted = allocation_counter::measure(run);
            Counted { allocations: counted.count_total, kept: counted.bytes_current }
        });
    }
}

fn main() {
    mocha_session_bench_peers::main(Counter);
}
