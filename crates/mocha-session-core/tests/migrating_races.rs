//! Changing the engine while several processes, of one stage or of two, work on the same sessions
//! at once.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::redundant_closure_for_method_calls,
    reason = "tests: a handler is a closure"
)]

mod support;

use std::time::Duration;

use mocha_session_core::{
    HeaderChanges, LazySession, ManualClock, Migrating, Result, Session, SessionManager,
    SessionManagerBuilder,
};
use support::{Browser, Fault, ScriptedStore, finish_in_background, listed, logged_in};

/// So many orders of the store's calls are tried of each.
const ORDERS: u64 = 200;

/// Two engines, under processes of every stage of the way from one to the other.
struct Two {
    clock: ManualClock,
    old: ScriptedStore,
    new: ScriptedStore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Before,
    Prepare,
    New,
}
use Stage::{Before, New, Prepare};

/// Which stages are rolled out side by side.
const ROLLING: [[Stage; 2]; 3] = [[New, New], [Prepare, New], [Prepare, Prepare]];

impl Two {
    fn new() -> Self {
        let clock = ManualClock::new();
        Self { old: ScriptedStore::new(&clock), new: ScriptedStore::new(&clock), clock }
    }

    /// The calls of both engines come in another order for each seed.
    fn in_order(seed: u64) -> Self {
        fastrand::seed(seed);
        Self::new()
    }

    fn process(&self, stage: Stage) -> SessionManager {
        self.process_with(stage, |rules| rules)
    }

    fn process_with(
        &self,
        stage: Stage,
        rules: impl FnOnce(SessionManagerBuilder) -> SessionManagerBuilder,
    ) -> SessionManager {
        let (old, new) = (self.old.clone(), self.new.clone());
        let builder = match stage {
            Before => SessionManager::builder(old),
            Prepare => SessionManager::builder(Migrating::prepare(old, new)),
            New => SessionManager::builder(Migrating::new(old, new)),
        };
        rules(builder.clock(self.clock.clone())).build().unwrap()
    }

    fn alive(&self) -> usize {
        self.old.sessions() + self.new.sessions()
    }

    /// Lets every tombstone of the engine's processes expire.
    fn wait(&self) {
        self.clock.advance(Duration::from_secs(11 * 60));
    }

    async fn answer_all(
        &self,
        requests: Vec<(SessionManager, LazySession)>,
    ) -> Vec<Result<HeaderChanges>> {
        self.old.shuffle();
        self.new.shuffle();
        let tasks: Vec<_> = requests
            .into_iter()
            .map(|(manager, lazy)| finish_in_background(&manager, lazy))
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers
    }
}

async fn with_values(manager: &SessionManager) -> Browser {
    let mut browser = Browser::new();
    browser
        .request(manager, |session| {
            session.insert("a", 1).unwrap();
            session.insert("n", 0).unwrap();
        })
        .await;
    browser
}

/// A request that does this, to be answered.
async fn begun(
    two: &Two,
    stage: Stage,
    browser: &Browser,
    handler: impl FnOnce(&Session),
) -> (SessionManager, LazySession) {
    let manager = two.process(stage);
    let (lazy, session) = browser.start(&manager).await;
    handler(&session);
    (manager, lazy)
}

#[tokio::test(start_paused = true)]
async fn a_logout_beside_a_write_and_a_rotation_is_final_in_whichever_engine_the_session_is() {
    for stages in ROLLING {
        for seed in 0..ORDERS {
            let two = Two::in_order(seed);
            let mut browser = logged_in(&two.process(Before), "alice").await;
            let old = browser.clone();
            let requests = vec![
                begun(&two, stages[0], &browser, |session| session.insert("b", 2).unwrap()).await,
                begun(&two, stages[1], &browser, |session| session.rotate().unwrap()).await,
                begun(&two, stages[fastrand::usize(0..2)], &browser, |session| {
                    session.destroy().unwrap();
                })
                .await,
            ];
            let answers = two.answer_all(requests).await;
            browser.take(answers[1].as_ref().unwrap());
            assert!(answers[2].is_ok());
            for _ in 0..2 {
                assert_eq!(two.alive(), 0, "{stages:?} order {seed}");
                assert!(
                    !browser.is_live(&two.process(New)).await
                        && !old.is_live(&two.process(New)).await
                );
                two.wait();
            }
            assert_eq!(listed(&two.process(New), "alice").await, 0, "{stages:?} order {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_insert_beside_a_request_that_empties_the_session_lives() {
    for stages in ROLLING {
        for seed in 0..ORDERS {
            let two = Two::in_order(seed);
            let browser = with_values(&two.process(Before)).await;
            let requests = vec![
                begun(&two, stages[0], &browser, |session| session.insert("b", 2).unwrap()).await,
                begun(&two, stages[1], &browser, |session| {
                    session.remove("a").unwrap();
                    session.remove("n").unwrap();
                })
                .await,
            ];
            for answer in two.answer_all(requests).await {
                answer.unwrap();
            }
            two.wait();
            assert_eq!(
                browser.get::<u8>(&two.process(New), "b").await,
                Some(2),
                "{stages:?} order {seed}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_logins_of_a_user_in_processes_of_two_stages_are_listed_in_one_index() {
    for stages in ROLLING {
        for seed in 0..ORDERS {
            let two = Two::in_order(seed);
            let mut requests = Vec::new();
            for at in 0..3 {
                let login = |session: &Session| session.login("alice").unwrap();
                requests.push(begun(&two, stages[at % 2], &Browser::new(), login).await);
            }
            let mut browsers = Vec::new();
            for answer in two.answer_all(requests).await {
                let mut browser = Browser::new();
                browser.take(&answer.unwrap());
                browsers.push(browser);
            }
            for stage in stages {
                assert_eq!(
                    listed(&two.process(stage), "alice").await,
                    3,
                    "{stages:?} order {seed}"
                );
            }
            assert_eq!(two.process(stages[0]).revoke_all("alice").await.unwrap(), 3);
            assert_eq!(two.alive(), 0, "{stages:?} order {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flash_message_that_was_acknowledged_beside_a_mover_is_kept() {
    for stages in ROLLING {
        for seed in 0..ORDERS {
            let two = Two::in_order(seed);
            let browser = with_values(&two.process(Before)).await;
            let push = |session: &Session| assert!(session.flash().info("saved").is_ok());
            let mut requests = vec![begun(&two, stages[0], &browser, push).await];
            for n in 0..2 {
                requests.push(
                    begun(&two, stages[1], &browser, move |session| {
                        session.insert("b", n).unwrap();
                    })
                    .await,
                );
            }
            let mover = Migrating::new(two.old.clone(), two.new.clone());
            let moving = tokio::spawn(async move { mover.move_page(None, 10).await.map(drop) });
            for answer in two.answer_all(requests).await {
                answer.unwrap();
            }
            if stages.contains(&New) {
                moving.await.unwrap().unwrap();
            }
            two.wait();
            let (_, session) = browser.start(&two.process(New)).await;
            assert_eq!(session.flash().peek().len(), 1, "{stages:?} order {seed}");
            assert!(session.contains("b"), "{stages:?} order {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn prepare_and_new_side_by_side_lose_nothing_and_leave_nothing_alive() {
    for seed in 0..3 * ORDERS {
        let two = Two::in_order(seed);
        let begin = if fastrand::bool() { Before } else { New };
        let mut browser = logged_in(&two.process(begin), "alice").await;
        browser.request(&two.process(begin), |session| session.insert("n", 0)).await.unwrap();
        let (mut requests, mut writes) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let stage = if fastrand::bool() { Prepare } else { New };
            let end = fastrand::u8(0..8);
            writes.push(end > 1);
            let handler = |session: &Session| match end {
                0 => session.destroy().unwrap(),
                1 => session.rotate().unwrap(),
                _ => assert!(session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap() > 0),
            };
            requests.push(begun(&two, stage, &browser, handler).await);
        }
        let revoker = two.process(if fastrand::bool() { Prepare } else { New });
        let revoked = fastrand::u8(0..4) == 0;
        let revoking = tokio::spawn(async move {
            if revoked {
                revoker.revoke_all("alice").await.unwrap();
            }
        });
        let answers = two.answer_all(requests).await;
        revoking.await.unwrap();
        let ended = revoked || two.alive() == 0;
        for _ in 0..2 {
            let alive = two.alive();
            for stage in [Prepare, New] {
                assert_eq!(listed(&two.process(stage), "alice").await, alive, "order {seed}");
            }
            assert_eq!(alive, usize::from(!ended), "order {seed}");
            two.wait();
        }
        if !ended && writes.iter().all(|write| *write) {
            let written = browser.get::<u32>(&two.process(New), "n").await;
            assert_eq!(written, Some(4), "order {seed}: {answers:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_carry_that_a_deadline_or_its_process_end_cuts_short_brings_no_old_id_and_no_logout_back()
{
    type End = (&'static str, fn(&Session), usize);
    let ends: [End; 3] = [
        ("logout", |session| session.destroy().unwrap(), 0),
        ("rotate", |session| session.rotate().unwrap(), 1),
        ("login", |session| session.login("alice").unwrap(), 1),
    ];
    // Between its two writes, and between them and its end.
    for (in_new, operation) in [(true, "create"), (false, "delete")] {
        for dies in [false, true] {
            for (name, end, left) in ends {
                let two = Two::new();
                let mut browser = with_values(&two.process(Before)).await;
                let old = browser.clone();
                let limit = Duration::from_secs(2);
                let manager = two.process_with(New, |rules| rules.store_timeout(limit));
                let (lazy, session) = browser.start(&manager).await;
                session.insert("b", 2).unwrap();
                let store = if in_new { &two.new } else { &two.old };
                if dies {
                    let mut paused = store.pause(operation, 0);
                    let carrying = finish_in_background(&manager, lazy);
                    paused.arrived().await;
                    carrying.abort();
                    assert!(carrying.await.unwrap_err().is_cancelled());
                } else {
                    store.on(operation, 0, Fault::Hang);
                    manager.finish(&lazy, 200).await.into_result().unwrap();
                }
                // The freeze is where the write counted.
                assert_eq!(
                    browser.get::<u8>(&two.process(New), "b").await,
                    Some(2),
                    "{name} {operation}"
                );
                browser.request(&two.process(New), end).await;
                for _ in 0..3 {
                    let what = format!("{name} after {operation}, dies: {dies}");
                    assert!(!old.is_live(&two.process(New)).await, "{what}");
                    assert!(!old.is_live(&two.process(Prepare)).await, "{what}");
                    assert_eq!(two.alive(), left, "{what}");
                    two.clock.advance(Duration::from_secs(61));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_write_in_prepare_over_what_a_mover_froze_is_kept() {
    let two = Two::new();
    let mut browser = with_values(&two.process(Before)).await;
    let (lazy, session) = browser.start(&two.process(New)).await;
    session.insert("b", 2).unwrap();
    two.new.on("create", 0, Fault::Fail(mocha_session_core::ErrorKind::Unavailable));
    two.process(New).finish(&lazy, 200).await.into_result().unwrap();
    browser.request(&two.process(Prepare), |session| session.insert("c", 3)).await.unwrap();
    for stage in [Prepare, New] {
        let (_, session) = browser.start(&two.process(stage)).await;
        assert_eq!(session.get::<u8>("b").unwrap(), Some(2), "{stage:?}");
        assert_eq!(session.get::<u8>("c").unwrap(), Some(3), "{stage:?}");
    }
}
