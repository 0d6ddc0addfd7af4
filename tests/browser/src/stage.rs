//! An application as a process of its own, the TLS in front of it, and the browsers of a test.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::process::Stdio;

use futures_util::FutureExt as _;
use mocha_session_conformance::engine_url;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::browser::Browser;
use crate::front::Front;

/// Which cookie the application sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// `__Host-session`.
    Host,
    /// `session`.
    Plain,
}

/// What a test runs on.
#[derive(Debug)]
pub struct Stage {
    pub front: Front,
    driver: String,
    /// Ends when it is dropped.
    _application: Child,
    /// Its profiles and its database.
    folder: TempDir,
    browsers: Mutex<Vec<Browser>>,
}

impl Stage {
    /// Runs a test with the program of an application, on the engine that a URL names (`sqlite:`
    /// means a file), with the cookie of TLS or that of plain HTTP. The browsers are closed however the test ends. Nothing runs where there is no
    /// browser, which is an error in CI.
    pub async fn play(program: &str, engine: &str, cookie: Cookie, test: impl AsyncFnOnce(&Self)) {
        let Some(driver) = engine_url("MOCHA_TEST_WEBDRIVER_URL") else { return };
        let folder = tempfile::tempdir().unwrap();
        let engine = match engine {
            "sqlite:" => format!("sqlite:///{}", folder.path().join("sessions.db").display()),
            url => url.to_owned(),
        };
        let mut application = Command::new(program);
        application.envs([("SESSION_URL", engine.as_str()), ("PORT", "0")]);
        if cookie == Cookie::Host {
            application.env("TLS", "1");
        }
        application.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut application = application.spawn().unwrap();
        let mut lines = BufReader::new(application.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("it listens before it ends");
            if let Some(address) = line.strip_prefix("Listening on http://") {
                break address.parse().unwrap();
            }
        };
        let Some(front) = Front::of(address).await else { return };
        let browsers = Mutex::default();
        let stage = Self { front, driver, _application: application, folder, browsers };
        let ended = AssertUnwindSafe(test(&stage)).catch_unwind().await;
        for browser in stage.browsers.lock().await.drain(..) {
            browser.close().await;
        }
        ended.unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// A browser with this profile: what one that was closed has kept, the next one has.
    pub async fn browser(&self, profile: &str) -> Browser {
        let browser = Browser::start(&self.driver, self.profile(profile), &self.front).await;
        self.browsers.lock().await.push(browser.clone());
        browser
    }

    /// Closes a browser, as its user would.
    pub async fn close(&self, browser: Browser) {
        self.browsers.lock().await.retain(|open| !open.is(&browser));
        browser.close().await;
    }

    fn profile(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Runs functions of a module as tests of one application.
#[macro_export]
macro_rules! on_stage {
    ($program:literal, $engine:expr, $cookie:ident, $module:ident: $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let Some(engine): Option<String> = $engine else { return };
                let program = env!(concat!("CARGO_BIN_EXE_", $program));
                let test = async |stage: &_| $crate::$module::$case(stage).await;
                $crate::stage::Stage::play(program, &engine, $crate::stage::Cookie::$cookie, test).await;
            }
        )*
    };
}
