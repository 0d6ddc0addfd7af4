//! The one table of what is measured: subjects, their engines, and which program holds each.

/// What the columns mean, for those who read the tables alone.
pub(crate) const LEGEND: &str = "W1: no cookie, session untouched. W2: cookie, untouched. W3: one value read. \
    W4: a counter read, incremented, written. W5: a new session filled. W5L: the same through a login, indexed by \
    owner. W6: the id rotated. F: a flash message pushed, redirected, read, consumed (two requests).";

/// Where sessions live. The subjects of one engine are compared with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    Memory,
    Cookie,
    Redis,
    Sqlite,
    Postgres,
}

impl Engine {
    pub(crate) const ALL: [Self; 5] =
        [Self::Memory, Self::Cookie, Self::Redis, Self::Sqlite, Self::Postgres];

    pub(crate) fn name(self) -> &'static str {
        self.ours().trim_start_matches("ours-")
    }

    /// The subject that is ours.
    pub(crate) fn ours(self) -> &'static str {
        match self {
            Self::Memory => "ours-memory",
            Self::Cookie => "ours-cookie",
            Self::Redis => "ours-redis",
            Self::Sqlite => "ours-sqlite",
            Self::Postgres => "ours-postgres",
        }
    }

    /// The variable that says where its server is, whose name is the engine's.
    pub(crate) fn variable(self) -> Option<&'static str> {
        match self {
            Self::Redis => Some("MOCHA_TEST_REDIS_URL"),
            Self::Postgres => Some("MOCHA_TEST_POSTGRES_URL"),
            Self::Memory | Self::Cookie | Self::Sqlite => None,
        }
    }

    /// Whether a server is on the other side of a connection.
    pub(crate) fn has_server(self) -> bool {
        self.variable().is_some()
    }

    pub(crate) fn subjects(self) -> impl Iterator<Item = &'static Subject> {
        SUBJECTS.iter().filter(move |subject| subject.engine == self)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Whether the program of the other libraries holds it.
    pub(crate) theirs: bool,
    pub(crate) engine: Engine,
}

impl Subject {
    /// Whether it is another library, and no bare handler.
    pub(crate) fn is_peer(&self) -> bool {
        self.theirs && !self.name.ends_with("floor")
    }

    /// Whether it keeps sessions in its own memory, so that their size can be weighed.
    pub(crate) fn has_heap(&self) -> bool {
        self.engine == Engine::Memory && !self.name.ends_with("floor") && self.name != "empty-layer"
    }
}

pub(crate) const SUBJECTS: &[Subject] = &[
    ours("floor", Engine::Memory),
    ours("empty-layer", Engine::Memory),
    ours("ideal-memory", Engine::Memory),
    ours("ours-memory", Engine::Memory),
    theirs("tower-sessions-memory", Engine::Memory),
    theirs("axum-session-memory", Engine::Memory),
    theirs("actix-floor", Engine::Memory),
    ours("ours-cookie", Engine::Cookie),
    theirs("actix-cookie", Engine::Cookie),
    ours("ideal-redis", Engine::Redis),
    ours("ours-redis", Engine::Redis),
    theirs("tower-sessions-redis", Engine::Redis),
    theirs("axum-session-redis", Engine::Redis),
    theirs("actix-redis", Engine::Redis),
    ours("ours-sqlite", Engine::Sqlite),
    theirs("tower-sessions-sqlite", Engine::Sqlite),
    ours("ours-postgres", Engine::Postgres),
    theirs("tower-sessions-postgres", Engine::Postgres),
];

/// The subjects whose figures are written down and held.
pub(crate) const HELD: &[&str] = &["floor", "empty-layer", "ours-memory", "ours-cookie"];

const fn ours(name: &'static str, engine: Engine) -> Subject {
    Subject { name, theirs: false, engine }
}

const fn theirs(name: &'static str, engine: Engine) -> Subject {
    Subject { name, theirs: true, engine }
}

/// The subject of a name.
pub(crate) fn subject(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_subject_has_one_name_and_every_engine_ours() {
        let names: BTreeSet<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
        assert_eq!(names.len(), SUBJECTS.len());
        for engine in Engine::ALL {
            let ours = subject(engine.ours()).unwrap();
            assert!(ours.engine == engine && !ours.theirs);
        }
        assert!(HELD.iter().all(|name| subject(name).is_some()));
    }
}
