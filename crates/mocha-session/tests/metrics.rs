//! What Prometheus reads of an application's sessions.
#![cfg(all(feature = "metrics", feature = "memory"))]
#![allow(clippy::unwrap_used, reason = "tests")]

use metrics_exporter_prometheus::PrometheusBuilder;
use mocha_session::metrics::Metrics;
use mocha_session::{RequestInfo, SessionManager};

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
