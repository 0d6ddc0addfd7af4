//! Examines the servers for what is dangerous to sessions, for operators.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mocha_session_core::Result;
use mocha_session_core::store::Finding;

use crate::store::MemcacheStore;

/// The default item size of a server, and the core's default for the largest record.
const USUAL_ITEM: u64 = 1024 * 1024;

impl MemcacheStore {
    /// Asks every server for what is dangerous about its configuration and state.
    ///
    /// A server that cannot be reached is a finding too.
    ///
    /// # Errors
    /// `Unavailable` if no server can be reached, and the error of a server that refuses the login.
    pub async fn examine(&self) -> Result<Vec<Finding>> {
        let mut found = vec![Finding::danger(
            "memcached keeps sessions in memory alone: a restart of a server ends those it had, and \
             a full one drops live sessions",
        )];
        let (servers, mut failure) = (self.servers(), None);
        for server in servers {
            let since = SystemTime::now();
            match server.stats().await {
                Ok(stats) => {
                    let own = of_server(&stats, since).into_iter();
                    found.extend(own.map(|finding| finding.about(server.address())));
                }
                Err(error) if error.is_unavailable() && servers.len() > 1 => {
                    found.push(Finding::danger(format!("{error}; its sessions cannot be used")));
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(error) if found.len() == servers.len() + 1 => Err(error),
            _ => Ok(found),
        }
    }
}

fn of_server(stats: &HashMap<String, String>, since: SystemTime) -> Vec<Finding> {
    let text = |name: &str| stats.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
    let mib = |bytes: u64| bytes / (1024 * 1024);
    let mut found = vec![Finding::note(format!("the server is memcached {}", text("version")))];
    let item = number("item_size_max");
    let limit = format!("the item limit is {item} bytes (-I): a session must be smaller");
    found.push(if item < USUAL_ITEM {
        Finding::danger(format!("{limit}, and the default of max_record_bytes is larger; raise it"))
    } else {
        Finding::note(limit)
    });
    let evicted = number("evictions");
    if evicted > 0 {
        found.push(Finding::danger(format!(
            "the server has evicted {evicted} items since it started; some of them may have been \
             live sessions; raise its memory (-m)"
        )));
    }
    let (used, most) = (number("bytes"), number("limit_maxbytes"));
    if most > 0 && used * 10 > most * 9 {
        found.push(Finding::danger(format!(
            "{} of {} MiB are in use: soon live sessions are evicted; raise the memory (-m)",
            mib(used),
            mib(most)
        )));
    }
    if text("evictions_enabled") == "off" {
        found.push(Finding::note("the server evicts nothing (-M): when it is full, logins fail"));
    }
    let (clients, most) = (number("curr_connections"), number("maxconns"));
    if most > 0 && clients * 10 > most * 8 {
        found.push(Finding::danger(format!(
            "{clients} of {most} connections are in use: the next processes cannot connect; raise \
             the limit (-c)"
        )));
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number("time"));
    // The server tells whole seconds, and so half a second less on average.
    let time = time + Duration::from_millis(500);
    found.push(Finding::of_clock(since, time, SystemTime::now()));
    found
}
