//! `doctor`: connects, measures, and warns of dangerous settings.

use std::time::{Duration, Instant, SystemTime};

use mocha_session::store::{Expiry, Finding, SessionStore, StorageKey};
use mocha_session::{Capabilities, Durability, Error, ErrorKind, Registry};
use serde_json::json;

use crate::args::{Doctor, open};
use crate::count::server_side;
use crate::output::{Failure, Report};

/// The value of a probe, of the size of a small session.
const VALUE: [u8; 300] = [0x5a; 300];
/// The lifetime of a probe that a broken connection left behind.
const LIFETIME: Duration = Duration::from_secs(120);

pub(crate) async fn run(doctor: &Doctor) -> Result<Report, Failure> {
    let begun = Instant::now();
    let storage = open(&doctor.store.url).await?;
    let store = server_side(&storage)?;
    store.ping().await?;
    let opened = begun.elapsed();
    let can = store.capabilities();
    let mut report = Report::new();
    report.fact("engine", can.engine());
    report.fact("connected_in", format!("{opened:.1?}"));
    report.fact("survives", survives(can.durability()));
    report.fact("expires_by_itself", can.native_expiry());
    report.fact("may_evict", can.evicts());
    report.fact("lists_sessions", can.listing());
    report.fact("largest_value", can.max_value().map_or(json!(null), |bytes| json!(bytes)));
    measure(&**store, doctor.rounds, &mut report).await?;
    findings(Registry::builtin().examine(&doctor.store.url).await?, &can, &mut report);
    Ok(report)
}

/// Times each operation of the contract on keys that no other process uses.
async fn measure(
    store: &dyn SessionStore,
    rounds: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut times: [(&str, Vec<Duration>); 4] =
        [("create", vec![]), ("load", vec![]), ("update", vec![]), ("delete", vec![])];
    let engine = store.capabilities().engine();
    let during = |operation| move |error: Error| error.on(engine).during(operation);
    for _ in 0..rounds {
        let mut key = [0; StorageKey::BYTES];
        key.fill_with(|| fastrand::u8(..));
        let key = StorageKey::from_bytes(key);
        let expiry = Expiry::after(LIFETIME, SystemTime::now());
        let mut since = Instant::now();
        let mut lap = |at: usize| {
            times[at].1.push(since.elapsed());
            since = Instant::now();
        };
        let created = store.create(&key, &VALUE, expiry).await.map_err(during("create"))?;
        let revision = created.ok_or_else(unlikely)?;
        lap(0);
        store.load(&key).await.map_err(during("load"))?;
        lap(1);
        store.update(&key, &VALUE, expiry, &revision).await.map_err(during("update"))?;
        lap(2);
        store.delete(&key).await.map_err(during("delete"))?;
        lap(3);
    }
    for (operation, mut times) in times {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        let (half, most) = (at(50), at(99));
        report.line(format!("{operation:<24} p50 {half:.1?}, p99 {most:.1?}"));
        report.field(
            operation,
            json!({ "p50_us": micros(half), "p99_us": micros(most), "rounds": rounds }),
        );
    }
    Ok(())
}

/// Adds what the engine's driver has found, and what follows from the capabilities.
fn findings(found: Vec<Finding>, can: &Capabilities, report: &mut Report) {
    for finding in found {
        if finding.is_danger() {
            report.warning(finding.to_string());
        } else {
            report.note(finding.to_string());
        }
    }
    if !can.native_expiry() {
        report.note(
            "the engine keeps what has expired until it is swept; call `spawn_sweeper` or run \
             `mocha-session sweep`",
        );
    }
    if !can.listing() {
        report.note("the engine cannot list its sessions: no count, no copy, no sweep");
    }
}

fn survives(durability: Durability) -> &'static str {
    match durability {
        Durability::Process => "nothing: sessions end with this process",
        Durability::Server => "the end of a process, not a restart of the engine",
        Durability::Delayed => "a crash of the engine, but for the last moments",
        Durability::Disk => "a crash of the engine",
        Durability::Replicated => "the loss of a machine",
        _ => "see the engine's documentation",
    }
}

fn unlikely() -> Error {
    Error::new(ErrorKind::Internal, "the store says that a random key of 160 bits is taken")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
