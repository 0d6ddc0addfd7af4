//! The account page's use of its session, for every framework.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use minijinja::{Environment, Value, context};
use mocha_session::core::Session;
use mocha_session::{
    CookiePolicy, Durability, Key, Level, Result, Secrets, SessionManager, open_from_env,
};
use serde::{Deserialize, Serialize};

/// Names of values with their types: a typo or a wrong type does not compile.
const VISITS: Key<u64> = Key::new("visits");
const ACCOUNT: Key<Account> = Key::new("account");

/// The idle timeout of "keep me logged in".
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The message for engines that cannot list a user's sessions.
const NO_DEVICES: &str = "This engine cannot list your devices. Log out on each of them.";

/// The form of `/account`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    name: String,
    email: String,
}

impl From<Account> for Value {
    fn from(Account { name, email }: Account) -> Self {
        context! { name, email }
    }
}

/// The form of `/login`.
#[derive(Deserialize)]
pub(crate) struct Login {
    user: String,
    /// Browsers leave out a box that is not ticked.
    remember: Option<String>,
}

/// The form of `/devices/end`.
#[derive(Deserialize)]
pub(crate) struct Device {
    handle: String,
}

/// The answer to a request.
pub(crate) enum Answer {
    /// A page.
    Page(String),
    /// A page of a user who is logged in. Sent as `no-store`, so that "back" after the logout does
    /// not show it.
    Private(String),
    /// A redirect after a form, so that reloading does not send it again.
    SeeOther(&'static str),
    /// A page that could not be rendered.
    Broken,
}

/// The application: its sessions and its pages.
#[derive(Clone)]
pub(crate) struct App {
    manager: SessionManager,
    /// The templates' names end in `.html`, so all values in them are escaped.
    pages: Arc<Environment<'static>>,
    engine: String,
}

impl App {
    /// Opens the sessions that `SESSION_URL` names.
    pub(crate) async fn open() -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let mut storage = open_from_env().await?;
        let client_side = !storage.capabilities().compare_and_set();
        if client_side && std::env::var_os("SESSION_SECRET").is_none_or(|secret| secret.is_empty())
        {
            println!("No SESSION_SECRET: made one for this process. Sessions end when it does.");
            storage = storage.with_secrets(Secrets::generate()?);
        }
        // For plain HTTP on this machine, unless `TLS` says that a proxy in front speaks TLS. A real
        // application behind TLS uses the default cookie: `__Host-session`, `Secure`.
        let tls = std::env::var_os("TLS").is_some();
        let cookie = if tls { CookiePolicy::new() } else { CookiePolicy::for_plain_http() };
        let manager = SessionManager::builder(storage).cookie(cookie).build()?;
        println!("Sessions live in {}", manager.capabilities());
        let mut pages = Environment::new();
        for (name, text) in [
            ("layout.html", include_str!("templates/layout.html")),
            ("home.html", include_str!("templates/home.html")),
            ("account.html", include_str!("templates/account.html")),
            ("saved.html", include_str!("templates/saved.html")),
            ("devices.html", include_str!("templates/devices.html")),
            ("about.html", include_str!("templates/about.html")),
        ] {
            pages.add_template(name, text)?;
        }
        let engine = manager.capabilities().engine().to_owned();
        Ok(Self { manager, pages: Arc::new(pages), engine })
    }

    pub(crate) fn manager(&self) -> &SessionManager {
        &self.manager
    }

    pub(crate) fn home(&self, session: &Session) -> Result<Answer> {
        let visits = session.update(VISITS, |visits| visits.unwrap_or(0) + 1)?;
        Ok(self.page("home.html", session, context! { visits }))
    }

    pub(crate) fn account_form(&self, session: &Session) -> Result<Answer> {
        let flash = session.flash();
        // The form as the user sent it, if it was refused; otherwise the saved values.
        let refused = flash.take_data_for::<Account>("refused")?;
        if refused.is_none() {
            flash.now(Level::Info, "You need to provide your account info");
        }
        let account = match refused {
            Some(account) => account,
            None => session.get(ACCOUNT)?.unwrap_or_default(),
        };
        Ok(self.page("account.html", session, context! { account => Value::from(account) }))
    }

    pub(crate) fn save_account(session: &Session, account: Account) -> Result<Answer> {
        let flash = session.flash();
        if account.name.trim().is_empty() || !account.email.contains('@') {
            flash.error(
                "An error occurred while saving your info: a name and an e-mail address are needed",
            )?;
            flash.set_data_for("refused", &account)?;
            return Ok(Answer::SeeOther("/account"));
        }
        session.insert(ACCOUNT, account)?;
        flash.success("Account info saved successfully!")?;
        flash.set_data("account")?;
        Ok(Answer::SeeOther("/account/saved"))
    }

    pub(crate) fn saved(&self, session: &Session) -> Result<Answer> {
        let what: Option<String> = session.flash().take_data()?;
        let account = session.get(ACCOUNT)?.map(Value::from);
        Ok(self.page("saved.html", session, context! { what, account }))
    }

    /// Logs in with only a name. `browser` is the request's `User-Agent`.
    pub(crate) fn login(session: &Session, login: &Login, browser: Option<&str>) -> Result<Answer> {
        let user = login.user.trim();
        if user.is_empty() {
            session.flash().error("Who are you?")?;
            return Ok(Answer::SeeOther("/"));
        }
        // A real application checks a password here. The session gets a new id, and the old id is
        // no longer valid.
        session.login(user)?;
        match login.remember {
            Some(_) => session.remember_for(REMEMBERED)?,
            None => session.forget_on_close()?,
        }
        let browser = browser.unwrap_or("unknown browser");
        session.set_label(browser.chars().take(60).collect::<String>())?;
        // A client-side session has no id, because its content is in the cookie.
        let id = if session.fingerprint().is_some() { " Your session has a new id." } else { "" };
        session.flash().success(format!("Welcome, {user}.{id}"))?;
        Ok(Answer::SeeOther("/"))
    }

    pub(crate) fn logout(session: &Session) -> Result<Answer> {
        session.destroy()?;
        // Pushed after the logout, so it starts a new session with only this message.
        session.flash().info("You are logged out.")?;
        Ok(Answer::SeeOther("/"))
    }

    pub(crate) async fn devices(&self, session: &Session) -> Result<Answer> {
        let Some(owner) = session.owner() else { return Ok(Answer::SeeOther("/")) };
        let own = session.handle();
        let (devices, unsupported) = match self.manager.sessions_of(&owner).await {
            Ok(devices) => (devices, None),
            Err(error) if error.is_unsupported() => (Vec::new(), Some(NO_DEVICES)),
            Err(error) => return Err(error),
        };
        let devices: Vec<_> = devices
            .iter()
            .map(|device| {
                let ago = |at: SystemTime| at.elapsed().unwrap_or_default().as_secs() / 60;
                context! {
                    handle => device.handle().to_string(),
                    label => device.label().unwrap_or("unknown"),
                    minutes => ago(device.created_at()),
                    used => ago(device.last_seen()),
                    own => Some(device.handle()) == own,
                }
            })
            .collect();
        Ok(self.page("devices.html", session, context! { devices, unsupported }))
    }

    pub(crate) async fn end_device(&self, session: &Session, device: &Device) -> Result<Answer> {
        let Some(owner) = session.owner() else { return Ok(Answer::SeeOther("/")) };
        let ended = match device.handle.parse() {
            Ok(handle) => self.manager.revoke(&owner, handle).await,
            Err(_) => Ok(false),
        };
        session.flash().info(match ended {
            Ok(true) => "That device is logged out.",
            Ok(false) => "There is no such device.",
            Err(error) if error.is_unsupported() => NO_DEVICES,
            Err(error) => return Err(error),
        })?;
        Ok(Answer::SeeOther("/devices"))
    }

    pub(crate) async fn end_others(&self, session: &Session) -> Result<Answer> {
        match self.manager.revoke_others(session).await {
            Ok(ended) => {
                session.flash().success(format!("{ended} other devices are logged out."))?
            }
            Err(error) if error.is_unsupported() => session.flash().error(NO_DEVICES)?,
            Err(error) => return Err(error),
        };
        Ok(Answer::SeeOther("/devices"))
    }

    pub(crate) async fn end_all(&self, session: &Session) -> Result<Answer> {
        if let Some(owner) = session.owner() {
            match self.manager.revoke_all(&owner).await {
                Ok(_) => {}
                // Only this device can be logged out.
                Err(error) if error.is_unsupported() => {}
                Err(error) => return Err(error),
            }
        }
        session.destroy()?;
        Ok(Answer::SeeOther("/"))
    }

    pub(crate) fn about(&self) -> Answer {
        let can = self.manager.capabilities();
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let survives = match can.durability() {
            _ if !can.compare_and_set() => "what the browser survives",
            Durability::Process => "nothing: it is lost when this process ends",
            Durability::Server => "the end of this process, not a restart of the engine",
            Durability::Delayed => "a crash of the engine, but for the last moments",
            Durability::Disk => "a crash of the engine",
            Durability::Replicated => "the loss of a machine",
            _ => "see the engine's documentation",
        };
        let largest = can.max_value().map_or("unlimited".into(), |bytes| format!("{bytes} bytes"));
        let abilities = [
            ("No update is lost, and a logout is final", yes(can.compare_and_set()).to_owned()),
            ("Lists a user's devices", yes(can.compare_and_set() && !can.evicts()).to_owned()),
            ("Sessions expire by themselves", yes(can.native_expiry()).to_owned()),
            ("May drop live sessions to make room", yes(can.evicts()).to_owned()),
            ("An acknowledged write survives", survives.to_owned()),
            ("Largest session", largest),
        ];
        self.render("about.html", context! { engine => self.engine.as_str(), abilities })
    }

    /// Renders a page, with the data that all pages show: the waiting messages, the user, and the
    /// engine.
    fn page(&self, name: &str, session: &Session, own: Value) -> Answer {
        let messages: Vec<_> = session
            .flash()
            .messages()
            .iter()
            .map(|m| (m.level().as_str(), m.text().to_owned()))
            .collect();
        let shared = context! {
            messages,
            owner => session.owner(),
            label => session.label(),
            fingerprint => session.fingerprint(),
            engine => self.engine.as_str(),
            ..own
        };
        match self.render(name, shared) {
            Answer::Page(page) if session.owner().is_some() => Answer::Private(page),
            answer => answer,
        }
    }

    fn render(&self, name: &str, with: Value) -> Answer {
        let page = self.pages.get_template(name).and_then(|template| template.render(with));
        page.map_or(Answer::Broken, Answer::Page)
    }
}
