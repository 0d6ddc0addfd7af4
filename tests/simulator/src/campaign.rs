//! Many runs: every pair, or chance for so long or so often, on several threads.

use std::time::Instant;

use crate::explore::{Tally, chance, every};
use crate::ops::{Carrier, Mode, Setup};
use crate::plan;
use crate::pool::Pool;
use crate::store::Flaw;

/// How many threads run schedules. Schedules have nothing in common.
const THREADS: u64 = 2;
/// How many schedules of one case chance tries before it takes another case.
const OF_ONE_CASE: u64 = 8;

/// How long chance is tried.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    /// Until then.
    Until(Instant),
    /// This many schedules, the same ones each time.
    Schedules(u64),
}

/// The pairs that are tried: in these setups, by processes of these modes, of these clients.
pub const PAIRS: &[(Setup, [Mode; 2], Carrier)] = &[
    (Setup::Anonymous, [Mode::Plain, Mode::Plain], Carrier::Cookie),
    (Setup::User, [Mode::Plain, Mode::Plain], Carrier::Cookie),
    (Setup::Devices, [Mode::Plain, Mode::Plain], Carrier::Cookie),
    (Setup::Empty, [Mode::Plain, Mode::Plain], Carrier::Cookie),
    (Setup::User, [Mode::New, Mode::New], Carrier::Cookie),
    (Setup::User, [Mode::Prepare, Mode::New], Carrier::Cookie),
    (Setup::User, [Mode::New, Mode::Prepare], Carrier::Cookie),
    (Setup::User, [Mode::Near, Mode::Near], Carrier::Cookie),
    (Setup::Devices, [Mode::Near, Mode::Plain], Carrier::Cookie),
    (Setup::User, [Mode::Plain, Mode::Plain], Carrier::Token),
    (Setup::Devices, [Mode::Plain, Mode::Plain], Carrier::Both),
    (Setup::Stale, [Mode::Plain, Mode::Plain], Carrier::Both),
];

/// Every schedule of every pair with so many faults, but for at most `limit` schedules of each.
pub fn pairs(flaw: Flaw, faults: u32, limit: u64) -> Tally {
    let cases: Vec<_> =
        PAIRS.iter().flat_map(|(setup, modes, by)| plan::pairs(*setup, modes, *by)).collect();
    let cases = &cases;
    together(move |thread| {
        let (mut pool, mut tally) = (Pool::default(), Tally::default());
        for case in cases.iter().skip(usize::try_from(thread).unwrap_or(0)).step_by(2) {
            every(case, flaw, faults, limit, &mut pool, &mut tally);
        }
        tally
    })
}

/// Some schedules of every other pair of one line of [`PAIRS`], in this thread: the first `limit`
/// without faults in order, and as many with a fault by chance.
pub fn some_pairs(line: usize, half: usize, limit: u64) -> Tally {
    let (mut pool, mut tally) = (Pool::default(), Tally::default());
    let mut rng = fastrand::Rng::with_seed(1);
    let (setup, modes, carrier) = PAIRS[line];
    for case in plan::pairs(setup, &modes, carrier).into_iter().skip(half).step_by(2) {
        every(&case, Flaw::None, 0, limit, &mut pool, &mut tally);
        for _ in 0..limit {
            tally.note(&chance(&case, Flaw::None, rng.u64(..), 1, false, &mut pool));
        }
    }
    tally
}

/// Schedules by chance, from a seed.
pub fn random(flaw: Flaw, seed: u64, budget: Budget) -> Tally {
    together(move |thread| {
        let mut tally = Tally::default();
        one(flaw, seed.wrapping_mul(THREADS) + thread, share(budget), &mut tally, &|_| false);
        tally
    })
}

fn share(budget: Budget) -> Budget {
    match budget {
        Budget::Schedules(all) => Budget::Schedules(all / THREADS),
        until @ Budget::Until(_) => until,
    }
}

/// Schedules by chance in this thread, until the tally is enough.
pub fn one(
    flaw: Flaw,
    seed: u64,
    budget: Budget,
    tally: &mut Tally,
    enough: &dyn Fn(&Tally) -> bool,
) {
    let mut pool = Pool::default();
    let mut rng = fastrand::Rng::with_seed(seed);
    loop {
        let (case, jumps) = plan::by_chance(&mut rng);
        let faults = [0, 1, 1, 3][rng.usize(..4)];
        for _ in 0..OF_ONE_CASE {
            tally.note(&chance(&case, flaw, rng.u64(..), faults, jumps, &mut pool));
        }
        let over = match budget {
            Budget::Until(end) => Instant::now() >= end,
            Budget::Schedules(all) => tally.runs >= all,
        };
        if over || enough(tally) {
            return;
        }
    }
}

fn together(work: impl Fn(u64) -> Tally + Copy + Send) -> Tally {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        let mut all = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(tally) => all.join(tally),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}
