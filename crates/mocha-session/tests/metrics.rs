//! What Prometheus reads of an application's sessions.
#![cfg(all(feature = "metrics", feature = "memory"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use metrics_exporter_prometheus::PrometheusBuilder;
use mocha_session::metrics::Metrics;
use mocha_session::{ErrorKind, RequestInfo, SessionManager, WhenFull};

#[tokio::test]
async fn a_scrape_shows_what_sessions_did_and_names_nobody() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let prometheus = recorder.handle();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let manager = SessionManager::builder(mocha_session::open("memory:").await.unwrap())
        .observer(Metrics::new())
        .build()
        .unwrap();
    let cookie = manager.seed(|session| session.login("alice")).await.unwrap();
    let lazy = manager.open(RequestInfo::new(cookie.clone()));
    lazy.load().await.unwrap().insert("pin", "4711").unwrap();
    manager.finish(&lazy, 200).await.into_result().unwrap();
    manager.revoke_all("alice").await.unwrap();
    assert!(manager.open(RequestInfo::new(cookie.clone())).load().await.unwrap().is_new());

    let page = prometheus.render();
    for line in [
        "mocha_session_loads_total{outcome=\"found\"} 1",
        "mocha_session_loads_total{outcome=\"absent\"} 1",
        "mocha_session_changes_total{change=\"created\"} 1",
        "mocha_session_changes_total{change=\"logged_in\"} 1",
        "mocha_session_changes_total{change=\"committed\"} 1",
        "mocha_session_ended_total{how=\"revoked\"} 1",
        "# HELP mocha_session_record_bytes The size of a written record.",
        "mocha_session_store_call_seconds_count{engine=\"memory\",operation=\"load\",outcome=\"ok\"}",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    let secret = cookie.split_once('=').unwrap().1;
    assert!(!page.contains("alice") && !page.contains("4711") && !page.contains(secret));
}

/// The labels of each metric in a page for Prometheus, by the metric's name.
fn labels(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let of_metric = metrics.entry(name.to_owned()).or_default();
        of_metric.extend(label_names(rest.split_once('}').map_or("", |(labels, _)| labels)));
    }
    metrics
}

/// The names of the labels in `{name="value",other=~"value"`.
fn label_names(labels: &str) -> impl Iterator<Item = String> {
    let parts = labels.trim_start_matches('{').split(',');
    let names = parts.filter_map(|part| part.split_once(['=', '!']).map(|(name, _)| name.trim()));
    names.map(ToOwned::to_owned).collect::<Vec<_>>().into_iter()
}

/// Makes every metric appear at least once.
async fn everything_happens(metrics: Metrics) {
    let manager = SessionManager::builder(mocha_session::open("memory:").await.unwrap())
        .max_sessions_per_owner(1, WhenFull::RefuseLogin)
        .max_record_bytes(2_000)
        .observer(metrics)
        .build()
        .unwrap();
    let cookie = manager.seed(|session| session.login("alice")).await.unwrap();
    let refused = manager.seed(|session| session.login("alice")).await.unwrap_err();
    assert!(refused.is_too_many_sessions());
    let fill = |session: &mocha_session::core::Session| session.insert("n", "x".repeat(3_000));
    assert_eq!(manager.seed(fill).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let [one, other] = [(); 2].map(|()| manager.open(RequestInfo::new(cookie.clone())));
    for (lazy, n) in [(&one, 1), (&other, 2)] {
        lazy.load().await.unwrap().insert("n", n).unwrap();
    }
    for lazy in [one, other] {
        manager.finish(&lazy, 200).await.into_result().unwrap();
    }
    manager.revoke_all("alice").await.unwrap();
}

#[tokio::test]
async fn the_dashboard_and_the_alerts_name_only_metrics_and_labels_that_exist() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let prometheus = recorder.handle();
    let _installed = metrics::set_default_local_recorder(&recorder);
    everything_happens(Metrics::new()).await;
    let exist = labels(&prometheus.render());
    let mut named = BTreeSet::new();
    for document in ["grafana.json", "deploying.md", "operating.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(document);
        let text = std::fs::read_to_string(path).unwrap().replace("\\\"", "\"");
        for (at, _) in text.match_indices("mocha_session_") {
            let rest = &text[at..];
            let (name, rest) = rest.split_at(
                rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap(),
            );
            let known = exist.get(name);
            let own = known.unwrap_or_else(|| panic!("{document} names {name}: {exist:#?}"));
            let used = if rest.starts_with('{') { rest.split_once('}').unwrap().0 } else { "" };
            // `sum by (outcome) (rate(…`
            let before = text[..at].lines().next_back().unwrap_or_default();
            let by = before.split_once(" by (").and_then(|(_, by)| by.split_once(')'));
            let by = by.map_or("", |(by, _)| by).split(", ").filter(|label| !label.is_empty());
            for label in label_names(used).chain(by.map(ToOwned::to_owned)) {
                assert!(own.contains(&label), "{document}: {name} has no `{label}`: {own:?}");
            }
            named.insert(name.trim_end_matches("_count").to_owned());
        }
    }
    assert!(named.len() > 7, "the documents name metrics: {named:?}");
}
