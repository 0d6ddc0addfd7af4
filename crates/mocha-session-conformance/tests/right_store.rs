//! The smallest right store passes every case, under the test harness and in a report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod flawed;

use std::sync::Arc;

use flawed::{Flaw, Flawed};
use mocha_session_conformance::Outcome;
use mocha_session_core::store::SessionStore;

async fn open() -> Option<Flawed> {
    Some(Flawed::new(Flaw::None))
}

mocha_session_conformance::suite!(right, open);

// The same with a closure, and with stores behind a pointer.
mocha_session_conformance::suite!(right_and_expiring_by_itself, || async {
    Some(Arc::new(Flawed::new(Flaw::None).expiring_by_itself()) as Arc<dyn SessionStore>)
});

#[tokio::test(flavor = "multi_thread")]
async fn a_report_names_every_case() {
    let store = Arc::new(Flawed::new(Flaw::None).limited_to(1_000));
    let report = mocha_session_conformance::run(&store).await;
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.findings().len(), mocha_session_conformance::case_names().count());
    assert_eq!(report.outcome("largest_value_is_taken"), Some(&Outcome::Passed));
    let skipped: Vec<_> = report.skipped().map(|(name, _)| name).collect();
    assert_eq!(
        skipped,
        [
            "scan_without_listing_is_unsupported",
            "second_handle_sees_the_same_data",
            "handles_opened_at_once_all_work"
        ],
        "{report}"
    );
    assert!(store.is_empty(), "the suite left entries behind");
}
