//! Reads from a process' memory, of which the server reports the changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Server, eventually, server};
use mocha_session_conformance::Proxy;
use mocha_session_core::{
    HeaderChanges, LazySession, NearPolicy, Registry, RequestInfo, SessionManager, Storage,
};
use mocha_session_redis::{DRIVER, RedisStore, redis};

/// A process that may read what it read an hour ago.
async fn process(url: &str) -> SessionManager {
    let url = format!("{url}?near=1h");
    let storage = Registry::new().register(DRIVER).open(&url).await.unwrap();
    SessionManager::new(storage).unwrap()
}

struct Browser(String);

impl Browser {
    async fn logged_in(manager: &SessionManager) -> Self {
        let lazy = manager.open(RequestInfo::new(String::new()));
        lazy.load().await.unwrap().login("ann").unwrap();
        let headers = manager.finish(&lazy, 200).await.into_result().unwrap();
        Self(cookie(&headers).unwrap())
    }

    fn open(&self, manager: &SessionManager) -> LazySession {
        manager.open(RequestInfo::new(self.0.clone()))
    }

    async fn is_live(&self, manager: &SessionManager) -> bool {
        self.open(manager).load_existing().await.is_ok_and(|session| session.is_some())
    }

    /// The first read opens a connection with reports, so only the second is kept.
    async fn is_in_memory_of(&self, manager: &SessionManager) {
        assert!(self.is_live(manager).await && self.is_live(manager).await);
    }

    async fn log_out(&self, manager: &SessionManager) {
        let lazy = self.open(manager);
        lazy.load().await.unwrap().destroy().unwrap();
        manager.finish(&lazy, 200).await.into_result().unwrap();
    }
}

fn cookie(headers: &HeaderChanges) -> Option<String> {
    Some(headers.set_cookie()?.split(';').next()?.to_owned())
}

async fn ends(browser: &Browser, manager: &SessionManager) {
    eventually("the logout is known", async || (!browser.is_live(manager).await).then_some(()))
        .await;
}

/// How many times the server was asked for a session.
async fn reads(server: &Server) -> u64 {
    server.calls("get").await
}

#[tokio::test]
async fn a_logout_in_another_process_is_known_when_the_server_reports_it() {
    let server = server!();
    let (one, two) = (process(&server.url()).await, process(&server.url()).await);
    let browser = Browser::logged_in(&one).await;
    browser.is_in_memory_of(&two).await;
    let before = reads(&server).await;
    for _ in 0..5 {
        assert!(browser.is_live(&two).await);
    }
    assert_eq!(reads(&server).await, before, "read from memory");
    browser.log_out(&one).await;
    ends(&browser, &two).await;
    // What somebody else removes is reported as well.
    let browser = Browser::logged_in(&one).await;
    browser.is_in_memory_of(&two).await;
    server.run::<()>("FLUSHALL").await;
    ends(&browser, &two).await;
}

#[tokio::test]
async fn a_store_over_a_client_of_ones_own_reports_too_though_it_was_used_before() {
    let server = server!();
    let client = redis::Client::open(server.url()).unwrap();
    let space = mocha_session_core::store::KeySpace::new("session:").unwrap();
    // The connection is opened before a cache watches.
    let store = RedisStore::new(client, space).detect().await;
    let storage = Storage::from(store).near(NearPolicy::within(Duration::from_secs(3_600)));
    let (one, two) = (process(&server.url()).await, SessionManager::new(storage).unwrap());
    let browser = Browser::logged_in(&one).await;
    browser.is_in_memory_of(&two).await;
    browser.log_out(&one).await;
    ends(&browser, &two).await;
}

#[tokio::test]
async fn a_lost_connection_empties_the_memory() {
    let server = server!();
    let proxy = Proxy::to(server.address()).await.unwrap();
    let near = process(&format!("redis://{}", proxy.address())).await;
    let elsewhere = process(&server.url()).await;
    let browser = Browser::logged_in(&elsewhere).await;
    browser.is_in_memory_of(&near).await;
    proxy.down();
    // Without a connection the logout is not reported.
    browser.log_out(&elsewhere).await;
    proxy.pass();
    ends(&browser, &near).await;
}

#[tokio::test]
async fn where_the_server_may_not_report_reads_expire_by_time() {
    let server = server!();
    server
        .run::<()>(
            "ACL SETUSER lean on >pw ~session:* resetchannels -@all +get +set +getrange \
             +setrange +evalsha +eval +unlink +ping",
        )
        .await;
    let url = server.url().replace("://", "://lean:pw@") + "?near=300ms";
    let storage = Registry::new().register(DRIVER).open(&url).await.unwrap();
    let (one, two) = (process(&server.url()).await, SessionManager::new(storage).unwrap());
    let browser = Browser::logged_in(&one).await;
    browser.is_in_memory_of(&two).await;
    browser.log_out(&one).await;
    ends(&browser, &two).await;
}
