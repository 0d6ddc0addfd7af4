//! The environment variables of a manager, in one table from which the documentation is generated.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::http::{CookiePolicy, SameSite};
use crate::ledger::owners::WhenFull;
use crate::manager::SessionManagerBuilder;
use crate::open::settings;

/// One variable.
pub(super) struct Setting {
    pub(super) name: &'static str,
    pub(super) takes: &'static str,
    pub(super) default: &'static str,
    pub(super) means: &'static str,
    pub(super) apply: Apply,
}

/// The setting that a variable changes.
pub(super) enum Apply {
    /// The place of the sessions. It is read before there is a builder.
    Storage,
    /// The cookie's name. It is chosen with the other attributes.
    CookieName,
    Cookie(fn(CookiePolicy, &Value<'_>) -> Result<CookiePolicy>),
    Builder(fn(SessionManagerBuilder, &Value<'_>) -> Result<SessionManagerBuilder>),
}

use Apply::{Builder, Cookie};

/// The variables, in the order of the documentation.
pub(super) const SETTINGS: [Setting; 19] = [
    Setting {
        name: "SESSION_URL",
        takes: "a URL",
        default: "none: the client's cookie",
        means: "the engine that keeps the sessions",
        apply: Apply::Storage,
    },
    Setting {
        name: "SESSION_SECRET",
        takes: "secrets, separated by commas",
        default: "none",
        means: "signs ids and encrypts client-side sessions: the first is used, all are accepted",
        apply: Apply::Storage,
    },
    Setting {
        name: "SESSION_IDLE_TIMEOUT",
        takes: "a duration",
        default: "`14d`",
        means: "the time after which an unused session ends",
        apply: Builder(|builder, value| Ok(builder.idle_timeout(value.duration()?))),
    },
    Setting {
        name: "SESSION_ABSOLUTE_TIMEOUT",
        takes: "a duration",
        default: "none; `30d` for client-side sessions",
        means: "the time after which a session ends even if it is used",
        apply: Builder(|builder, value| Ok(builder.absolute_timeout(value.duration()?))),
    },
    Setting {
        name: "SESSION_REFRESH_INTERVAL",
        takes: "a duration",
        default: "a tenth of the idle timeout",
        means: "the smallest extension of the idle deadline that is worth a write",
        apply: Builder(|builder, value| Ok(builder.refresh_interval(value.duration()?))),
    },
    Setting {
        name: "SESSION_REMEMBER_AT_MOST",
        takes: "a duration",
        default: "`365d`",
        means: "the longest lifetime that `remember_for` can set",
        apply: Builder(|builder, value| Ok(builder.remember_at_most(value.duration()?))),
    },
    Setting {
        name: "SESSION_STORE_TIMEOUT",
        takes: "a duration",
        default: "the URL's `timeout`, or `5s`",
        means: "the deadline of every store call",
        apply: Builder(|builder, value| Ok(builder.store_timeout(value.duration()?))),
    },
    Setting {
        name: "SESSION_MAX_RECORD_BYTES",
        takes: "a number",
        default: "`1048576`",
        means: "the maximum size of a record in bytes, unless the engine's limit is smaller",
        apply: Builder(|builder, value| Ok(builder.max_record_bytes(value.number()?))),
    },
    Setting {
        name: "SESSION_MAX_PER_OWNER",
        takes: "a number",
        default: "`100`",
        means: "the maximum number of sessions per user",
        apply: Builder(|builder, value| Ok(builder.owners_most(value.number()?))),
    },
    Setting {
        name: "SESSION_WHEN_FULL",
        takes: "`revoke-oldest` or `refuse-login`",
        default: "`revoke-oldest`",
        means: "what happens at a login if the user has that many sessions",
        apply: Builder(|builder, value| Ok(builder.when_full(value.when_full()?))),
    },
    Setting {
        name: "SESSION_ACCEPT_UNSIGNED",
        takes: "a switch",
        default: "`false`",
        means: "accepts unsigned ids, for the time after a secret is introduced",
        apply: Builder(|builder, value| Ok(builder.accept_unsigned(value.switch()?))),
    },
    Setting {
        name: "SESSION_SCOPE",
        takes: "a name",
        default: "the cookie's name",
        means: "separates the sessions from others in the same store",
        apply: Builder(|builder, value| Ok(builder.scope(value.text))),
    },
    Setting {
        name: "SESSION_COOKIE_NAME",
        takes: "a name",
        default: "`__Host-session`; with a domain or path `__Secure-session`; not secure `session`",
        means: "the cookie's name",
        apply: Apply::CookieName,
    },
    Setting {
        name: "SESSION_COOKIE_DOMAIN",
        takes: "a host name",
        default: "none: only this host",
        means: "shares the cookie with the subdomains of this domain",
        apply: Cookie(|cookie, value| Ok(cookie.domain(value.text))),
    },
    Setting {
        name: "SESSION_COOKIE_PATH",
        takes: "a path",
        default: "`/`",
        means: "limits the cookie to paths below this one",
        apply: Cookie(|cookie, value| Ok(cookie.path(value.text))),
    },
    Setting {
        name: "SESSION_COOKIE_SAMESITE",
        takes: "`Strict`, `Lax` or `None`",
        default: "`Lax`",
        means: "the cross-site requests with which browsers send the cookie",
        apply: Cookie(|cookie, value| Ok(cookie.same_site(value.same_site()?))),
    },
    Setting {
        name: "SESSION_COOKIE_SECURE",
        takes: "a switch",
        default: "`true`",
        means: "whether browsers send the cookie only over TLS",
        apply: Cookie(|cookie, value| Ok(cookie.secure(value.switch()?))),
    },
    Setting {
        name: "SESSION_COOKIE_PARTITIONED",
        takes: "a switch",
        default: "`false`",
        means: "keeps one cookie per embedding site",
        apply: Cookie(|cookie, value| Ok(cookie.partitioned(value.switch()?))),
    },
    Setting {
        name: "SESSION_COOKIE_PERSISTENT",
        takes: "a switch",
        default: "`true`",
        means: "whether the cookie outlives the browser, unless a session decides otherwise",
        apply: Cookie(|cookie, value| Ok(cookie.persistent(value.switch()?))),
    },
];

/// The value of a variable. Error messages never show it, because it may be a misplaced secret.
pub(super) struct Value<'e> {
    pub(super) name: &'static str,
    pub(super) text: &'e str,
}

impl Value<'_> {
    pub(super) fn duration(&self) -> Result<Duration> {
        settings::duration(self.text)
            .ok_or_else(|| self.refuse("a duration above zero, like 30m, 12h or 14d"))
    }

    pub(super) fn switch(&self) -> Result<bool> {
        settings::switch(self.text).ok_or_else(|| self.refuse("true or false"))
    }

    pub(super) fn number(&self) -> Result<usize> {
        self.text.parse().map_err(|_| self.refuse("a number without a unit"))
    }

    pub(super) fn same_site(&self) -> Result<SameSite> {
        match &*self.text.to_ascii_lowercase() {
            "strict" => Ok(SameSite::Strict),
            "lax" => Ok(SameSite::Lax),
            "none" => Ok(SameSite::None),
            _ => Err(self.refuse("Strict, Lax or None")),
        }
    }

    pub(super) fn when_full(&self) -> Result<WhenFull> {
        match &*self.text.to_ascii_lowercase() {
            "revoke-oldest" => Ok(WhenFull::RevokeOldest),
            "refuse-login" => Ok(WhenFull::RefuseLogin),
            _ => Err(self.refuse("revoke-oldest or refuse-login")),
        }
    }

    pub(super) fn refuse(&self, must_be: &str) -> Error {
        Error::invalid_config(format!("the environment variable `{}` must be {must_be}", self.name))
    }
}
