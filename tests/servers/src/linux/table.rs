//! The table of servers: their requirements, their start, and the variables that tell the tests
//! their URLs.

use super::place::Place;
use super::record::Record;
use super::tree::{SID, TRIXIE, Tree};
use super::{chromium, memcached, redis, s3, sql};
use crate::{Result, command, install};
use std::path::Path;
use std::time::Instant;

/// A kind of server. Lists are words, separated by spaces.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// The prefix of its version, as in the names of the tests' tables; empty for others.
    version: &'static str,
    /// The source of its programs.
    from: From,
    /// The programs, the server first. Empty if the version is known without asking.
    programs: &'static str,
    /// The variables for the tests, in the order of the values that `start` returns.
    variables: &'static str,
    /// Starts it and returns when it answers.
    start: Start,
}

enum From {
    /// Debian packages to install on the machine.
    Machine(&'static str),
    /// Packages that are unpacked without installing them.
    Newer(&'static Tree),
    /// Python packages.
    Moto,
}
use From::{Machine, Moto, Newer};

type Start = fn(&Place) -> Result<Vec<String>>;

const fn service(
    (name, version): (&'static str, &'static str),
    from: From,
    programs: &'static str,
    variables: &'static str,
    start: Start,
) -> Service {
    Service { name, version, from, programs, variables, start }
}

#[rustfmt::skip]
pub(super) const SERVICES: &[Service] = &[
    service(("postgres", "15"), Machine("postgresql"), "postgres initdb psql",
        "MOCHA_TEST_POSTGRES_URL", sql::postgres),
    service(("mariadb", "10.11"), Machine("mariadb-server mariadb-client"),
        "mariadbd mariadb-install-db mariadb", "MOCHA_TEST_MYSQL_URL", sql::mariadb),
    service(("postgres-17", "17"), Newer(&TRIXIE), "postgres",
        "MOCHA_TEST_POSTGRES_17_URL MOCHA_TEST_PGBOUNCER_URL", sql::pgbouncer),
    service(("mysql", "9"), Newer(&SID), "mysqld", "MOCHA_TEST_MYSQL_9_URL", sql::mysql),
    service(("valkey", "8.1"), Newer(&TRIXIE), "valkey-server",
        "MOCHA_TEST_VALKEY_URL", redis::valkey),
    // Tests stop and freeze their own servers with `kill`, which is in procps.
    service(("redis", "7.0"), Machine("redis-server procps"), "redis-server kill",
        "MOCHA_TEST_REDIS_URL MOCHA_TEST_REDIS_SOCKET", redis::plain),
    service(("redis-tls", "7.0"), Machine("redis-server openssl"), "redis-server redis-cli openssl",
        "MOCHA_TEST_REDIS_TLS_URL MOCHA_TEST_REDIS_MTLS_URL MOCHA_TEST_REDIS_TLS_CA \
         MOCHA_TEST_REDIS_TLS_CERT MOCHA_TEST_REDIS_TLS_KEY", redis::tls),
    service(("redis-cluster", "7.0"), Machine("redis-server"), "redis-server",
        "MOCHA_TEST_REDIS_CLUSTER_URL", redis::cluster),
    service(("redis-sentinel", "7.0"), Machine("redis-server"), "redis-server",
        "MOCHA_TEST_REDIS_SENTINEL_URL", redis::sentinel),
    service(("memcached", "1.6"), Machine("memcached procps"), "memcached kill",
        "MOCHA_TEST_MEMCACHE_URL", memcached::one),
    service(("memcached-three", "1.6"), Machine("memcached"), "memcached",
        "MOCHA_TEST_MEMCACHE_THREE_URL", memcached::three),
    service(("s3", install::MOTO.version), Moto, "", "MOCHA_TEST_S3_URL", s3::open),
    service(("s3-signed", install::MOTO.version), Moto, "",
        "MOCHA_TEST_S3_SIGNED_URL", s3::signed),
    // Debian's stable release takes every new version of it.
    service(("chromium", ""), Machine("chromium chromium-driver openssl"),
        "chromedriver chromium openssl",
        "MOCHA_TEST_WEBDRIVER_URL MOCHA_TEST_SITE_CERT MOCHA_TEST_SITE_KEY", chromium::driver),
];

impl Service {
    pub(super) fn variables(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.variables.split_whitespace()
    }

    /// Returns the Debian packages that it needs.
    pub(super) fn packages(&self) -> impl Iterator<Item = &'static str> + use<> {
        let packages = match self.from {
            Machine(packages) => packages,
            Newer(_) => "mmdebstrap",
            Moto => "python3-venv",
        };
        packages.split_whitespace()
    }

    /// Returns the requirements that this machine lacks.
    pub(super) fn lacks(&self) -> Vec<String> {
        let missing = |words: &str| -> Vec<String> {
            let words = words.split_whitespace().filter(|name| command::find(name).is_none());
            words.map(str::to_owned).collect()
        };
        match self.from {
            Machine(_) => missing(self.programs),
            Newer(tree) if !tree.is_there() => missing("mmdebstrap"),
            Moto if install::python().is_none() => vec!["python3 with venv".to_owned()],
            Newer(_) | Moto => Vec::new(),
        }
    }

    /// Installs the software that belongs in the cache and not on the machine.
    pub(super) fn install(&self) -> Result {
        match self.from {
            Machine(_) => Ok(()),
            Newer(tree) => tree.install().map(drop),
            Moto => install::MOTO.program().map(drop),
        }
    }

    /// Starts it and returns its variables, each with its value.
    pub(super) fn start(&self, data: &Path, record: &Record) -> Result<Vec<(String, String)>> {
        self.started(data, record).map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn started(&self, data: &Path, record: &Record) -> Result<Vec<(String, String)>> {
        let begun = Instant::now();
        let tree = if let Newer(tree) = self.from { Some(tree.install()?) } else { None };
        let place = Place::new(data, self.name, record, tree)?;
        let version = self.found(&place)?;
        let values = (self.start)(&place)?;
        println!("{} {version} ready after {:.1} s", self.name, begun.elapsed().as_secs_f32());
        if values.len() != self.variables().count() {
            return Err(format!("{} values for {}", values.len(), self.variables).into());
        }
        Ok(self.variables().map(str::to_owned).zip(values).collect())
    }

    /// Returns the version of its server.
    fn found(&self, place: &Place) -> Result<String> {
        let Some(name) = self.programs.split_whitespace().next() else {
            return Ok(self.version.to_owned());
        };
        let found = command::version(&mut place.program(name)?)?;
        if !self.version.is_empty()
            && !format!("{found}.").starts_with(&format!("{}.", self.version))
        {
            let says =
                format!("the tests name it by version {}, and this is {found}", self.version);
            if crate::in_ci() {
                return Err(says.into());
            }
            println!("NOTE: {}: {says}", self.name);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_variable_is_set_by_one_service() {
        let all: Vec<&str> = SERVICES.iter().flat_map(Service::variables).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|name| name.starts_with("MOCHA_TEST_")));
    }
}
