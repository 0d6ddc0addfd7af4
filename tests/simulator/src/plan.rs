//! Which cases are tried: all pairs, and what chance makes of more.

use crate::ops::{Carrier, Case, From, KINDS, Keys, Kind, Mode, Op, Setup};

const STATUSES: &[u16] = &[200, 200, 200, 200, 303, 304, 500, 408];
const SETUPS: &[Setup] = &[
    Setup::Anonymous,
    Setup::User,
    Setup::User,
    Setup::Devices,
    Setup::Rotated,
    Setup::Stale,
    Setup::Empty,
];

/// Whether a kind of operation means anything in a setup.
fn fits(setup: Setup, kind: Kind) -> bool {
    match setup {
        Setup::Empty => {
            matches!(kind, Kind::Login | Kind::Write | Kind::All | Kind::Push | Kind::Read)
        }
        Setup::Anonymous => !kind.revokes(),
        _ => true,
    }
}

/// Every pair of operations, each in a process of its own.
pub fn pairs(setup: Setup, modes: &[Mode], carrier: Carrier) -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds: Vec<Kind> = KINDS.iter().copied().filter(|kind| fits(setup, *kind)).collect();
    for (at, first) in kinds.iter().enumerate() {
        for second in &kinds[at..] {
            let from = match setup {
                Setup::Devices if !second.is_admin() => From::Other,
                Setup::Stale if !second.is_admin() => From::Two,
                _ => From::Jar,
            };
            let second = Op { from, ..Op::new(1, *second) };
            let ops = vec![Op::new(0, *first), second];
            cases.push(Case {
                setup,
                age: 1,
                modes: modes.to_vec(),
                keys: Keys::None,
                carrier,
                repeats: false,
                ops,
            });
        }
    }
    cases
}

/// A case by chance.
pub fn by_chance(rng: &mut fastrand::Rng) -> (Case, bool) {
    let setup = SETUPS[rng.usize(..SETUPS.len())];
    let slow = rng.u8(..6) == 0;
    let (migrating, near) = (rng.u8(..3) == 0, rng.u8(..4) == 0);
    let count = [2, 3, 3, 3, 4][rng.usize(..5)];
    let processes = rng.u8(2..=3);
    let modes = (0..processes).map(|_| match (migrating, rng.bool()) {
        (false, old) if near && old => Mode::Near,
        (false, _) => Mode::Plain,
        (true, false) => Mode::Prepare,
        (true, true) => Mode::New,
    });
    let modes = modes.collect();
    let mut ops = Vec::new();
    while ops.len() < count {
        let kind = KINDS[rng.usize(..KINDS.len())];
        if !fits(setup, kind) {
            continue;
        }
        let from = match rng.u8(..12) {
            0 => From::Old,
            1 => From::Nobody,
            2 if setup == Setup::Stale => From::Two,
            3..=6 if matches!(setup, Setup::Devices | Setup::Stale) => From::Other,
            _ => From::Jar,
        };
        let status = STATUSES[rng.usize(..STATUSES.len())];
        ops.push(Op { process: rng.u8(..processes), kind, from, status, slow: slow && rng.bool() });
    }
    let age = [1, 1, 1, 30, 660, 4_000, 40_000, 60_000][rng.usize(..8)];
    let keys = [Keys::None, Keys::None, Keys::Introduced, Keys::Rotating][rng.usize(..4)];
    let repeats = rng.u8(..5) == 0;
    let carrier = [Carrier::Cookie, Carrier::Cookie, Carrier::Token, Carrier::Both][rng.usize(..4)];
    (Case { setup, age, modes, keys, carrier, repeats, ops }, slow)
}
