//! The one table of what is measured: subjects, their engines, and which program holds each.

/// Where sessions live. The subjects of one engine are compared with one another.
pub(crate) type Engine = &'static str;

pub(crate) const ENGINES: [Engine; 7] =
    ["memory", "cookie", "redis", "valkey", "sqlite", "postgres", FAR];

/// An engine whose answers are delayed, as if it were far away. Only reads are measured there, in
/// one task, because everything else would measure the test double and the delay.
pub(crate) const FAR: Engine = "s3";

/// Those with a server on the other side of a connection, and the variable that says where it is.
pub(crate) const SERVERS: [(Engine, &str); 4] = [
    ("redis", "MOCHA_TEST_REDIS_URL"),
    ("valkey", "MOCHA_TEST_VALKEY_URL"),
    ("postgres", "MOCHA_TEST_POSTGRES_URL"),
    (FAR, "MOCHA_TEST_S3_URL"),
];

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
        self.engine == "memory" && self.name.ends_with("-memory")
    }
}

pub(crate) const SUBJECTS: &[Subject] = &[
    ours("floor", "memory"),
    ours("empty-layer", "memory"),
    ours("ideal-memory", "memory"),
    ours("ours-memory", "memory"),
    ours("ours-observed-memory", "memory"),
    ours("ours-header-memory", "memory"),
    theirs("tower-sessions-memory", "memory"),
    theirs("axum-session-memory", "memory"),
    theirs("actix-floor", "memory"),
    ours("ours-actix-memory", "memory"),
    ours("ours-cookie", "cookie"),
    ours("ours-actix-cookie", "cookie"),
    theirs("actix-cookie", "cookie"),
    ours("ideal-redis", "redis"),
    ours("ours-redis", "redis"),
    ours("ours-near-redis", "redis"),
    // For the ratio to it: measured in turn with the one that reads from memory.
    ours("beside-redis-memory", "redis"),
    theirs("tower-sessions-redis", "redis"),
    theirs("axum-session-redis", "redis"),
    ours("ours-actix-redis", "redis"),
    theirs("actix-redis", "redis"),
    ours("ideal-valkey", "valkey"),
    ours("ours-valkey", "valkey"),
    theirs("tower-sessions-valkey", "valkey"),
    ours("ours-actix-valkey", "valkey"),
    theirs("actix-valkey", "valkey"),
    ours("ours-sqlite", "sqlite"),
    theirs("tower-sessions-sqlite", "sqlite"),
    ours("ours-postgres", "postgres"),
    theirs("tower-sessions-postgres", "postgres"),
    ours("ours-s3", FAR),
    ours("ours-near-s3", FAR),
];

/// The subjects whose instructions and allocations are written down and held.
pub(crate) const HELD: [&str; 4] = ["floor", "empty-layer", "ours-memory", "ours-cookie"];

/// The subjects whose round trips are.
pub(crate) const HELD_TRIPS: [&str; 2] = ["ours-redis", "ours-near-redis"];

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

/// The subject of ours that another library is compared with: on its framework, where it is
/// measured there.
pub(crate) fn ours_beside(other: &Subject) -> String {
    let framework = if other.name.starts_with("actix-") { "actix-" } else { "" };
    format!("ours-{framework}{}", other.engine)
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
        let others = SUBJECTS.iter().filter(|other| other.theirs);
        assert!(others.map(ours_beside).all(|name| subject(&name).is_some()));
        assert!(HELD.iter().chain(&HELD_TRIPS).all(|name| subject(name).is_some()));
    }
}
