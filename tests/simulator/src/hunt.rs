//! Looking for a bug that was planted: how much CI spends on one, and what it found.

use crate::campaign::{Budget, one};
use crate::explore::{Found, Tally, every};
use crate::ops::{Case, Mode, Setup};
use crate::plan;
use crate::shrink::shrink;
use crate::store::Flaw;
use crate::world::Pool;

/// How many schedules by chance CI spends on one planted bug.
const SCHEDULES: u64 = 40_000;
/// How many schedules of one pair CI tries.
const OF_A_PAIR: u64 = 200;

/// Looks for the first broken promise, all in this thread: pairs of operations first, then chance.
pub fn hunt(flaw: Flaw) -> Option<Found> {
    let mut pool = Pool::default();
    let mut tally = Tally::default();
    let plain = [Mode::Plain, Mode::Plain];
    let cases: Vec<Case> = plan::pairs(Setup::User, &plain);
    for case in cases.iter().filter(|case| case.ops.iter().any(|op| op.kind.moves() || op.kind.ends())) {
        every(case, flaw, 0, OF_A_PAIR, &mut pool, &mut tally);
        if !tally.found.is_empty() {
            break;
        }
    }
    if tally.found.is_empty() {
        one(flaw, 7, Budget::Schedules(tally.runs + SCHEDULES), &mut tally, &|tally| !tally.found.is_empty());
    }
    tally.found.first().map(|found| shrink(found, flaw, &mut pool))
}
