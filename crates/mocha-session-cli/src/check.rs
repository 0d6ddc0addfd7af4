//! `check`: parses and explains a session URL without connecting.

use mocha_session::{Registry, StoreUrl};

use crate::args::Store;
use crate::output::{Failure, Report};

pub(crate) fn run(store: &Store) -> Result<Report, Failure> {
    Registry::builtin().check(&store.url)?;
    let mut report = Report::new();
    if matches!(store.url.trim(), "" | "None") {
        report.fact("storage", "the client's cookie");
        report.fact("needs", "SESSION_SECRET, which encrypts the sessions");
        return Ok(report);
    }
    let url = StoreUrl::parse(&store.url)?;
    report.fact("url", url.to_string());
    report.fact("scheme", url.scheme());
    let hosts: Vec<_> = url.hosts().iter().map(|host| host.name().to_owned()).collect();
    if !hosts.is_empty() {
        report.fact("hosts", hosts.join(", "));
    }
    report.fact("password", url.password().is_some());
    report.fact("timeout", format!("{:?} for each call", url.deadline()));
    report.line("the URL is right; `doctor` connects");
    Ok(report)
}
