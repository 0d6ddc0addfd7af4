//! The handshake of a new connection: the login, and the facts about the server's process.

use std::collections::HashMap;
use std::time::Instant;

use mocha_session_core::backend::Credentials;
use mocha_session_core::store::{Expiry, Revision};
use mocha_session_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::error::{WANTS_LOGIN, unfit, unsent};

/// The size of an item besides its key and value: measured as 59 bytes (memcached 1.6.18 and
/// 1.6.45), rounded up.
const ITEM_OVERHEAD: usize = 64;
/// Answered with `MN`. Without the spaces memcached 1.6.45 hangs up, because before a login it
/// accepts no line this short.
const NO_OP: &str = "mn    ";
/// The longest relative lifetime. memcached reads a longer one as an instant.
const LONGEST_RELATIVE: u64 = 30 * 24 * 60 * 60;
/// The latest instant, in 2038. memcached takes a later one as past (1.6.18) or refuses it
/// (1.6.45).
const LATEST_INSTANT: u64 = i32::MAX as u64;

/// The number of digits that mark a run.
const MARKER: usize = 16;

/// A memcached process, from its start to its end.
pub(crate) struct ServerRun {
    /// Tells this run from every other. Compare-and-set tokens start again with each run, so that a
    /// token alone could come back after a restart.
    id: String,
    item_limit: usize,
    /// The server's clock, and when it was read.
    clock: (u64, Instant),
}

/// A connection before its first command.
pub(crate) struct Handshake<'a> {
    pub(crate) address: &'a str,
    pub(crate) stream: BufReader<TcpStream>,
}

impl Handshake<'_> {
    /// Logs in if there are credentials, and reads the server's settings and its mark.
    pub(crate) async fn exchange(
        &mut self,
        login: &Credentials,
        marker: &str,
    ) -> Result<ServerRun> {
        self.log_in_as(login).await?;
        let (mut pid, mut time, mut uptime, mut limit, mut cas, mut mark) =
            (None, None, None, None, None, None);
        let mut line =
            self.ask(&format!("stats settings\r\nstats\r\nmg {marker} v\r\n{NO_OP}")).await?;
        while line != "MN" {
            let number = |text: &str| text.parse::<u64>().ok();
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["STAT", "pid", value] => pid = number(value),
                ["STAT", "time", value] => time = number(value),
                ["STAT", "uptime", value] => uptime = number(value),
                ["STAT", "item_size_max", value] => limit = number(value),
                ["STAT", "cas_enabled", value] => cas = Some(value == "yes"),
                ["STAT", "version", value] if is_too_old(value) => return Err(self.too_old()),
                ["VA", size] => mark = self.value(size).await?,
                ["STAT", ..] | ["END" | "EN"] => {}
                _ => return Err(self.unexpected(&line)),
            }
            line = self.read_line().await?;
        }
        let (Some(pid), Some(time), Some(uptime), Some(limit), Some(cas)) =
            (pid, time, uptime, limit, cas)
        else {
            let why = "does not answer `stats` and `stats settings` as memcached does; list the \
                       servers themselves in the session URL, not a proxy";
            return Err(self.unfit(ErrorKind::Unsupported, why));
        };
        if !cas {
            let why = "runs without compare-and-set; start memcached without -C";
            return Err(self.unfit(ErrorKind::Unsupported, why));
        }
        if mark.is_none() {
            mark = self.mark(marker).await?;
        }
        Ok(ServerRun {
            // A full server that may not evict refuses the mark. Then the process id and the second
            // of its start identify the run.
            id: mark.unwrap_or_else(|| format!("{pid}.{}", time.saturating_sub(uptime))),
            item_limit: limit.try_into().unwrap_or(usize::MAX),
            clock: (time, Instant::now()),
        })
    }

    /// Logs in if there are credentials, and returns the server's settings and counters. The
    /// setting `evictions` has the name `evictions_enabled`, because there is a counter of this
    /// name.
    pub(crate) async fn stats(&mut self, login: &Credentials) -> Result<HashMap<String, String>> {
        self.log_in_as(login).await?;
        let (mut stats, mut settings) = (HashMap::new(), true);
        let mut line = self.ask(&format!("stats settings\r\nstats\r\n{NO_OP}")).await?;
        while line != "MN" {
            match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["STAT", "evictions", value] if settings => {
                    stats.insert("evictions_enabled".to_owned(), value.to_owned());
                }
                ["STAT", name, value] => {
                    stats.insert(name.to_owned(), value.to_owned());
                }
                ["STAT", _] => {}
                ["END"] => settings = false,
                _ => return Err(self.unexpected(&line)),
            }
            line = self.read_line().await?;
        }
        Ok(stats)
    }

    async fn log_in_as(&mut self, login: &Credentials) -> Result<()> {
        match (login.username(), login.password()) {
            (Some(username), Some(password)) => self.log_in(username, password).await,
            _ => Ok(()),
        }
    }

    async fn log_in(&mut self, username: &str, password: &str) -> Result<()> {
        if username.contains(char::is_whitespace) || password.contains(char::is_whitespace) {
            let why = "accepts no space in a user name or password; choose others";
            return Err(self.unfit(ErrorKind::InvalidConfig, why));
        }
        // Asked first, because a server without a login would store the password as a value.
        if self.ask(NO_OP).await? != "CLIENT_ERROR unauthenticated" {
            let why = "has no login (-Y); remove the user name and password from the session URL";
            return Err(self.unfit(ErrorKind::InvalidConfig, why));
        }
        let login = format!("{username} {password}");
        if self.ask(&format!("set login 0 0 {}\r\n{login}", login.len())).await? != "STORED" {
            return Err(self.unfit(ErrorKind::Denied, "refused the user name or the password"));
        }
        Ok(())
    }

    /// Marks this run with an item without expiry, unless it has a mark. If a mark was evicted, the
    /// next one counts as another run, so that older revisions match nothing.
    async fn mark(&mut self, marker: &str) -> Result<Option<String>> {
        let fresh = format!("{:016x}", Revision::random().as_u64().unwrap_or_default());
        let stored = self.ask(&format!("ms {marker} {MARKER} T0 ME\r\n{fresh}")).await?;
        if !matches!(stored.as_str(), "HD" | "NS") {
            return Ok(None);
        }
        match self.ask(&format!("mg {marker} v")).await?.strip_prefix("VA ") {
            Some(size) => self.value(size).await,
            None => Ok(None),
        }
    }

    /// Reads the mark, which follows its size; `None` for a value that is not a mark.
    async fn value(&mut self, size: &str) -> Result<Option<String>> {
        let Ok(size) = size.parse::<u8>() else {
            let why = "has a foreign value under the key of the store's mark; give the sessions a \
                       `prefix` of their own";
            return Err(self.unfit(ErrorKind::InvalidConfig, why));
        };
        let mut value = Vec::new();
        let read = (&mut self.stream).take(u64::from(size) + 2).read_to_end(&mut value).await;
        read.map_err(|cause| self.broken().with_source(cause))?;
        value.truncate(value.len().saturating_sub(2));
        let mark = String::from_utf8(value).ok();
        Ok(mark.filter(|mark| {
            mark.len() == MARKER && mark.bytes().all(|byte| byte.is_ascii_hexdigit())
        }))
    }

    async fn ask(&mut self, command: &str) -> Result<String> {
        let sent = self.stream.write_all(format!("{command}\r\n").as_bytes()).await;
        sent.map_err(|cause| self.broken().with_source(cause))?;
        self.read_line().await
    }

    async fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).await;
        read.map_err(|cause| self.broken().with_source(cause))?;
        let Some(text) = line.strip_suffix(b"\r\n") else {
            let why = "closed a new connection; does it require TLS (-Z) or SASL (-S)? Neither is \
                       supported";
            return Err(unsent(self.address, why));
        };
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn unexpected(&self, line: &str) -> Error {
        if line.contains("unauthenticated") {
            self.unfit(ErrorKind::Denied, WANTS_LOGIN)
        } else if line.contains("Too many open connections") {
            unsent(
                self.address,
                "has reached its limit of connections; raise it (-c) or lower `max_connections`",
            )
        } else {
            self.too_old()
        }
    }

    fn too_old(&self) -> Error {
        self.unfit(
            ErrorKind::Unsupported,
            "does not have the meta commands; upgrade it to memcached 1.6.10 or later",
        )
    }

    fn broken(&self) -> Error {
        unsent(self.address, "broke the new connection; was it restarted?")
    }

    fn unfit(&self, kind: ErrorKind, why: &str) -> Error {
        unfit(self.address, kind, why)
    }
}

impl ServerRun {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The revision of a compare-and-set token of this run.
    pub(crate) fn revision(&self, cas: u64) -> Revision {
        Revision::from(format!("{}.{cas}", self.id))
    }

    /// The token of a revision of this run.
    pub(crate) fn cas(&self, revision: &Revision) -> Option<u64> {
        revision.as_str().strip_prefix(&self.id)?.strip_prefix('.')?.parse().ok()
    }

    /// A lifetime as memcached counts it. One second is added, because its clock ticks once a
    /// second. A long lifetime is an instant of the server's clock. One that ends after 2038 is
    /// endless, because the core checks the deadline.
    pub(crate) fn lifetime(&self, expiry: Expiry) -> u64 {
        let seconds = expiry.ttl_secs().saturating_add(1);
        if seconds <= LONGEST_RELATIVE {
            return seconds;
        }
        let (time, read) = self.clock;
        let end = time.saturating_add(read.elapsed().as_secs() + 1).saturating_add(seconds);
        if end <= LATEST_INSTANT { end } else { 0 }
    }

    /// The largest value under a name of so many bytes.
    pub(crate) fn max_value(&self, name: usize) -> usize {
        self.item_limit.saturating_sub(ITEM_OVERHEAD + name)
    }
}

/// Returns whether this version is older than 1.6.10. It would read a value as commands, because
/// the length was written in another way. A version without a number is a custom build; it counts
/// as newer.
fn is_too_old(version: &str) -> bool {
    let leading = |part: &str| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let numbers: Vec<u32> = version.split('.').map_while(leading).collect();
    !numbers.is_empty() && numbers < vec![1, 6, 10]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::time::{Duration, SystemTime};

    use super::*;

    fn run(id: &str, time: u64) -> ServerRun {
        ServerRun { id: id.to_owned(), item_limit: 1024 * 1024, clock: (time, Instant::now()) }
    }

    #[test]
    fn a_token_is_valid_in_its_own_run_alone() {
        let (first, second) = (run("4711.1700000000", 0), run("4711.17000000001", 0));
        let revision = first.revision(5);
        assert_eq!(first.cas(&revision), Some(5));
        assert_eq!(second.cas(&revision), None);
        assert_eq!(first.cas(&second.revision(5)), None);
        for other in
            [Revision::from(5), Revision::from("4711.1700000000".to_owned()), Revision::random()]
        {
            assert_eq!(first.cas(&other), None, "{other:?}");
        }
    }

    #[test]
    fn versions_that_would_read_values_as_commands_are_too_old() {
        for old in ["1.4.39", "1.5.22", "1.6.0", "1.6.9", "1.6.9-mine"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["1.6.10", "1.6.18", "1.7.0", "2.0", "1.6.22_rc1", "UNKNOWN"] {
            assert!(!is_too_old(new), "{new}");
        }
    }

    #[test]
    fn lifetimes_are_never_short_and_follow_the_servers_clock() {
        // The server's clock may be years behind ours, or ahead.
        let day = Duration::from_secs(24 * 60 * 60);
        for time in [1_700_000_000, 1_800_000_000] {
            let it = run("1.1", time);
            let lifetime = |ttl| it.lifetime(Expiry::after(ttl, SystemTime::now()));
            assert_eq!(lifetime(Duration::ZERO), 2);
            assert_eq!(lifetime(Duration::from_millis(1_500)), 3);
            assert_eq!(lifetime(29 * day), 29 * 86_400 + 1);
            assert_eq!(lifetime(Duration::from_secs(30 * 86_400 - 1)), 30 * 86_400);
            for days in [30, 31, 400] {
                let end = lifetime(days * day) - time;
                let asked = u64::from(days) * 86_400;
                assert!((asked + 1..=asked + 3).contains(&end), "{days} days: {end}");
            }
            assert_eq!(lifetime(Duration::MAX), 0);
        }
    }
}
