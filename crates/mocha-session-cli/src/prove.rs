//! `prove`: runs the conformance suite on a live engine, under its own prefix.

use mocha_session::StoreUrl;
use serde_json::json;

use crate::args::{Store, open};
use crate::count::server_side;
use crate::output::{Failure, Report};

pub(crate) async fn run(store: &Store) -> Result<Report, Failure> {
    if StoreUrl::parse(&store.url)?.take("prefix").is_some() {
        return Err(Failure::config(
            "give the URL without its option `prefix`: the suite uses one of its own, so that it \
             touches no session",
        ));
    }
    let mark = if store.url.contains('?') { '&' } else { '?' };
    let own = format!("{mark}prefix=prove-{:08x}-", fastrand::u32(..));
    // The memory of this process contains no sessions of an application.
    let in_process = store.url.starts_with("memory:");
    let storage = open(&format!("{}{}", store.url, if in_process { "" } else { &own })).await?;
    let suite = mocha_session_conformance::run(server_side(&storage)?).await;
    let mut report = Report::new();
    report.fact("passed", suite.passed().count());
    let skipped: Vec<_> = suite.skipped().collect();
    report.fact("skipped", skipped.len());
    for (name, why) in &skipped {
        report.line(format!("  {name}: {why}"));
    }
    let failed: Vec<_> =
        suite.failed().map(|(name, why)| json!({ "case": name, "why": why })).collect();
    report.fact("failed", failed.len());
    for (name, why) in suite.failed() {
        report.warning(format!("{name}: {why}"));
    }
    report.field("failures", failed);
    Ok(report)
}
