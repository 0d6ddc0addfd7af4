//! What every engine must do, without a framework: the promises, one by one. One function, one
//! situation.

use std::time::{Duration, Instant};

use mocha_session::core::Session;
use mocha_session::{Level, RequestInfo, SessionManager};

use crate::engines::Engine;

/// A request: the handler, then a response of 200; the cookie pair that the client holds
/// afterwards.
async fn request<T>(
    manager: &SessionManager,
    cookie: &mut String,
    handler: impl FnOnce(&Session) -> T,
) -> T {
    let lazy = manager.open(RequestInfo::new(cookie.clone()));
    let session = lazy.load().await.unwrap();
    let answer = handler(&session);
    let headers = manager.finish(&lazy, 200).await.into_result().unwrap();
    if let Some(line) = headers.set_cookie() {
        let pair = line.split(';').next().unwrap().to_owned();
        *cookie = if line.contains("Max-Age=0") { String::new() } else { pair };
    }
    answer
}

async fn is_live(manager: &SessionManager, cookie: &str) -> bool {
    manager.open(RequestInfo::new(cookie.to_owned())).load_existing().await.unwrap().is_some()
}

/// A user that no other test has.
fn somebody() -> String {
    use std::time::{SystemTime, UNIX_EPOCH};
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let thread = std::thread::current().id();
    format!("user-{nanos}-{thread:?}-{}", std::process::id())
}

/// Two processes change different keys of one session at once: both are kept.
pub async fn no_lost_update(engine: Engine) {
    let (one, two) = (engine.manager().await, engine.manager().await);
    let mut cookie = one.seed(|session| session.insert("a", 1)).await.unwrap();
    let (first, second) =
        (one.open(RequestInfo::new(cookie.clone())), two.open(RequestInfo::new(cookie.clone())));
    let (session_1, session_2) = (first.load().await.unwrap(), second.load().await.unwrap());
    session_1.insert("x", 1).unwrap();
    session_2.insert("y", 2).unwrap();
    one.finish(&first, 200).await.into_result().unwrap();
    two.finish(&second, 200).await.into_result().unwrap();
    let keys = request(&one, &mut cookie, |session| session.keys()).await;
    assert_eq!(keys, ["a", "x", "y"]);
}

/// 64 tasks of four processes count in one session: the sum is exact.
pub async fn counters_are_exact(engine: Engine) {
    let mut managers = Vec::new();
    // The last of sixteen writers waits for fifteen others: on a busy machine, longer than a call.
    let patient = Duration::from_secs(30);
    for _ in 0..4 {
        managers.push(engine.manager_with(|rules| rules.store_timeout(patient)).await);
    }
    let mut cookie = managers[0].seed(|session| session.insert("n", 0)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let (manager, mut cookie) = (managers[task % 4].clone(), cookie.clone());
        tasks.spawn(async move {
            request(&manager, &mut cookie, |session| {
                session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap()
            })
            .await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(
        request(&managers[0], &mut cookie, |session| session.get::<u32>("n").unwrap()).await,
        Some(64)
    );
}

/// A request in flight cannot bring a session back that another process destroyed.
pub async fn logout_is_final(engine: Engine) {
    let (one, two) = (engine.manager().await, engine.manager().await);
    let cookie = one.seed(|session| session.login(somebody())).await.unwrap();
    let slow = one.open(RequestInfo::new(cookie.clone()));
    slow.load().await.unwrap().insert("late", true).unwrap();
    request(&two, &mut cookie.clone(), |session| session.destroy().unwrap()).await;
    assert_eq!(one.finish(&slow, 200).await.into_result().unwrap().set_cookie(), None);
    assert!(!is_live(&one, &cookie).await && !is_live(&two, &cookie).await);
}

/// A rotation: the new id loads, the old one doesn't; a logout with the old id follows it.
pub async fn rotation(engine: Engine) {
    let manager = engine.manager().await;
    let mut cookie = manager.seed(|session| session.insert("a", 1)).await.unwrap();
    let old = cookie.clone();
    let logout = manager.open(RequestInfo::new(old.clone()));
    logout.load().await.unwrap().destroy().unwrap();
    request(&manager, &mut cookie, |session| session.rotate().unwrap()).await;
    assert_ne!(cookie, old);
    assert!(is_live(&manager, &cookie).await && !is_live(&manager, &old).await);
    manager.finish(&logout, 200).await.into_result().unwrap();
    assert!(!is_live(&manager, &cookie).await);
}

/// Log out everywhere: one owner's sessions go, another's stay; the list is clean after a logout.
pub async fn owners(engine: Engine) {
    let manager = engine.manager().await;
    let (alice, bob) = (somebody(), somebody() + "b");
    let mut first = manager.seed(|session| session.login(&alice)).await.unwrap();
    let second = manager
        .seed(|session| session.set_label("phone").and_then(|()| session.login(&alice)))
        .await
        .unwrap();
    let other = manager.seed(|session| session.login(&bob)).await.unwrap();
    let labels: Vec<_> = manager
        .sessions_of(&alice)
        .await
        .unwrap()
        .iter()
        .map(|s| s.label().map(str::to_owned))
        .collect();
    assert!(labels.len() == 2 && labels.contains(&Some("phone".into())), "{labels:?}");
    request(&manager, &mut first, |session| session.rotate().unwrap()).await;
    assert_eq!(manager.sessions_of(&alice).await.unwrap().len(), 2, "a rotation keeps the entry");
    let third = manager.seed(|session| session.login(&alice)).await.unwrap();
    request(&manager, &mut third.clone(), |session| session.destroy().unwrap()).await;
    assert_eq!(manager.sessions_of(&alice).await.unwrap().len(), 2, "a logout removes it");
    assert_eq!(manager.revoke_all(&alice).await.unwrap(), 2);
    assert!(
        !is_live(&manager, &first).await
            && !is_live(&manager, &second).await
            && is_live(&manager, &other).await
    );
    assert!(manager.sessions_of(&alice).await.unwrap().is_empty());
    manager.revoke_all(&bob).await.unwrap();
}

/// Two tabs claim a message at once: one gets it. What is pushed meanwhile is not lost.
pub async fn flash_is_claimed_once(engine: Engine) {
    let manager = engine.manager().await;
    let mut cookie = manager.seed(|session| session.flash().info("once").map(drop)).await.unwrap();
    let mut tabs = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let lazy = manager.open(RequestInfo::new(cookie.clone()));
        let session = lazy.load().await.unwrap();
        tabs.spawn(async move { session.flash().claim().await.unwrap().len() });
    }
    request(&manager, &mut cookie, |session| {
        session.flash().push(mocha_session::Message::new(Level::Info, "two")).map(drop)
    })
    .await
    .unwrap();
    let mut claimed = 0;
    while let Some(got) = tabs.join_next().await {
        claimed += got.unwrap();
    }
    let left = request(&manager, &mut cookie, |session| session.flash().messages()).await;
    assert!(
        left.iter().any(|message| message.text() == "two") || claimed == 2,
        "{claimed} {left:?}"
    );
    assert_eq!(claimed + left.len(), 2, "each message was seen exactly once");
}

/// Whoever copies the store learns nothing: no id, no value, no owner, no message.
pub async fn a_stolen_store_is_useless(engine: Engine) {
    let storage = engine.open().await;
    if !storage.capabilities().listing() {
        return; // nothing can be listed, so nothing can be looked through from here
    }
    let manager = engine.manager().await;
    let (owner, secret) = (somebody(), "hunter2-in-the-clear");
    let cookie = manager
        .seed(|session| {
            session.insert("password", secret)?;
            session.flash().info(secret)?;
            session.set_label(secret)?;
            session.login(&owner)
        })
        .await
        .unwrap();
    let id = &cookie.split('=').nth(1).unwrap()[..43];
    let store = storage.store().unwrap();
    let (mut cursor, mut seen) = (None, 0);
    loop {
        let page = store.scan(cursor, 100).await.unwrap();
        for (key, stored) in page.entries() {
            seen += 1;
            let text = [key.to_string().as_bytes(), stored.value()].concat();
            for leak in [secret.as_bytes(), owner.as_bytes(), id.as_bytes(), b"password"] {
                assert!(
                    !text.windows(leak.len()).any(|window| window == leak),
                    "the store holds {leak:?}"
                );
            }
        }
        match page.next() {
            Some(next) => cursor = Some(next.clone()),
            None => break,
        }
    }
    assert!(seen >= 2, "the session and its owner's index are among them");
    manager.revoke_all(&owner).await.unwrap();
}

/// Two processes open the same fresh engine, and a manager's health check passes.
pub async fn two_processes(engine: Engine) {
    let (one, two) = tokio::join!(engine.manager(), engine.manager());
    one.ping().await.unwrap();
    two.ping().await.unwrap();
    let cookie = one.seed(|session| session.insert("a", 1)).await.unwrap();
    assert!(is_live(&two, &cookie).await);
}

/// A short lifetime ends on time by the engine's own clock as well as by ours.
pub async fn expiry(engine: Engine) {
    let lifetime = Duration::from_secs(2);
    let manager = engine.manager_with(|builder| builder.idle_timeout(lifetime)).await;
    let begun = Instant::now();
    let cookie = manager.seed(|session| session.insert("a", 1)).await.unwrap();
    let live = is_live(&manager, &cookie).await;
    // On a busy machine the question may come too late.
    assert!(live || begun.elapsed() >= lifetime);
    tokio::time::sleep(lifetime + Duration::from_millis(500)).await;
    assert!(!is_live(&manager, &cookie).await);
    manager.sweep().await.unwrap();
}

/// Every situation, on one engine.
#[macro_export]
macro_rules! session_cases {
    ($open:path) => {
        $crate::session_cases!(@ $open, no_lost_update counters_are_exact logout_is_final rotation owners
            flash_is_claimed_once a_stolen_store_is_useless two_processes expiry);
    };
    (@ $open:path, $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                if let Some(engine) = $open().await {
                    $crate::sessions::$case(engine).await;
                }
            }
        )*
    };
}
