//! The arguments, and from them the storage and the manager.

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
    /// Reads a session URL without connecting, and says what it means or what is wrong with it.
    Check(Store),
    /// Connects, measures the store, and says what is dangerous.
    Doctor(Doctor),
    /// Counts the records of a store by their kind.
    Count(Store),
    /// Removes what expired more than a minute ago.
    Sweep(Sweep),
    /// Moves all sessions to another engine, beside live traffic.
    Copy(Copy),
    /// Lists the sessions of an owner.
    Sessions(Sessions),
    /// Ends one session of an owner, or all.
    Revoke(Revoke),
    /// Prints the statement that creates the table of an SQL store.
    Schema(Store),
    /// Runs the conformance suite on a live engine, under a prefix of its own.
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

/// The URL may hold a password.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) store: Store,
    /// How many rounds of create, load, update and delete are measured.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Sweep {
    #[command(flatten)]
    pub(crate) store: Store,
    /// Counts what would be removed, and removes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args)]
pub(crate) struct Copy {
    /// The URL of the engine that the sessions leave.
    pub(crate) from: String,
    /// The URL of the engine that they move to.
    pub(crate) to: String,
    /// How many entries are read from the old engine at once.
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

/// Whose sessions, and how the application names them.
#[derive(Args)]
pub(crate) struct Owner {
    /// The session URL.
    #[arg(long, value_name = "URL", env = "SESSION_URL", hide_env_values = true)]
    url: String,
    /// The application's secrets, separated by commas, as it has them.
    #[arg(long, value_name = "SECRETS", env = "SESSION_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// The manager's scope: what the application gives to `.scope(…)`, or the name of its cookie.
    #[arg(long, default_value = "__Host-session")]
    scope: String,
    /// The application accepts ids of before it had a secret.
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
    /// The owner: what the application gives to `login`.
    pub(crate) owner: String,
    #[command(flatten)]
    pub(crate) application: Owner,
}

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// The owner: what the application gives to `login`.
    pub(crate) owner: String,
    /// The handle of one session, as `sessions` prints it. Without it all of them end.
    pub(crate) handle: Option<String>,
    #[command(flatten)]
    pub(crate) application: Owner,
}

/// Opens the engine that a URL names.
pub(crate) async fn open(url: &str) -> Result<Storage, Failure> {
    Ok(Registry::builtin().open(url).await?)
}

impl Owner {
    /// The manager that the application has.
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

    /// Why an owner may seem to have no sessions.
    pub(crate) fn nothing_listed(&self) -> String {
        let secrets = if self.secret.is_some() { "these secrets" } else { "no secret" };
        format!(
            "no session is listed for this owner under the scope `{}` and {secrets}; an \
             application with another scope or SESSION_SECRET has another index",
            self.scope
        )
    }
}
