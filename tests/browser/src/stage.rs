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
    /// means a file), with the cookie of TLS or that of plain HTTP.
    ///
    /// The browsers are closed however the test ends. Nothing runs where there is no browser, which
    /// is an error in CI.
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

/// Every situation and the scenario as tests of one application, the scenario on three engines.
#[macro_export]
macro_rules! show {
    ($program:literal) => {
        const PROGRAM: &str = env!(concat!("CARGO_BIN_EXE_", $program));

        $crate::show! { @ Some("memory:".to_owned()), Host, situations:
            the_host_cookie_is_kept_and_sent
            the_cookie_has_its_attributes
            a_form_redirects_to_a_page_that_shows_the_message
            a_reload_shows_the_message_no_second_time
            prefetch_and_prerender_eat_nothing
            two_tabs_are_one_session
            back_after_a_logout_shows_no_private_page
            the_form_of_another_site_is_refused
            the_remember_me_box_decides_whether_a_login_outlives_the_browser
            a_cookie_with_another_path_is_not_taken
        }
        $crate::show! { @ Some("memory:".to_owned()), Plain, situations:
            a_cookie_with_another_path_does_not_lock_the_user_out
        }

        mod memory {
            use super::PROGRAM;
            $crate::show! { @ Some("memory:".to_owned()), Host, scenario: the_eight_pages }
        }

        mod sqlite {
            use super::PROGRAM;
            $crate::show! { @ Some("sqlite:".to_owned()), Host, scenario: the_eight_pages }
        }

        mod redis {
            use super::PROGRAM;
            use mocha_session_conformance::engine_url;
            $crate::show! { @ engine_url("MOCHA_TEST_REDIS_URL"), Host, scenario: the_eight_pages }
        }
    };
    (@ $engine:expr, $cookie:ident, $module:ident: $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let Some(engine): Option<String> = $engine else { return };
                let test = async |stage: &_| $crate::$module::$case(stage).await;
                let cookie = $crate::stage::Cookie::$cookie;
                $crate::stage::Stage::play(PROGRAM, &engine, cookie, test).await;
            }
        )*
    };
}
