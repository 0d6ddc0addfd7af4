//! Records under the ids of another session layer: sealed, scoped, compared and set, ended for
//! good.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::{Duration, SystemTime};

use mocha_session_core::{
    Clock, ErrorKind, Kept, Records, Secrets, SessionManager, SessionManagerBuilder, Storage,
};
use support::{App, Browser, Fault};

const ID: &[u8] = b"hunter2-the-id-of-another-layer";
const OLD: &[u8] = b"hunter2-the-old-payload";
const NEW: &[u8] = b"hunter2-the-new-payload";

fn records(app: &App) -> Records {
    records_with(app, |builder| builder)
}

fn records_with(
    app: &App,
    rules: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
) -> Records {
    let builder = SessionManager::builder(app.store.clone()).clock(app.clock.clone());
    rules(builder.scope("their-layer")).records().unwrap()
}

fn hour(app: &App) -> SystemTime {
    app.clock.now() + Duration::from_secs(3600)
}

/// A record, live for an hour.
async fn one(app: &App) -> Records {
    let records = records(app);
    assert!(records.create(ID, OLD, hour(app)).await.unwrap());
    records
}

async fn payload(records: &Records) -> Option<Vec<u8>> {
    match records.load(ID).await.unwrap() {
        Kept::Live(payload) => Some(payload.to_vec()),
        _ => None,
    }
}

#[tokio::test]
async fn the_store_sees_neither_the_id_nor_the_payload() {
    let app = App::new();
    let records = one(&app).await;
    assert_eq!(payload(&records).await.unwrap(), OLD);
    let hidden = |text: &[u8]| !text.windows(7).any(|window| window == b"hunter2");
    assert!(hidden(&app.store.dump()));
    assert!(hidden(format!("{records:?} {:?}", records.load(b"other").await).as_bytes()));
    // The bytes are bound to their id: under another one's key they do not open.
    assert!(matches!(records.load(b"another id").await.unwrap(), Kept::Nothing));
}

#[tokio::test]
async fn create_never_overwrites_what_is_live_or_was_just_ended() {
    let app = App::new();
    let records = one(&app).await;
    assert!(!records.create(ID, NEW, hour(&app)).await.unwrap());
    assert_eq!(payload(&records).await.unwrap(), OLD);
    records.end(ID).await.unwrap();
    assert!(!records.create(ID, NEW, hour(&app)).await.unwrap());
    assert!(matches!(records.load(ID).await.unwrap(), Kept::Ended));
}

#[tokio::test]
async fn what_was_ended_or_expired_is_never_written_back() {
    let app = App::new();
    let records = one(&app).await;
    records.end(ID).await.unwrap();
    records.end(ID).await.unwrap();
    assert!(matches!(records.replace(ID, NEW, hour(&app)).await.unwrap(), Kept::Ended));
    assert!(matches!(records.extend(ID, hour(&app)).await.unwrap(), Kept::Ended));
    app.clock.advance(Duration::from_secs(61));
    assert!(matches!(records.replace(ID, NEW, hour(&app)).await.unwrap(), Kept::Nothing));
    assert_eq!(app.store.len(), 0);

    app.store.keep_expired();
    let records = one(&app).await;
    app.clock.advance(Duration::from_secs(3601));
    assert!(matches!(records.replace(ID, NEW, hour(&app)).await.unwrap(), Kept::Nothing));
    assert!(matches!(records.load(ID).await.unwrap(), Kept::Nothing));
    assert!(records.create(ID, NEW, hour(&app)).await.unwrap(), "what expired is not in the way");
}

#[tokio::test]
async fn an_extension_keeps_what_another_process_wrote_meanwhile() {
    let app = App::new();
    let mine = one(&app).await;
    let theirs = records(&app);
    let mut paused = app.store.pause("update", 0);
    let until = hour(&app) + Duration::from_secs(3600);
    let extension = tokio::spawn(async move { mine.extend(ID, until).await });
    paused.arrived().await;
    assert!(matches!(theirs.replace(ID, NEW, hour(&app)).await.unwrap(), Kept::Live(())));
    paused.release();
    assert!(matches!(extension.await.unwrap().unwrap(), Kept::Live(())));
    assert_eq!(payload(&theirs).await.unwrap(), NEW);
    app.clock.advance(Duration::from_secs(5400));
    assert_eq!(payload(&theirs).await.unwrap(), NEW);
}

#[tokio::test]
async fn an_end_stops_a_write_that_had_read_the_record_before() {
    let app = App::new();
    let mine = one(&app).await;
    let theirs = records(&app);
    let mut paused = app.store.pause("update", 0);
    let until = hour(&app);
    let write = tokio::spawn(async move { mine.replace(ID, NEW, until).await });
    paused.arrived().await;
    theirs.end(ID).await.unwrap();
    paused.release();
    assert!(matches!(write.await.unwrap().unwrap(), Kept::Ended));
    assert_eq!(app.store.sessions(), 0);
}

#[tokio::test]
async fn writers_of_one_process_take_turns() {
    let app = App::new();
    let records = one(&app).await;
    app.store.reset_calls();
    let writers: Vec<_> = (0..20_u8)
        .map(|n| {
            let (records, until) = (records.clone(), hour(&app));
            tokio::spawn(async move { records.replace(ID, &[n], until).await })
        })
        .collect();
    for writer in writers {
        assert!(matches!(writer.await.unwrap().unwrap(), Kept::Live(())));
    }
    assert_eq!(app.store.calls().writes(), 20);
}

#[tokio::test]
async fn a_lost_answer_is_cleared_up() {
    for (operation, times) in [("create", 1), ("update", 1), ("update", 2)] {
        let app = App::new();
        let records = records(&app);
        for _ in 0..times {
            app.store.on(operation, 0, Fault::LoseAnswer);
        }
        assert!(records.create(ID, OLD, hour(&app)).await.unwrap());
        assert!(matches!(records.replace(ID, NEW, hour(&app)).await.unwrap(), Kept::Live(())));
        assert_eq!(payload(&records).await.unwrap(), NEW);
        app.store.on("update", 0, Fault::LoseAnswer);
        records.end(ID).await.unwrap();
        assert!(matches!(records.load(ID).await.unwrap(), Kept::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_or_is_down_is_an_error_within_the_deadline() {
    let app = App::new();
    let records = records_with(&app, |builder| builder.store_timeout(Duration::from_millis(50)));
    app.store.on("load", 0, Fault::Hang);
    let error = records.load(ID).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().starts_with("scripted: load: "), "{error}");
    for operation in ["load", "create"] {
        app.store.fail(operation, 1, ErrorKind::Unavailable);
        let error = match operation {
            "load" => records.replace(ID, NEW, hour(&app)).await.unwrap_err(),
            _ => records.create(ID, NEW, hour(&app)).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "unknown is not absent");
    }
}

#[tokio::test]
async fn a_damaged_record_is_told_apart_and_can_be_ended() {
    for damage in [(|value: &mut Vec<u8>| value.truncate(10)) as fn(&mut Vec<u8>), |value| {
        *value.last_mut().unwrap() ^= 1;
    }] {
        let app = App::new();
        let records = one(&app).await;
        app.store.tamper(damage);
        assert!(
            matches!(records.load(ID).await.unwrap(), Kept::Damaged(error) if error.is_corrupt())
        );
        assert!(matches!(records.replace(ID, NEW, hour(&app)).await.unwrap(), Kept::Damaged(_)));
        records.end(ID).await.unwrap();
        assert!(!matches!(records.load(ID).await.unwrap(), Kept::Live(_) | Kept::Damaged(_)));
    }
}

#[tokio::test]
async fn a_record_of_another_version_or_another_mode_is_an_error_and_stays() {
    let app = App::new();
    let records = one(&app).await;
    app.store.tamper(|value| value[1] = 2);
    assert!(records.load(ID).await.unwrap_err().is_corrupt());
    assert!(records.replace(ID, NEW, hour(&app)).await.unwrap_err().is_corrupt());
    assert!(records.end(ID).await.unwrap_err().is_corrupt());
    app.store.tamper(|value| value[1] = 1);
    assert_eq!(payload(&records).await.unwrap(), OLD);

    let app = App::new();
    let plain = records_with(&app, SessionManagerBuilder::dangerously_unsealed);
    assert!(plain.create(ID, OLD, hour(&app)).await.unwrap());
    assert!(app.store.dump().windows(7).any(|window| window == b"hunter2"));
    assert!(self::records(&app).load(ID).await.unwrap_err().is_corrupt());
}

#[tokio::test]
async fn scopes_and_sessions_do_not_meet() {
    let app = App::new();
    let records = one(&app).await;
    let other = records_with(&app, |builder| builder.scope("another-layer"));
    assert!(matches!(other.load(ID).await.unwrap(), Kept::Nothing));

    // A session's own id, under a manager of the same scope.
    let manager = app.process_with(|builder| builder.scope("their-layer"));
    let mut browser = Browser::new();
    browser.request(&manager, |session| session.insert("a", 1)).await.unwrap();
    let header = browser.header();
    let id = header.split('=').nth(1).unwrap();
    assert!(matches!(records.load(id.as_bytes()).await.unwrap(), Kept::Nothing));
    records.end(id.as_bytes()).await.unwrap();
    assert!(browser.is_live(&manager).await);
}

#[tokio::test]
async fn limits_and_requirements_are_the_builders() {
    let app = App::new();
    let records = records_with(&app, |builder| builder.max_record_bytes(1024));
    let error = records.create(ID, &[0; 1024], hour(&app)).await.unwrap_err();
    assert!(error.is_too_large());
    assert!(records.create(ID, OLD, hour(&app)).await.unwrap());
    assert!(records.replace(ID, &[0; 1024], hour(&app)).await.unwrap_err().is_too_large());
    assert_eq!(payload(&records).await.unwrap(), OLD);

    let secret = Secrets::generate().unwrap();
    for storage in [Storage::client_side(), Storage::client_side().with_secrets(secret)] {
        let error = SessionManager::builder(storage).records().unwrap_err();
        assert!(error.is_invalid_config() && error.to_string().contains("SESSION_URL"), "{error}");
    }
}

#[tokio::test]
async fn a_full_engine_still_ends_records() {
    let app = App::new();
    let records = one(&app).await;
    app.store.fail("update", 5, ErrorKind::Full);
    records.end(ID).await.unwrap();
    assert_eq!(payload(&records).await, None);
}

#[tokio::test]
async fn a_sweep_removes_what_expired() {
    let app = App::new();
    app.store.keep_expired();
    let records = one(&app).await;
    app.clock.advance(Duration::from_secs(7200));
    assert_eq!(records.sweep().await.unwrap().removed(), 1);
    assert_eq!(records.capabilities().engine(), "scripted");
}
