//! The command-line arguments, and the storage and the manager that they describe.

use std::fmt;

use clap::{Args, Parser, Subcommand};
use mocha_session::{Registry, Secrets, SessionManager, Storage};

use crate::output::Failure;

/// Operates the sessions of an application that uses mocha-session.
///
/// The URL and the secrets are those of the application: SESSION_URL and SESSION_SECRET. Prefer the
/// variables to arguments, because other users of the machine can read a process's arguments.
///
/// Exit codes: 0 done; 1 a problem was found, or nothing matched; 2 wrong usage; 3 the
/// configuration is wrong or the engine cannot do this; 4 the engine is unavailable or full; 5 the
/// engine refused access; 6 interrupted; 70 a bug; 74 the output could not be written.
#[derive(Debug, Parser)]
#[command(name = "mocha-session", version, max_term_width = 100)]
#[allow(clippy::doc_markdown, reason = "this is the help, which is no Markdown")]
pub(crate) struct Cli {
    /// Prints one JSON object instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Parses a session URL without connecting, and explains it or its errors.
    Check(Store),
    /// Connects, measures the store, and warns of dangerous settings.
    Doctor(Doctor),
    /// Counts the records of a store by their kind.
    Count(Store),
    /// Removes entries that expired more than a minute ago.
    Sweep(Sweep),
    /// Moves all sessions to another engine during live traffic.
    Copy(Copy),
    /// Lists the sessions of an owner.
    Sessions(Sessions),
    /// Ends one session of an owner, or all of them.
    Revoke(Revoke),
    /// Prints the statement that creates the table of an SQL store.
    Schema(Store),
    /// Runs the conformance suite on a live engine, under its own prefix.
    Prove(Store),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints a man page.
    Man,
}

/// A store by its URL.
#[derive(Args)]
pub(crate) struct Store {
    /// The session URL.
    #[arg(value_name = "URL", env = "SESSION_URL", hide_env_values = true)]
    pub(crate) url: String,
}

/// Omits the URL, because it may contain a password.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) store: Store,
    /// The number of rounds of create, load, update and delete to measure.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Sweep {
    #[command(flatten)]
    pub(crate) store: Store,
    /// Counts the entries that would be removed, and removes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Copy {
    /// The URL of the engine that the sessions leave.
    pub(crate) from: String,
    /// The URL of the engine that they move to.
    pub(crate) to: String,
    /// The number of entries to read from the old engine at once.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) page: u32,
    /// How many entries are moved at the same time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) at_once: u32,
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copy")
            .field("page", &self.page)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

/// The owner's manager, as the application configures it.
#[derive(Args)]
pub(crate) struct Owner {
    /// The session URL.
    #[arg(long, value_name = "URL", env = "SESSION_URL", hide_env_values = true)]
    url: String,
    /// The application's secrets, separated by commas.
    #[arg(long, value_name = "SECRETS", env = "SESSION_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// The manager's scope: the argument of the application's `.scope(…)`, or the name of its
    /// cookie.
    #[arg(long, default_value = "__Host-session")]
    scope: String,
    /// Accepts ids from before the application had a secret.
    #[arg(long)]
    accept_unsigned: bool,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("scope", &self.scope).finish_non_exhaustive()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Sessions {
    /// The owner: the argument of the application's `login`.
    pub(crate) owner: String,
    #[command(flatten)]
    pub(crate) application: Owner,
}

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// The owner: the argument of the application's `login`.
    pub(crate) owner: String,
    /// The handle of one session, as `sessions` prints it. Without it, all sessions end.
    pub(crate) handle: Option<String>,
    #[command(flatten)]
    pub(crate) application: Owner,
}

/// Opens the engine that a URL names.
pub(crate) async fn open(url: &str) -> Result<Storage, Failure> {
    Ok(Registry::builtin().open(url).await?)
}

impl Owner {
    /// Creates a manager that is configured like the application's.
    pub(crate) async fn manager(&self) -> Result<SessionManager, Failure> {
        let storage = open(&self.url).await?;
        let evicts = storage.capabilities().evicts();
        let mut builder = SessionManager::builder(storage)
            .scope(&self.scope)
            .check_owner_at_load(evicts)
            .accept_unsigned(self.accept_unsigned);
        let secret = self.secret.as_deref().map(str::trim).filter(|secret| !secret.is_empty());
        if let Some(secret) = secret {
            builder = builder.secrets(Secrets::parse(secret)?);
        }
        Ok(builder.build()?)
    }

    /// Returns the possible reasons why an owner has no listed sessions.
    pub(crate) fn nothing_listed(&self) -> String {
        let secrets = if self.secret.is_some() { "these secrets" } else { "no secret" };
        format!(
            "no session is listed for this owner under the scope `{}` and {secrets}; an \
             application with another scope or SESSION_SECRET has another index",
            self.scope
        )
    }
}
