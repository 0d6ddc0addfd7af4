//! The one place that uses the core: builds managers, serves requests, looks at sessions from
//! outside.

mod carried;
mod report;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mocha_session_core::{
    Error, ErrorKind, Level, ManualClock, Migrating, NearPolicy, Result, Secrets, SessionManager,
    Storage,
};

use crate::gate::{Call, GatedStore, Shared};
use crate::ops::{By, Carrier, Kind, Mode};

use carried::{Lines, transport};

pub use report::{Line, Outcome, Report, Reporting, Request, Seen};

/// What cookies are signed with.
pub type Secret = [u8; 32];

/// How long a session lives without being used.
pub const IDLE: u64 = 12 * 60 * 60;
/// How often its deadline is moved.
pub const REFRESH: u64 = 10 * 60;
/// How long a call of the store may take.
pub const DEADLINE: u64 = 5;
/// For how many seconds a process reads from its memory.
pub const NEAR: u64 = 2;

/// How many entries are moved at a time.
const PAGE: usize = 2;

/// The clock of a simulation.
pub type Clock = ManualClock;
/// The kind of a failure.
pub type Failure = ErrorKind;

/// A clock that shows the present.
pub fn clock() -> Clock {
    ManualClock::new()
}

/// A clock of its own that shows the same.
pub fn copy(clock: &Clock) -> Clock {
    ManualClock::starting_at(mocha_session_core::Clock::now(clock))
}

/// What a clock shows, in milliseconds.
pub fn now(clock: &Clock) -> u64 {
    millis(mocha_session_core::Clock::now(clock))
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Whether two cookies hold the same id. What follows the id in a cookie signs it.
pub fn same(one: &str, other: &str) -> bool {
    const ID: usize = 43;
    one.get(..ID).unwrap_or(one) == other.get(..ID).unwrap_or(other)
}

/// A failure of the engine: nothing was done.
pub fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "the simulation refused the call")
}

/// A failure of the engine: the answer was lost.
pub fn lost() -> Error {
    Error::new(ErrorKind::Ambiguous, "the simulation lost the answer")
}

/// A failure of the engine: it has no room, and nothing was done.
pub fn full() -> Error {
    Error::new(ErrorKind::Full, "the simulation has no room")
}

/// A process's use of the core.
#[derive(Clone, Debug)]
pub struct Client {
    manager: SessionManager,
    moving: Option<Arc<Migrating<GatedStore, GatedStore>>>,
    by: By,
}

impl Client {
    /// A manager for a process, or one of nobody's that does not wait.
    ///
    /// # Errors
    /// Those of the core.
    pub fn new(
        gates: &Shared,
        process: Option<u8>,
        mode: Mode,
        carrier: Carrier,
        secrets: &[Secret],
        clock: &Clock,
    ) -> Result<Self> {
        let store = |engine| GatedStore::new(gates, process, engine);
        let (old, new) = (store(0), store(1));
        let moving = match mode {
            Mode::Plain | Mode::Near => None,
            Mode::Prepare => Some(Arc::new(Migrating::prepare(old.clone(), new))),
            Mode::New => Some(Arc::new(Migrating::new(old.clone(), new))),
        };
        let mut storage = moving.clone().map_or_else(|| Storage::from(old), Storage::from);
        if mode == Mode::Near {
            storage = storage.near(NearPolicy::within(Duration::from_secs(NEAR)));
        }
        let (transport, by) = transport(carrier);
        let mut builder = SessionManager::builder(storage)
            .transport(transport)
            .clock(clock.clone())
            .idle_timeout(Duration::from_secs(IDLE))
            .refresh_interval(Duration::from_secs(REFRESH))
            .store_timeout(Duration::from_secs(DEADLINE))
            .accept_unsigned(true);
        if !secrets.is_empty() {
            builder = builder.secrets(Secrets::new(secrets)?);
        }
        Ok(Self { manager: builder.build()?, moving, by })
    }

    /// Stores a session for the setup and returns its cookie.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn seed(&self, mark: &str, owner: Option<&str>) -> Result<String> {
        let cookie = self
            .manager
            .seed(|session| {
                if let Some(owner) = owner {
                    session.login(owner)?;
                }
                session.insert("mark", mark)?;
                session.insert("n", 0)?;
                session.insert("l", Vec::<u8>::new())?;
                session.insert("tok", "T")?;
                session.flash().info(format!("m{mark}"))?;
                Ok(())
            })
            .await?;
        Ok(carried::value(&cookie))
    }

    /// What a session looks like, changing nothing.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn look(&self, cookies: &[&str]) -> Result<Seen> {
        let lazy = self.manager.open(self.by.request(cookies));
        see(&lazy.load().await?, true)
    }

    /// A plain page of a browser with this cookie: what it says of the cookie.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn visit(&self, cookie: &str) -> Result<(Seen, Option<Line>)> {
        let lazy = self.manager.open(self.by.request(&[cookie]));
        let seen = see(&lazy.load().await?, true)?;
        let headers = self.manager.finish(&lazy, 200).await.into_result()?;
        Ok((seen, self.by.read(headers.set_cookie(), headers.session_token()).line))
    }

    /// Ends the session of this cookie.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn end(&self, cookie: &str) -> Result<()> {
        let lazy = self.manager.open(self.by.request(&[cookie]));
        let session = lazy.load().await?;
        session.destroy()?;
        self.manager.finish(&lazy, 200).await.into_result().map(drop)
    }

    /// Gives the session of this cookie a new id.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn rotate(&self, cookie: &str) -> Result<Option<Line>> {
        let lazy = self.manager.open(self.by.request(&[cookie]));
        lazy.load().await?.rotate()?;
        let headers = self.manager.finish(&lazy, 200).await.into_result()?;
        Ok(self.by.read(headers.set_cookie(), headers.session_token()).line)
    }

    /// The handles of an owner's sessions.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn listed(&self, owner: &str) -> Result<Vec<String>> {
        let sessions = self.manager.sessions_of(owner).await?;
        Ok(sessions.iter().map(|session| session.handle().to_string()).collect())
    }

    /// Ends an owner's sessions.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn revoke_all(&self, owner: &str) -> Result<()> {
        self.manager.revoke_all(owner).await.map(drop)
    }

    /// Serves an operation and writes down what it met with.
    pub async fn serve(&self, request: Request) {
        let outcome = if request.op.kind.is_admin() {
            match self.administer(&request).await {
                Ok(()) => (Outcome::Answered, Lines::default()),
                Err(error) => (Outcome::Failed(error.kind()), Lines::default()),
            }
        } else {
            self.respond(&request).await
        };
        {
            let mut report = request.report();
            report.outcome = Some(outcome.0);
            (report.line, report.beside) = (outcome.1.line, outcome.1.beside);
        }
        request.gates.stir();
    }

    async fn administer(&self, request: &Request) -> Result<()> {
        match request.op.kind {
            Kind::All => self.manager.revoke_all("u").await.map(drop),
            Kind::Revoke => {
                let Some(first) = &request.first else { return Ok(()) };
                self.manager.revoke("u", first.parse()?).await.map(drop)
            }
            Kind::Move => self.carry().await,
            _ => self.manager.sweep().await.map(drop),
        }
    }

    /// Moves everything that the old engine has, as a program beside the processes does.
    async fn carry(&self) -> Result<()> {
        let Some(moving) = &self.moving else { return Ok(()) };
        let mut cursor = None;
        loop {
            cursor = moving.move_page(cursor, PAGE).await?.next().cloned();
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    async fn respond(&self, request: &Request) -> (Outcome, Lines) {
        let lazy = self.manager.open(request.by.request(&request.sessions));
        let session = match lazy.load().await {
            Ok(session) => session,
            Err(error) => return (Outcome::Failed(error.kind()), Lines::default()),
        };
        match see(&session, false) {
            Ok(seen) => request.report().loaded = Some(seen),
            Err(error) => return (Outcome::Failed(error.kind()), Lines::default()),
        }
        if request.op.slow {
            let _ = request
                .gates
                .call(Some(request.op.process), 0, Call::Handler(request.number))
                .await;
        }
        let handled = self.handle(request, &session).await;
        let status = handled.as_ref().map_or_else(Error::http_status, |()| request.op.status);
        let finished = self.manager.finish(&lazy, status).await;
        let lines = request.by.read(finished.set_cookie(), finished.session_token());
        let failed = handled.err().map(|error| error.kind());
        match failed.or_else(|| finished.error().map(Error::kind)) {
            Some(kind) => (Outcome::Failed(kind), lines),
            None => (Outcome::Answered, lines),
        }
    }

    async fn handle(&self, request: &Request, session: &mocha_session_core::Session) -> Result<()> {
        let number = request.number;
        let own = format!("k{number}");
        let message = format!("p{number}");
        match request.op.kind {
            Kind::Write => session.insert(&own, number)?,
            Kind::Commit => {
                session.insert(&own, number)?;
                request.note(session.commit().await)?;
            }
            Kind::Update => drop(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?),
            Kind::Count => {
                session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
                request.note(session.commit().await)?;
            }
            Kind::TryUpdate => {
                let claim = move |place: Option<u8>| match place {
                    None => Ok(Some(number)),
                    Some(_) => Err(Error::new(ErrorKind::InvalidInput, "the place is taken")),
                };
                session.try_update("place", claim)?;
            }
            Kind::Modify => drop(session.modify("l", move |list: &mut Vec<u8>| list.push(number))?),
            Kind::Take | Kind::TakeCommit => {
                let took = session.take::<String>("tok")?.is_some();
                request.report().took = took;
                if request.op.kind == Kind::TakeCommit {
                    request.note(session.commit().await)?;
                }
            }
            Kind::Read => drop(session.get::<u64>("n")?),
            Kind::Clear => session.clear()?,
            Kind::Rotate => session.rotate()?,
            Kind::Login | Kind::LoginOther => {
                session.login(if request.op.kind == Kind::Login { "u" } else { "v" })?;
                session.insert("by", number)?;
            }
            Kind::Destroy => session.destroy()?,
            Kind::Bye => {
                session.destroy()?;
                session.flash().info(message)?;
            }
            Kind::Others => {
                if session.owner().is_some() {
                    self.manager.revoke_others(session).await?;
                }
            }
            Kind::AllBye => {
                if let Some(owner) = session.owner() {
                    self.manager.revoke_all(&owner).await?;
                }
                session.destroy()?;
                session.flash().info(message)?;
            }
            Kind::Push => drop(session.flash().info(message)?),
            Kind::Show => {
                let shown = texts(&session.flash().messages());
                request.report().shown = shown;
            }
            Kind::Claim => {
                let claimed = texts(&session.flash().claim().await?);
                request.report().claimed = claimed;
            }
            Kind::Remember => session.remember_for(Duration::from_secs(4 * IDLE))?,
            Kind::Forget => session.forget_on_close()?,
            // Without a session there is nothing that outlives the request.
            Kind::Detach | Kind::Touch if session.is_new() => {}
            Kind::Touch => drop(session.detached().touch().await?),
            Kind::Label => session.set_label(format!("L{number}"))?,
            Kind::Detach => {
                if let Some(detached) = session.detached().load().await? {
                    detached.insert(&own, number)?;
                    request.note(detached.commit().await)?;
                }
            }
            Kind::Revoke | Kind::All | Kind::Sweep | Kind::Move => {}
        }
        Ok(())
    }
}

fn texts(messages: &[mocha_session_core::Message]) -> Vec<String> {
    messages
        .iter()
        .filter(|message| message.level() == Level::Info)
        .map(|message| message.text().to_owned())
        .collect()
}

/// Reading the flash early would tell the session which messages the request has seen, so a request
/// leaves it.
fn see(session: &mocha_session_core::Session, flash: bool) -> Result<Seen> {
    Ok(Seen {
        live: !session.is_new(),
        owner: session.owner(),
        handle: session.handle().map(|handle| handle.to_string()),
        values: session
            .entries()?
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect(),
        flash: if flash { texts(&session.flash().peek()) } else { Vec::new() },
        expires: millis(session.expires_at()),
    })
}
