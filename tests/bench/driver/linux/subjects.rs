//! The one table of what is measured: groups, their subjects, and which program holds each.

/// The workloads, in the order of the tables' columns.
pub(crate) const WORKLOADS: &[&str] = &["W1", "W2", "W3", "W4", "W5", "W5L", "W6", "F"];

/// What the columns mean, for those who read the tables alone.
pub(crate) const LEGEND: &str = "W1: no cookie, session untouched. W2: cookie, untouched. W3: one value read. \
    W4: a counter read, incremented, written. W5: a new session filled. W5L: the same through a login, indexed by \
    owner. W6: the id rotated. F: a flash message pushed, redirected, read, consumed (two requests).";

/// Where the sessions of a group live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    Memory,
    Cookie,
    Redis,
    Sqlite,
    Postgres,
}

impl Engine {
    /// Whether a server is on the other side of a connection.
    pub(crate) fn has_server(self) -> bool {
        matches!(self, Self::Redis | Self::Postgres)
    }

    /// The name of its service and the variable that says where it is.
    pub(crate) fn service(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Redis => Some(("redis", "MOCHA_TEST_REDIS_URL")),
            Self::Postgres => Some(("postgres", "MOCHA_TEST_POSTGRES_URL")),
            Self::Memory | Self::Cookie | Self::Sqlite => None,
        }
    }
}

/// The programs that hold subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    Peers,
}

impl Program {
    /// The name of the binary; beside it lies one whose allocator counts, `-counted`.
    pub(crate) fn binary(self) -> &'static str {
        match self {
            Self::Ours => "bench-ours",
            Self::Peers => "bench-peers",
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    pub(crate) engine: Engine,
}

impl Subject {
    /// Whether it is another library, and no bare handler.
    pub(crate) fn is_peer(&self) -> bool {
        self.program == Program::Peers && !self.name.ends_with("floor")
    }

    /// Whether it keeps sessions in its own memory, so that their size can be weighed.
    pub(crate) fn has_heap(&self) -> bool {
        self.engine == Engine::Memory && !self.name.ends_with("floor") && self.name != "empty-layer"
    }
}

/// Subjects that are compared with one another, and which of them is ours.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) engine: Engine,
    pub(crate) ours: &'static str,
    pub(crate) subjects: &'static [Subject],
}

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "memory",
        engine: Engine::Memory,
        ours: "ours-memory",
        subjects: &[
            ours("floor", Engine::Memory),
            ours("empty-layer", Engine::Memory),
            ours("ideal-memory", Engine::Memory),
            ours("ours-memory", Engine::Memory),
            peer("tower-sessions-memory", Engine::Memory),
            peer("axum-session-memory", Engine::Memory),
            peer("actix-floor", Engine::Memory),
        ],
    },
    Group {
        name: "cookie",
        engine: Engine::Cookie,
        ours: "ours-cookie",
        subjects: &[ours("ours-cookie", Engine::Cookie), peer("actix-cookie", Engine::Cookie)],
    },
    Group {
        name: "redis",
        engine: Engine::Redis,
        ours: "ours-redis",
        subjects: &[
            ours("ideal-redis", Engine::Redis),
            ours("ours-redis", Engine::Redis),
            peer("tower-sessions-redis", Engine::Redis),
            peer("axum-session-redis", Engine::Redis),
            peer("actix-redis", Engine::Redis),
        ],
    },
    Group {
        name: "sqlite",
        engine: Engine::Sqlite,
        ours: "ours-sqlite",
        subjects: &[
            ours("ours-sqlite", Engine::Sqlite),
            peer("tower-sessions-sqlite", Engine::Sqlite),
        ],
    },
    Group {
        name: "postgres",
        engine: Engine::Postgres,
        ours: "ours-postgres",
        subjects: &[
            ours("ours-postgres", Engine::Postgres),
            peer("tower-sessions-postgres", Engine::Postgres),
        ],
    },
];

/// The subjects whose figures are written down and held.
pub(crate) const HELD: &[&str] = &["floor", "empty-layer", "ours-memory", "ours-cookie"];

pub(crate) fn subject(name: &str) -> Option<&'static Subject> {
    GROUPS.iter().flat_map(|group| group.subjects).find(|subject| subject.name == name)
}

const fn ours(name: &'static str, engine: Engine) -> Subject {
    Subject { name, program: Program::Ours, engine }
}

const fn peer(name: &'static str, engine: Engine) -> Subject {
    Subject { name, program: Program::Peers, engine }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_subject_has_one_name_and_its_groups_engine() {
        let all: Vec<&Subject> = GROUPS.iter().flat_map(|group| group.subjects).collect();
        assert_eq!(
            all.iter().map(|subject| subject.name).collect::<BTreeSet<_>>().len(),
            all.len()
        );
        for group in GROUPS {
            assert!(
                group.subjects.iter().all(|subject| subject.engine == group.engine),
                "{}",
                group.name
            );
            assert_eq!(subject(group.ours).unwrap().program, Program::Ours);
        }
        assert!(HELD.iter().all(|name| subject(name).is_some()));
    }
}
