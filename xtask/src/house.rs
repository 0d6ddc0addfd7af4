//! What each part of the workspace is, and what it may know: the one table behind `features` and
//! `tidy`; and what cargo knows about them.

use crate::{Result, command};
use cargo_metadata::{Metadata, Package};
use std::collections::BTreeSet;

/// The crate that users of everything depend on.
pub(crate) const FACADE: &str = "mocha-session";
pub(crate) const CORE: &str = "mocha-session-core";
const COMPAT: &str = "mocha-session-compat";

/// What a package of the workspace is. A package depends on lower ones only; see [`may_depend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    Core,
    /// What tests everywhere may use: the proof of stores, doubles of servers.
    Testing,
    /// A store, or a framework's layer: they see the core and never each other.
    Backend,
    Framework,
    Facade,
    /// Programs that know nothing of the library: servers for its tests.
    Tool,
    /// What stands on everything: the command line and the tests that cross crates.
    Top,
    /// This crate: it depends on tools alone, and nothing on it.
    Xtask,
}

const LAYERS: &[(&str, Layer)] = &[
    (CORE, Layer::Core),
    ("mocha-session-conformance", Layer::Testing),
    ("mocha-session-gcs-double", Layer::Testing),
    ("mocha-session-core-mutants", Layer::Testing),
    ("mocha-session-memory", Layer::Backend),
    ("mocha-session-redis", Layer::Backend),
    ("mocha-session-memcache", Layer::Backend),
    ("mocha-session-s3", Layer::Backend),
    ("mocha-session-gcs", Layer::Backend),
    ("mocha-session-sql", Layer::Backend),
    ("mocha-session-tower", Layer::Framework),
    ("mocha-session-actix", Layer::Framework),
    (COMPAT, Layer::Framework),
    (FACADE, Layer::Facade),
    ("mocha-session-servers", Layer::Tool),
    ("mocha-session-bench", Layer::Top),
    ("mocha-session-bridges", Layer::Top),
    ("mocha-session-browser", Layer::Top),
    ("mocha-session-docs", Layer::Top),
    ("mocha-session-fuzz-targets", Layer::Top),
    ("mocha-session-cli", Layer::Top),
    ("mocha-session-simulator", Layer::Top),
    ("mocha-session-simulator-planted", Layer::Top),
    ("mocha-session-tests", Layer::Top),
    ("xtask", Layer::Xtask),
];

/// A feature of the facade that is an engine or a framework.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) feature: &'static str,
    /// The crate of ours behind the feature.
    pub(crate) package: &'static str,
    /// The package whose presence in a build means that this engine's client, or this framework, is
    /// compiled.
    pub(crate) client: Option<&'static str>,
}

pub(crate) const ENGINES: &[Part] = &[
    part("memory", "mocha-session-memory", None),
    part("redis", "mocha-session-redis", Some("redis")),
    part("memcache", "mocha-session-memcache", Some("memcache")),
    part("s3", "mocha-session-s3", Some("aws-sdk-s3")),
    part("gcs", "mocha-session-gcs", Some("google-cloud-storage")),
    part("postgres", "mocha-session-sql", Some("sqlx-postgres")),
    part("mysql", "mocha-session-sql", Some("sqlx-mysql")),
    part("sqlite", "mocha-session-sql", Some("sqlx-sqlite")),
    part("sqlite-unbundled", "mocha-session-sql", Some("sqlx-sqlite")),
];

/// The feature `axum` is `tower` with extractors: it brings no package of its own.
pub(crate) const FRAMEWORKS: &[Part] = &[
    part("tower", "mocha-session-tower", Some("axum-core")),
    part("actix", "mocha-session-actix", Some("actix-web")),
];

/// Other session layers, which `mocha-session-compat` has stores for. Both versions of
/// tower-sessions have one name; actix-session brings its framework.
pub(crate) const ADAPTERS: &[Part] = &[
    part("tower-sessions-0_14", COMPAT, Some("tower-sessions-core")),
    part("tower-sessions-0_15", COMPAT, Some("tower-sessions-core")),
    part("actix-session-0_11", COMPAT, Some("actix-session")),
    part("actix-session-0_11", COMPAT, Some("actix-web")),
];

const fn part(feature: &'static str, package: &'static str, client: Option<&'static str>) -> Part {
    Part { feature, package, client }
}

/// Every engine, every framework, and every session layer that there is an adapter for.
pub(crate) fn parts() -> impl Iterator<Item = &'static Part> {
    ENGINES.iter().chain(FRAMEWORKS).chain(ADAPTERS)
}

/// The layer of a package; an error for one that has no place in the table yet.
pub(crate) fn layer(package: &str) -> Result<Layer> {
    let found = LAYERS.iter().find(|(name, _)| *name == package);
    found.map(|(_, layer)| *layer).ok_or_else(|| {
        format!("`{package}` has no place in the house: add it to LAYERS in xtask/src/house.rs")
            .into()
    })
}

/// Whether one part may depend on another, in its own code or for its tests alone.
///
/// core ← backends, frameworks, conformance ← facade ← cli, tests. Tests may use what is made for
/// tests, and a store under a framework; backends never see each other, not even there.
pub(crate) fn may_depend(from: Layer, on: Layer, for_tests: bool) -> bool {
    let own_code = match from {
        Layer::Core | Layer::Tool => false,
        Layer::Testing | Layer::Backend | Layer::Framework => on == Layer::Core,
        Layer::Facade => on < Layer::Facade,
        Layer::Top => on < Layer::Top,
        Layer::Xtask => on == Layer::Tool,
    };
    let tests = on == Layer::Testing || (from == Layer::Framework && on == Layer::Backend);
    own_code || (for_tests && !matches!(from, Layer::Xtask | Layer::Tool) && tests)
}

/// A package of the workspace.
pub(crate) fn package<'a>(workspace: &'a Metadata, name: &str) -> Result<&'a Package> {
    let found = workspace.packages.iter().find(|package| package.name == name);
    found.ok_or_else(|| {
        format!("the workspace has no package `{name}`; see xtask/src/house.rs").into()
    })
}

/// What a feature turns on, directly or through other features: features, `dep:crate`,
/// `crate/feature`.
pub(crate) fn reach<'a>(package: &'a Package, feature: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![feature];
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(package.features.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

/// Whether a feature compiles this dependency in. `crate?/feature` alone doesn't.
fn enables(package: &Package, feature: &str, dependency: &str) -> bool {
    reach(package, feature).into_iter().any(|reached| {
        let in_it = || reached.split_once('/').map(|(name, _)| name);
        reached.strip_prefix("dep:").or_else(in_it) == Some(dependency)
    })
}

/// The facade's features that are engines, as its manifest has them: those that compile a backend
/// in by themselves, not through another feature that does (`all = ["redis", …]` is no engine).
pub(crate) fn engine_features<'a>(facade: &'a Package, workspace: &Metadata) -> Vec<&'a str> {
    let compiles = |feature: &str| {
        let mut names = workspace.packages.iter().map(|package| package.name.as_str());
        names.any(|it| layer(it).ok() == Some(Layer::Backend) && enables(facade, feature, it))
    };
    let features = &facade.features;
    let by_another = |on: &[String]| on.iter().any(|it| features.contains_key(it) && compiles(it));
    let engines = features.iter().filter(|(feature, on)| compiles(feature) && !by_another(on));
    engines.map(|(feature, _)| feature.as_str()).collect()
}

/// The names of all packages that are compiled into a build with these arguments, for this machine,
/// tests left out.
pub(crate) fn tree(words: &str) -> Result<BTreeSet<String>> {
    let mut cargo = command::cargo("tree --edges normal,build --prefix none --format {p}");
    let text = command::read(cargo.args(words.split_whitespace()))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn dependencies_point_one_way() {
        use Layer::{Backend, Core, Facade, Framework, Testing, Tool, Top, Xtask};
        for (from, on) in [
            (Backend, Core),
            (Framework, Core),
            (Facade, Backend),
            (Facade, Framework),
            (Top, Facade),
            (Top, Tool),
            (Xtask, Tool),
        ] {
            assert!(may_depend(from, on, false), "{from:?} → {on:?}");
            assert!(!may_depend(on, from, false), "{on:?} → {from:?}");
        }
        for (from, on) in
            [(Backend, Backend), (Backend, Framework), (Core, Backend), (Xtask, Core), (Top, Xtask)]
        {
            assert!(!may_depend(from, on, true), "{from:?} → {on:?}");
        }
        assert!(!may_depend(Backend, Testing, false) && may_depend(Backend, Testing, true));
        assert!(may_depend(Framework, Backend, true) && !may_depend(Framework, Backend, false));
        assert!(!may_depend(Top, Top, false) && !may_depend(Tool, Core, true));
    }

    #[test]
    fn every_engine_and_framework_has_a_crate_with_a_place() {
        for engine in ENGINES {
            assert_eq!(layer(engine.package).unwrap(), Layer::Backend, "{engine:?}");
        }
        for framework in FRAMEWORKS.iter().chain(ADAPTERS) {
            assert_eq!(layer(framework.package).unwrap(), Layer::Framework, "{framework:?}");
        }
        assert!(layer("stranger").unwrap_err().to_string().contains("house.rs"));
    }

    #[test]
    fn a_feature_reaches_what_it_names_and_what_that_names() {
        let workspace = command::workspace().unwrap();
        let mut shop = package(&workspace, FACADE).unwrap().clone();
        shop.features = [
            ("all", &["till", "bags"][..]),
            ("till", &["dep:drawer", "drawer/coins"]),
            ("bags", &["drawer?/paper"]),
            ("safe", &["drawer/lock"]),
        ]
        .map(|(name, on)| (name.to_owned(), on.iter().map(ToString::to_string).collect()))
        .into();
        assert!(reach(&shop, "all").contains("dep:drawer"));
        assert!(["all", "till", "safe"].iter().all(|feature| enables(&shop, feature, "drawer")));
        assert!(!enables(&shop, "bags", "drawer"), "a weak feature compiles nothing in");
        assert!(!enables(&shop, "till", "draw"));
        assert!(package(&workspace, "other").is_err());
    }

    #[test]
    fn the_tree_of_this_crate_holds_its_dependency() {
        let names = tree("--package xtask").unwrap();
        assert!(names.contains("xtask") && names.contains("cargo_metadata"), "{names:?}");
    }
}
