//! A browser as a test uses it: Chromium, through its driver.

use std::path::PathBuf;
use std::time::Duration;

use fantoccini::cookies::Cookie;
use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::front::{Front, OTHER, PHONE, SHOP};

/// The session's cookie.
pub const COOKIE: &str = "__Host-session";

/// One browser with a profile of its own.
#[derive(Clone, Debug)]
pub struct Browser {
    client: Client,
    profile: PathBuf,
}

impl Browser {
    pub(crate) async fn start(driver: &str, profile: PathBuf, front: &Front) -> Self {
        let sites = [SHOP, PHONE, OTHER].map(|site| format!("MAP {site}:443 {}", front.address));
        let args = [
            "--headless=new".to_owned(),
            // In a container its own sandbox cannot be made. It visits no page but ours.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-software-rasterizer".to_owned(),
            format!("--user-data-dir={}", profile.display()),
            format!("--host-resolver-rules={}", sites.join(", ")),
        ];
        let wanted = json!({
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": args },
        });
        let wanted: Capabilities = serde_json::from_value(wanted).unwrap();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(wanted).connect(driver).await.unwrap();
        Self { client, profile }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.profile == other.profile
    }

    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }

    /// Opens a page of the application, as if its address were typed.
    pub async fn visit(&self, path: &str) {
        self.visit_site(SHOP, path).await;
    }

    /// Opens a page of a site.
    pub async fn visit_site(&self, site: &str, path: &str) {
        self.client.goto(&format!("https://{site}{path}")).await.unwrap();
    }

    pub async fn reload(&self) {
        self.client.refresh().await.unwrap();
    }

    pub async fn back(&self) {
        self.client.back().await.unwrap();
    }

    /// The path of the page.
    pub async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// Clicks what a CSS selector finds, and waits for the page that follows. The driver returns
    /// before the old page is left, so the old page is marked.
    pub async fn click(&self, css: &str) {
        self.run("window.isOld = true", Vec::new()).await;
        self.tick(css).await;
        let arrived = "return window.isOld === undefined && document.readyState === 'complete'";
        for _ in 0..200 {
            // A script that a page's end interrupts is an error.
            if self.client.execute(arrived, Vec::new()).await.is_ok_and(|it| it == json!(true)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no page followed the click on {css}");
    }

    /// Clicks what leads to no other page.
    async fn tick(&self, css: &str) {
        self.client.find(Locator::Css(css)).await.unwrap().click().await.unwrap();
    }

    /// Types into a field of a form.
    pub async fn fill(&self, name: &str, text: &str) {
        let field = format!("input[name={name}]");
        let field = self.client.find(Locator::Css(&field)).await.unwrap();
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Logs in by the form of the home page.
    pub async fn login(&self, user: &str, remember: bool) {
        self.login_at(SHOP, user, remember).await;
    }

    /// Logs in at a site.
    pub async fn login_at(&self, site: &str, user: &str, remember: bool) {
        self.visit_site(site, "/").await;
        self.fill("user", user).await;
        if remember {
            self.tick("input[name=remember]").await;
        }
        self.click("form[action='/login'] button").await;
        assert_eq!((self.path().await, self.user().await), ("/".into(), Some(user.into())));
    }

    pub async fn logout(&self) {
        self.click("form[action='/logout'] button").await;
    }

    /// The user that the page greets.
    pub async fn user(&self) -> Option<String> {
        self.texts("form[action='/logout'] span").await.pop()
    }

    /// The flash messages that the page shows.
    pub async fn messages(&self) -> Vec<String> {
        self.texts(".messages li").await
    }

    /// The text of each element that a CSS selector finds.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let texts = "return [...document.querySelectorAll(arguments[0])].map(it => it.innerText)";
        serde_json::from_value(self.run(texts, vec![css.into()]).await).unwrap()
    }

    /// The text of the page.
    pub async fn text(&self) -> String {
        self.texts("body").await.concat()
    }

    /// Runs a script in the page.
    pub async fn run(&self, script: &str, args: Vec<Value>) -> Value {
        self.client.execute(script, args).await.unwrap()
    }

    /// Runs a script that awaits, and returns what it returns.
    pub async fn run_async(&self, script: &str, args: Vec<Value>) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; const args = arguments;\
             (async () => {{ {script} }})().then(done)"
        );
        self.client.execute_async(&script, args).await.unwrap()
    }

    /// The cookie of the session, if there is one.
    pub async fn cookie(&self) -> Option<Cookie<'static>> {
        let cookies = self.client.get_all_cookies().await.unwrap();
        cookies.into_iter().find(|cookie| cookie.name() == COOKIE)
    }

    /// Opens another tab and returns the one that was open.
    pub async fn new_tab(&self) -> WindowHandle {
        let old = self.client.window().await.unwrap();
        let new = self.client.new_window(true).await.unwrap();
        self.switch_to(new.handle).await;
        old
    }

    pub async fn switch_to(&self, tab: WindowHandle) {
        self.client.switch_to_window(tab).await.unwrap();
    }

    /// Waits until a script of the page returns true.
    pub async fn wait_until(&self, script: &str) {
        for _ in 0..200 {
            if self.run(script, Vec::new()).await == json!(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it did not become true: {script}");
    }
}
