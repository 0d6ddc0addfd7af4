//! Looking for a bug that was planted: how much CI spends on one, and what it found.

use crate::campaign::{Budget, one};
use crate::explore::{Found, Tally, every, replay};
use crate::ops::{Carrier, KINDS, Kind, Mode, Setup};
use crate::plan;
use crate::pool::Pool;
use crate::shrink::shrink;
use crate::store::Flaw;
use crate::text::steps;

/// How many schedules by chance CI spends on one planted bug.
const SCHEDULES: u64 = 3_000;
/// How many come before the pairs: most bugs are found by these.
const FIRST: u64 = 3_000;
/// How many schedules of one pair CI tries.
const OF_A_PAIR: u64 = 60;

/// Looks for the first broken promise, all in this thread: slow requests, a little chance, pairs of
/// operations, then chance.
pub fn hunt(flaw: Flaw) -> Option<Found> {
    let mut pool = Pool::default();
    let mut tally = Tally::default();
    let enough = |tally: &Tally| !tally.found.is_empty();
    for kind in KINDS {
        let kind = kind.text();
        let rare = [
            // The session expires while the request is being handled: chance rarely takes so long.
            (format!("user~40000 oo a:{kind}&"), "+1 a t3900"),
            // The second writes over what it read before the first wrote.
            (format!("user oc a:{kind} b:{kind}"), "+1 a a a a +2"),
            // The client was told that its session is empty before the other request fills it.
            (format!("anon oo+t b:show b:clear a:{kind}&"), "+1 b b -1 +3 a +2 b b -2 =3"),
        ];
        for (case, schedule) in rare {
            if let (Ok(case), Ok(schedule)) = (case.parse(), steps(schedule)) {
                tally.note(&replay(&case, flaw, &schedule, &mut pool));
            }
        }
    }
    if tally.found.is_empty() {
        one(flaw, 7, Budget::Schedules(tally.runs + FIRST), &mut tally, &enough);
    }
    for case in plan::pairs(Setup::User, &[Mode::Plain; 2], Carrier::Cookie) {
        if tally.found.is_empty() && case.ops.iter().any(|op| telling(op.kind)) {
            every(&case, flaw, 0, OF_A_PAIR, &mut pool, &mut tally);
        }
    }
    if tally.found.is_empty() {
        one(flaw, 8, Budget::Schedules(tally.runs + SCHEDULES), &mut tally, &enough);
    }
    tally.found.first().map(|found| shrink(found, flaw, &mut pool))
}

/// Whether a pair with this operation is worth a try of each order: most bugs show beside one.
fn telling(kind: Kind) -> bool {
    kind.moves() || kind.ends() || kind == Kind::Show
}
