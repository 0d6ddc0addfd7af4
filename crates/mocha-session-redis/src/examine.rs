//! Examines a server for what is dangerous to sessions, for operators.

use std::time::{Duration, SystemTime};

use mocha_session_core::Result;
use mocha_session_core::store::{Effect, Finding, SessionStore};
use redis::cmd;

use crate::store::{RedisStore, field};

/// The first versions with `SET … IFEQ`.
const NATIVE_REDIS: (u32, u32) = (8, 4);
const NATIVE_VALKEY: (u32, u32) = (8, 1);

impl RedisStore {
    /// Asks the server for what is dangerous about its configuration. In a cluster it asks each
    /// primary, and the findings of all are returned.
    ///
    /// It sends `INFO`, `CONFIG GET` and `TIME`. What an ACL or a hosting service forbids to ask is
    /// a note.
    ///
    /// # Errors
    /// `Unavailable` or `Timeout` if the server does not answer.
    pub async fn examine(&self) -> Result<Vec<Finding>> {
        self.ping().await?;
        let mut found = Vec::new();
        let Some(nodes) = self.ask(&cmd("INFO")).await else {
            found.push(Finding::note(
                "the server does not answer INFO to this user, so its eviction, persistence and \
                 replication are unknown; grant it `+info`, or ask whoever runs the server",
            ));
            return Ok(found);
        };
        let several = nodes.len() > 1;
        for (at, info) in nodes.iter().enumerate() {
            let mut own = Vec::new();
            of_version(info, &mut own);
            of_memory(info, &mut own);
            of_replication(info, &mut own);
            let name = format!("primary {}", at + 1);
            let named =
                own.into_iter().map(|finding| if several { finding.about(&name) } else { finding });
            found.extend(named);
        }
        self.examine_persistence(&nodes, &mut found).await;
        let since = SystemTime::now();
        if let Ok((seconds, micros)) =
            self.connection().query::<(u64, u64)>(&cmd("TIME"), Effect::Read).await
        {
            let server = Duration::from_secs(seconds) + Duration::from_micros(micros);
            let server = SystemTime::UNIX_EPOCH + server;
            found.push(Finding::of_clock(since, server, SystemTime::now()));
        }
        Ok(found)
    }

    async fn examine_persistence(&self, nodes: &[String], found: &mut Vec<Finding>) {
        let all =
            |name: &str, value: &str| nodes.iter().all(|node| field(node, name) == Some(value));
        let any =
            |name: &str, value: &str| nodes.iter().any(|node| field(node, name) == Some(value));
        if any("aof_last_write_status", "err") || any("rdb_last_bgsave_status", "err") {
            found.push(Finding::danger(
                "the last write to the disk failed: is it full? Redis may refuse all writes until it \
                 succeeds; see the server's log",
            ));
        }
        let get = async |name: &str| self.ask(cmd("CONFIG").arg("GET").arg(name)).await;
        if !all("aof_enabled", "1") {
            match get("save").await {
                Some(save) if save.iter().any(String::is_empty) => {
                    found.push(Finding::danger(
                        "persistence is off (appendonly no, no snapshots): a restart of the server \
                         ends every session; set `appendonly yes`",
                    ));
                }
                Some(_) => found.push(Finding::danger(
                    "only snapshots are written (appendonly no): a crash loses what was written \
                     since the last one, so that logouts may come back; set `appendonly yes`",
                )),
                None => found.push(Finding::danger(
                    "appendonly is no: a crash loses what was written since the last snapshot, if \
                     there are any (CONFIG GET is not allowed); set `appendonly yes`",
                )),
            }
            return;
        }
        let synced = get("appendfsync").await.unwrap_or_default();
        if synced.iter().any(|synced| synced == "no") {
            found.push(Finding::danger(
                "appendfsync is no: a crash loses what the system had not yet written, often half a \
                 minute; set `appendfsync everysec` or `always`",
            ));
        } else if synced.iter().any(|synced| synced != "always") {
            found.push(Finding::note(
                "appendfsync is everysec: a crash loses up to a second of writes, so that a logout \
                 may come back; `appendfsync always` waits for the disk",
            ));
        }
    }
}

fn of_version(info: &str, found: &mut Vec<Finding>) {
    let (name, version, native) = match field(info, "valkey_version") {
        Some(version) => ("Valkey", version, NATIVE_VALKEY),
        None => ("Redis", field(info, "redis_version").unwrap_or_default(), NATIVE_REDIS),
    };
    found.push(Finding::note(format!("the server is {name} {version}")));
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let have = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    found.push(Finding::note(if have >= native {
        "the server can compare and set without a script (SET … IFEQ), which is cheaper".to_owned()
    } else {
        format!(
            "every update runs a Lua script; {name} {}.{} compares and sets without one \
             (SET … IFEQ), which is cheaper",
            native.0, native.1
        )
    }));
}

fn of_memory(info: &str, found: &mut Vec<Finding>) {
    let number = |name: &str| {
        field(info, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
    };
    let (most, policy) = (number("maxmemory"), field(info, "maxmemory_policy").unwrap_or_default());
    if most > 0 && policy != "noeviction" {
        found.push(Finding::danger(format!(
            "maxmemory-policy is {policy}: at maxmemory ({} MiB) the server drops live sessions, so \
             that users are logged out and revocations are forgotten; set `maxmemory-policy \
             noeviction`, or keep sessions on a server of their own",
            most / (1024 * 1024)
        )));
    }
    if most == 0 {
        found.push(Finding::note(
            "maxmemory is not set: the server takes memory until the system ends it; set it, with \
             `maxmemory-policy noeviction`",
        ));
    } else if number("used_memory") * 10 > most * 9 {
        found.push(Finding::danger(format!(
            "{} of {} MiB of memory are in use: soon the server evicts sessions or refuses logins; \
             raise `maxmemory`",
            number("used_memory") / (1024 * 1024),
            most / (1024 * 1024)
        )));
    }
    if number("evicted_keys") > 0 {
        found.push(Finding::danger(format!(
            "the server has evicted {} keys since it started; some of them may have been sessions",
            number("evicted_keys")
        )));
    }
}

fn of_replication(info: &str, found: &mut Vec<Finding>) {
    if field(info, "role") == Some("slave") {
        found.push(Finding::danger(
            "the server is a replica: it may lack acknowledged writes; name the primary, or use \
             redis+sentinel://",
        ));
    }
    match field(info, "connected_slaves") {
        None | Some("0") => {}
        Some(count) => found.push(Finding::note(format!(
            "{count} replicas follow asynchronously: a failover loses the last writes, so that a \
             logout may come back; `min-replicas-to-write 1` bounds that"
        ))),
    }
}
