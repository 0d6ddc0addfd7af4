//! Builds a manager: checks its settings, and creates the state that requests share.

use std::sync::Arc;
use std::time::Duration;

use super::builder::SessionManagerBuilder;
use super::requirement::{FailurePolicy, Requirement};
use crate::crypto::Scope;
use crate::crypto::signing::Signer;
use crate::error::{Error, Result};
use crate::future::Tasks;
use crate::http::CookiePolicy;
use crate::http::cookie::CookieWriter;
use crate::http::transport::Carriers;
use crate::ledger::owners::Owners;
use crate::ledger::vault::Vault;
use crate::near::Near;
use crate::open::url::DEFAULT_DEADLINE;
use crate::record::client_side::{self, ClientSide};
use crate::record::policy::{self, CLIENT_SIDE_ABSOLUTE, Policy};
use crate::session::old::TakesOver;
use crate::session::shared::{Backend, Shared};
use crate::store::Capabilities;

/// The smallest limit of a record that has room for an owner's name and a label.
const SMALLEST_LIMIT: usize = 1024;

impl SessionManagerBuilder {
    /// Checks the settings and creates the state that requests share.
    pub(super) fn assemble(self) -> Result<Shared> {
        let carriers = Carriers::new(&self.transport)?;
        if let Some(old) = &self.old {
            old.check(carriers.cookie.as_ref().map(CookieWriter::name))?;
        }
        let capabilities = self.storage.capabilities();
        let owners_indexed =
            capabilities.compare_and_set() && (!capabilities.evicts() || self.check_owner_at_load);
        self.check_requirements(&capabilities, owners_indexed)?;
        let timeout = self.timeout.or(self.storage.timeout).unwrap_or(DEFAULT_DEADLINE);
        if timeout.is_zero() {
            return Err(Error::invalid_config("the store's timeout must be above zero"));
        }
        self.check_limits()?;
        let client_side = self.is_client_side();
        if client_side {
            self.check_client_side(&carriers)?;
        }
        let scope = Scope::named(self.scope.as_deref().unwrap_or_else(|| carriers.scope()));
        let absolute = self.absolute.or(client_side.then_some(CLIENT_SIDE_ABSOLUTE));
        let policy = Policy {
            idle: policy::lifetime("idle timeout", self.idle)?,
            absolute: absolute
                .map(|absolute| policy::lifetime("absolute timeout", absolute))
                .transpose()?,
            refresh: self.refresh.map(policy::millis),
            remember_at_most: policy::lifetime("ceiling of remember_for", self.remember_at_most)?,
            limit: self.limit,
            flash: self.flash,
            flash_minimum: self.flash_minimum,
            commit_on_server_error: self.commit_on_server_error,
            anonymous_on_failure: self.failure == FailurePolicy::Anonymous,
            // At least a minute, and longer than any call that may still write an older record.
            tombstone: policy::millis(Duration::from_secs(60).max(timeout.saturating_mul(4))),
            persistent: carriers.cookie.as_ref().is_none_or(|cookie| cookie.persistent),
        };
        let secrets = self.secrets.or_else(|| self.storage.secrets.clone());
        let backend = match &self.storage.store {
            None => {
                let secrets = secrets.clone().ok_or_else(client_side::no_secret)?;
                Backend::Client(ClientSide::new(secrets, scope, carriers.scope()))
            }
            Some(store) => Backend::Store(Vault::new(
                match self.storage.near {
                    Some(policy) => Arc::new(Near::new(Arc::clone(store), policy)),
                    None => Arc::clone(store),
                },
                Arc::clone(&self.clock),
                timeout,
                policy.limit,
                self.plain,
                self.observed.clone(),
            )),
        };
        Ok(Shared {
            backend,
            observed: self.observed,
            old: self.old.map(|old| old as Arc<dyn TakesOver>),
            signer: Signer::new(secrets.as_ref(), self.accept_unsigned, &scope),
            owners: Owners::new(
                secrets.as_ref(),
                self.accept_unsigned,
                scope,
                self.owners_most,
                self.when_full,
                policy.tombstone,
            ),
            scope,
            owners_indexed,
            check_owner_at_load: self.check_owner_at_load && !client_side,
            capabilities,
            storage: self.storage,
            policy,
            carriers,
            clock: self.clock,
            tasks: Tasks::new(),
            nothing: Arc::default(),
        })
    }

    fn check_requirements(&self, can: &Capabilities, owners_indexed: bool) -> Result<()> {
        for requirement in &self.required {
            let met = match requirement {
                Requirement::FinalLogout => can.compare_and_set() && can.reads_within().is_none(),
                Requirement::Durability(least) => {
                    can.compare_and_set() && can.durability() >= *least
                }
                Requirement::NoEviction => !can.evicts(),
                Requirement::Listing => can.listing(),
                Requirement::OwnerIndex => owners_indexed,
            };
            if !met {
                let engine = can.engine();
                return Err(Error::invalid_config(format!(
                    "this application requires {requirement:?} and its sessions would live in \
                     `{engine}`, which cannot do that; check SESSION_URL ({can})"
                )));
            }
        }
        Ok(())
    }

    fn check_client_side(&self, carriers: &Carriers) -> Result<()> {
        if carriers.cookie.is_some() && carriers.token.is_some() {
            return Err(Error::invalid_config(
                "client-side sessions travel by one transport: a cookie and a token would be two \
                 copies that drift apart; set SESSION_URL, or leave one of them out",
            ));
        }
        if self.storage.near.is_some() {
            return Err(Error::invalid_config(
                "client-side sessions come with each request, so that `near` has nothing to keep; \
                 set SESSION_URL, or leave `near` out",
            ));
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<()> {
        let refuse = |why: &'static str| Err(Error::invalid_config(why));
        if self.refresh.is_some_and(|refresh| refresh >= self.idle) {
            return refuse(
                "the refresh interval must be below the idle timeout, or sessions expire under use",
            );
        }
        if self.remember_at_most < self.idle {
            return refuse("the ceiling of remember_for must be at least the idle timeout");
        }
        if self.limit < SMALLEST_LIMIT {
            return refuse(
                "max_record_bytes must be at least 1024: a session has a header and an owner",
            );
        }
        if self.flash.items == 0 || self.flash.bytes == 0 {
            return refuse(
                "flash_limits must be above zero; an application without flash pushes none",
            );
        }
        if self.owners_most == 0 {
            return refuse("max_sessions_per_owner must be above zero, or nobody can log in");
        }
        Ok(())
    }
}

/// Logs the transport once, because a cookie that a browser drops is otherwise hard to find.
pub(super) fn note_start(shared: &Shared, cookie: Option<&CookiePolicy>) {
    let engine = shared.capabilities.engine();
    if let Some(cookie) = cookie {
        let (name, secure) = (cookie.name(), cookie.is_secure());
        let note = if secure {
            "browsers keep their cookie over HTTPS and on localhost only"
        } else {
            "their cookie also travels over plain HTTP, where anyone can read it"
        };
        tracing::info!(engine, cookie = name, secure, "sessions are ready; {note}");
    }
    if let Some(token) = &shared.carriers.token {
        let header = &*token.names.request;
        tracing::info!(engine, header, "sessions are ready; their tokens travel in a header");
    }
}
