//! The servers: what each needs, how it starts, and what tells the tests where it is.

use super::place::Place;
use super::record::Record;
use super::tree::{self, Tree};
use super::{memcached, redis, s3, sql};
use crate::{Result, command, install};
use std::path::Path;
use std::time::Instant;

/// A kind of server: what it needs, how it starts, and which variables tell the tests where it is.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// How the version begins that the tests' tables name it by.
    version: &'static str,
    /// Debian packages that bring what it needs.
    pub(super) packages: &'static [&'static str],
    /// Its programs, the server first.
    needs: &'static [Need],
    /// Set for the tests, in the order of the values that `start` answers.
    pub(super) variables: &'static [&'static str],
    /// Starts it and returns when it answers.
    start: fn(&Place) -> Result<Vec<String>>,
}

pub(super) enum Need {
    Program(&'static str),
    /// A program in a tree, where its packages need not be installed.
    Newer(&'static Tree, &'static str),
    Moto,
}
use Need::{Moto, Newer, Program};

pub(super) const SERVICES: &[Service] = &[
    Service {
        name: "postgres",
        version: "15",
        packages: &["postgresql"],
        needs: &[Program("postgres"), Program("initdb"), Program("psql")],
        variables: &["MOCHA_TEST_POSTGRES_URL"],
        start: sql::postgres,
    },
    Service {
        name: "mariadb",
        version: "10.11",
        packages: &["mariadb-server", "mariadb-client"],
        needs: &[Program("mariadbd"), Program("mariadb-install-db"), Program("mariadb")],
        variables: &["MOCHA_TEST_MYSQL_URL"],
        start: sql::mariadb,
    },
    Service {
        name: "postgres-17",
        version: "17",
        packages: &["mmdebstrap"],
        needs: &[Newer(&tree::TRIXIE, "postgres")],
        variables: &["MOCHA_TEST_POSTGRES_17_URL", "MOCHA_TEST_PGBOUNCER_URL"],
        start: sql::pgbouncer,
    },
    Service {
        name: "mysql",
        version: "9",
        packages: &["mmdebstrap"],
        needs: &[Newer(&tree::SID, "mysqld")],
        variables: &["MOCHA_TEST_MYSQL_9_URL"],
        start: sql::mysql,
    },
    Service {
        name: "valkey",
        version: "8.1",
        packages: &["mmdebstrap"],
        needs: &[Newer(&tree::TRIXIE, "valkey-server")],
        variables: &["MOCHA_TEST_VALKEY_URL"],
        start: redis::valkey,
    },
    Service {
        name: "redis",
        version: "7.0",
        // Tests stop and freeze servers of their own with `kill`.
        packages: &["redis-server", "procps"],
        needs: &[Program("redis-server"), Program("kill")],
        variables: &["MOCHA_TEST_REDIS_URL", "MOCHA_TEST_REDIS_SOCKET"],
        start: redis::plain,
    },
    Service {
        name: "redis-tls",
        version: "7.0",
        packages: &["redis-server", "openssl"],
        needs: &[Program("redis-server"), Program("redis-cli"), Program("openssl")],
        variables: &[
            "MOCHA_TEST_REDIS_TLS_URL",
            "MOCHA_TEST_REDIS_MTLS_URL",
            "MOCHA_TEST_REDIS_TLS_CA",
            "MOCHA_TEST_REDIS_TLS_CERT",
            "MOCHA_TEST_REDIS_TLS_KEY",
        ],
        start: redis::tls,
    },
    Service {
        name: "redis-cluster",
        version: "7.0",
        packages: &["redis-server"],
        needs: &[Program("redis-server")],
        variables: &["MOCHA_TEST_REDIS_CLUSTER_URL"],
        start: redis::cluster,
    },
    Service {
        name: "redis-sentinel",
        version: "7.0",
        packages: &["redis-server"],
        needs: &[Program("redis-server")],
        variables: &["MOCHA_TEST_REDIS_SENTINEL_URL"],
        start: redis::sentinel,
    },
    Service {
        name: "memcached",
        version: "1.6",
        packages: &["memcached", "procps"],
        needs: &[Program("memcached"), Program("kill")],
        variables: &["MOCHA_TEST_MEMCACHE_URL"],
        start: memcached::one,
    },
    Service {
        name: "memcached-three",
        version: "1.6",
        packages: &["memcached"],
        needs: &[Program("memcached")],
        variables: &["MOCHA_TEST_MEMCACHE_THREE_URL"],
        start: memcached::three,
    },
    Service {
        name: "s3",
        version: install::MOTO.version,
        packages: &["python3-venv"],
        needs: &[Moto],
        variables: &["MOCHA_TEST_S3_URL"],
        start: s3::open,
    },
    Service {
        name: "s3-signed",
        version: install::MOTO.version,
        packages: &["python3-venv"],
        needs: &[Moto],
        variables: &["MOCHA_TEST_S3_SIGNED_URL"],
        start: s3::signed,
    },
];

impl Service {
    /// What it needs and this machine hasn't.
    pub(super) fn lacks(&self) -> Vec<String> {
        let missing = |name: &str| command::find(name).is_none().then(|| name.to_owned());
        let lacks = |need: &Need| match need {
            Program(name) => missing(name),
            Newer(tree, _) => {
                if tree.is_there() {
                    None
                } else {
                    missing("mmdebstrap")
                }
            }
            Moto => install::python().is_none().then(|| "python3 with venv".to_owned()),
        };
        self.needs.iter().filter_map(lacks).collect()
    }

    /// Installs what goes into the cache and not onto the machine.
    pub(super) fn install(&self) -> Result {
        self.needs.iter().try_for_each(|need| match need {
            Program(_) => Ok(()),
            Newer(tree, _) => tree.install().map(drop),
            Moto => install::MOTO.program().map(drop),
        })
    }

    /// Starts it and returns its variables, each with its value.
    pub(super) fn start(&self, data: &Path, record: &Record) -> Result<Vec<(String, String)>> {
        self.started(data, record).map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn started(&self, data: &Path, record: &Record) -> Result<Vec<(String, String)>> {
        let begun = Instant::now();
        let tree = self
            .needs
            .iter()
            .find_map(|need| if let Newer(tree, _) = need { Some(tree) } else { None });
        let place =
            Place::new(data, self.name, record, tree.map(|tree| tree.install()).transpose()?)?;
        let version = self.found(&place)?;
        let values = (self.start)(&place)?;
        println!("{} {version} ready after {:.1} s", self.name, begun.elapsed().as_secs_f32());
        if values.len() != self.variables.len() {
            return Err(format!("{} values for {:?}", values.len(), self.variables).into());
        }
        Ok(self.variables.iter().map(|name| (*name).to_owned()).zip(values).collect())
    }

    /// The version of its server.
    fn found(&self, place: &Place) -> Result<String> {
        let Some(Program(name) | Newer(_, name)) = self.needs.first() else {
            return Ok(self.version.to_owned());
        };
        let found = command::version(&mut place.program(name)?)?;
        if !format!("{found}.").starts_with(&format!("{}.", self.version)) {
            let says =
                format!("the tests name it by version {}, and this is {found}", self.version);
            if super::in_ci() {
                return Err(says.into());
            }
            println!("NOTE: {}: {says}", self.name);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_variable_is_set_by_one_service() {
        let all: Vec<&str> =
            SERVICES.iter().flat_map(|service| service.variables).copied().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|name| name.starts_with("MOCHA_TEST_")));
    }
}
