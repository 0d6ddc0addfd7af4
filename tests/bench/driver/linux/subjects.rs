//! The one table of what is measured: subjects, their engines, and which program holds each.

/// Where sessions live. The subjects of one engine are compared with one another.
pub(crate) type Engine = &'static str;

pub(crate) const ENGINES: [Engine; 5] = ["memory", "cookie", "redis", "sqlite", "postgres"];

/// Those with a server on the other side of a connection, and the variable that says where it is.
pub(crate) const SERVERS: [(Engine, &str); 2] =
    [("redis", "MOCHA_TEST_REDIS_URL"), ("postgres", "MOCHA_TEST_POSTGRES_URL")];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// Whether the program of the other libraries holds it.
    pub(crate) theirs: bool,
    pub(crate) engine: Engine,
}

impl Subject {
    /// Whether it keeps sessions in its own memory, so that their size can be weighed.
    pub(crate) fn has_heap(&self) -> bool {
        self.name.ends_with("-memory")
    }
}

pub(crate) const SUBJECTS: &[Subject] = &[
    ours("floor", "memory"),
    ours("empty-layer", "memory"),
    ours("ideal-memory", "memory"),
    ours("ours-memory", "memory"),
    theirs("tower-sessions-memory", "memory"),
    theirs("axum-session-memory", "memory"),
    theirs("actix-floor", "memory"),
    ours("ours-cookie", "cookie"),
    theirs("actix-cookie", "cookie"),
    ours("ideal-redis", "redis"),
    ours("ours-redis", "redis"),
    theirs("tower-sessions-redis", "redis"),
    theirs("axum-session-redis", "redis"),
    theirs("actix-redis", "redis"),
    ours("ours-sqlite", "sqlite"),
    theirs("tower-sessions-sqlite", "sqlite"),
    ours("ours-postgres", "postgres"),
    theirs("tower-sessions-postgres", "postgres"),
];

/// The subjects whose figures are written down and held.
pub(crate) const HELD: [&str; 4] = ["floor", "empty-layer", "ours-memory", "ours-cookie"];

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

/// The subject of an engine that is ours.
pub(crate) fn ours_on(engine: Engine) -> String {
    format!("ours-{engine}")
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
        assert!(SUBJECTS.iter().all(|subject| ENGINES.contains(&subject.engine)));
        for engine in ENGINES {
            let ours = subject(&ours_on(engine)).unwrap();
            assert!(ours.engine == engine && !ours.theirs);
        }
        assert!(HELD.iter().all(|name| subject(name).is_some()));
    }
}
