//! The same subjects under an allocator that counts.

use mocha_session_bench::counted::{self, Counted};
use mocha_session_bench::ours;

fn main() {
    counted::main(ours::open, |run| {
        let counted = allocation_counter::measure(run);
        Counted { allocations: counted.count_total, kept: counted.bytes_current }
    });
}
