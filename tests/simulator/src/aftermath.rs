//! What there is to see when a run is over, at once and later.

use std::time::Duration;

use crate::client::{self, Client, Line};
use crate::gate::Shared;
use crate::history::{History, Later, Record};
use crate::ops::{Mode, Setup};
use crate::store::Engine;
use crate::world::{Cookie, World, client, lock, secrets};

impl World<'_> {
    /// What the browsers, the owners and the engines look like in the end, and later.
    pub(crate) fn close(mut self) -> History {
        let writes = {
            let mut gates = self.gates.lock();
            gates.parked.retain(|parked| !parked.orphan);
            std::mem::take(&mut gates.writes)
        };
        let mut later = Vec::new();
        let values: Vec<String> = self.issued.iter().map(|issue| issue.value.clone()).collect();
        let mode = if self.case.migrates() { Mode::New } else { Mode::Plain };
        let newest = secrets(self.case.keys, 1);
        let carrier = self.case.carrier;
        let clean = client(&self.gates, None, mode, carrier, &newest, &self.clock);
        let engines = self.gates.lock().engines.clone();
        let copy = Shared::new(engines, self.case.repeats);
        let untouched = client(&copy, None, mode, carrier, &newest, &self.clock);
        let mut wait = |world: &mut Self, clean: &Client, seconds: u64| {
            world.clock.advance(Duration::from_secs(seconds));
            if seconds > 0 {
                let now = mocha_session_core::Clock::now(&world.clock);
                world.gates.lock().engines.iter_mut().for_each(|engine| drop(engine.sweep(now)));
            }
            let seen = values
                .iter()
                .map(|value| world.outside(clean.look(&[value])).map_err(|e| e.kind()));
            let seen = seen.collect();
            let listed =
                ["u", "v"].map(|owner| world.outside(clean.listed(owner)).map_err(|e| e.kind()));
            later.push(Later { at: seconds, now: client::now(&world.clock), seen, listed });
        };
        // Listing tidies up what it finds dead, so that the first look is at a copy.
        wait(&mut self, &untouched, 0);
        let dropped = self.drops(mode, &newest);
        let records = self.ops.iter().map(|running| Record {
            op: running.op,
            cookies: running.cookies.clone(),
            report: lock(&running.report).clone(),
            started: running.started,
            finished: running.finished,
            finished_at: running.finished_at,
            responded: running.responded,
            gone: running.gone,
        });
        let records: Vec<Record> = records.collect();
        // What nobody asked for twice is asked once more when tombstones and index margins have run
        // out.
        let moves =
            self.case.ops.iter().any(|op| op.kind.moves() || op.kind.ends() || op.kind.revokes());
        if moves {
            wait(&mut self, &clean, 61);
            wait(&mut self, &clean, 11 * 60);
            wait(&mut self, &clean, 2 * 60 * 60);
        }
        let mut revoked = Vec::new();
        if self.case.setup != Setup::Empty || moves {
            for owner in ["u", "v"] {
                if let Err(error) = self.outside(clean.revoke_all(owner)) {
                    revoked.push(error.kind());
                }
            }
        }
        wait(&mut self, &clean, 0);
        for value in &values {
            let _ = self.outside(clean.end(value));
        }
        self.clock.advance(Duration::from_secs(3 * 60 * 60));
        let now = mocha_session_core::Clock::now(&self.clock);
        let mut gates = self.gates.lock();
        gates.engines.iter_mut().for_each(|engine| drop(engine.sweep(now)));
        let left = gates.engines.iter().map(Engine::len).sum();
        drop(gates);
        let jars = self.jars.clone().map(|jar| jar.map(|cookie| cookie.value));
        self.reclaim();
        History {
            case: self.case.clone(),
            records,
            issued: std::mem::take(&mut self.issued),
            jars,
            first: self.old.take(),
            second: self.second.take(),
            first_handle: self.first_handle.take(),
            later,
            dropped,
            revoke_failed: revoked,
            writes,
            left,
            faults: self.faults,
            jumped: self.jumped,
            reordered: self.reordered,
            hung: self.hung,
            trace: std::mem::take(&mut self.trace),
        }
    }

    /// Whether the first browser loses its live session though it uses it: tried on a copy of the
    /// engines.
    fn drops(&mut self, mode: Mode, secrets: &[client::Secret]) -> bool {
        let Some(mut jar) = self.jars[0].clone() else { return false };
        if self.faults > 0 {
            return false;
        }
        let engines = self.gates.lock().engines.clone();
        let gates = Shared::new(engines, self.case.repeats);
        let clock = client::copy(&self.clock);
        let browser = client(&gates, None, mode, self.case.carrier, secrets, &clock);
        let mut lived = false;
        for _ in 0..4 {
            if client::now(&clock) >= jar.until {
                return lived;
            }
            let Ok((seen, line)) = self.outside(browser.visit(&jar.value)) else { return lived };
            if !seen.live {
                return lived;
            }
            lived = true;
            if let Some(Line::Set(value, age)) = line {
                let until = age.map_or(u64::MAX, |age| client::now(&clock) + age * 1_000);
                jar = Cookie { value, until };
            }
            clock.advance(Duration::from_secs(5 * 60 * 60));
        }
        false
    }
}
