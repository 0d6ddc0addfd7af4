//! Proves what each crate and each feature pulls in: someone who wants one engine compiles one engine.

use crate::house::{self, CORE, ENGINES, Engine, FACADE, Layer};
use crate::metadata::{Workspace, tree};
use crate::{Result, command};
use std::collections::BTreeSet;

/// What would mean that the core talks to the network, knows a framework, or carries TLS.
const NOT_IN_CORE: &[&str] = &[
    "actix-web",
    "axum",
    "http",
    "http-body",
    "hyper",
    "mio",
    "native-tls",
    "reqwest",
    "rustls",
    "socket2",
    "tonic",
    "tower",
];
/// TLS and its cryptography come from one place, aws-lc-rs: with a second provider in the build rustls picks none, or
/// sqlx picks the wrong one in silence, and OpenSSL would need its headers on every machine that builds us.
const NOT_ANYWHERE: &[&str] = &["native-tls", "openssl-sys", "ring"];

/// Checks all claims, then that each feature of the facade compiles by itself.
pub(crate) fn run() -> Result {
    let workspace = Workspace::read()?;
    let mut wrong = Vec::new();
    core_is_pure(&mut wrong)?;
    backends_stand_alone(&workspace, &mut wrong)?;
    facade_pulls_what_is_asked_for(&workspace, &mut wrong)?;
    one_crypto_stack(&mut wrong)?;
    sqlite_is_compiled_where_it_is_asked_for(&mut wrong)?;
    if !wrong.is_empty() {
        return Err(wrong.join("\n       ").into());
    }
    println!("features: the trees of dependencies are as claimed");
    every_feature_compiles(&workspace)
}

fn core_is_pure(wrong: &mut Vec<String>) -> Result {
    let names = tree(&["--package", CORE, "--all-features"])?;
    let found = NOT_IN_CORE.iter().filter(|name| names.contains(**name));
    wrong.extend(
        found.map(|name| format!("{CORE} pulls in {name}: it must know no network and no framework")),
    );
    Ok(())
}

/// Each backend, with all it can do, compiles its own client and no other engine's; each of its engines, alone, too.
fn backends_stand_alone(workspace: &Workspace, wrong: &mut Vec<String>) -> Result {
    for backend in &workspace.packages {
        if house::layer(&backend.name)? != Layer::Backend {
            continue;
        }
        let own: Vec<&Engine> = ENGINES.iter().filter(|engine| engine.backend == backend.name).collect();
        compare(&backend.name, &tree(&["--package", &backend.name, "--all-features"])?, &own, &[], wrong);
        for engine in own.iter().filter(|engine| backend.features.contains_key(engine.feature)) {
            let names =
                tree(&["--package", &backend.name, "--no-default-features", "--features", engine.feature])?;
            let what = format!("{} with `{}` alone", backend.name, engine.feature);
            compare(&what, &names, &[engine], &[engine], wrong);
        }
    }
    Ok(())
}

fn facade_pulls_what_is_asked_for(workspace: &Workspace, wrong: &mut Vec<String>) -> Result {
    let facade = workspace.package(FACADE)?;
    compare(&format!("{FACADE} by default"), &tree(&["--package", FACADE])?, &[], &[], wrong);
    for feature in facade.features.keys().filter(|feature| *feature != "default") {
        let names = tree(&["--package", FACADE, "--no-default-features", "--features", feature])?;
        let reached = facade.reach(feature);
        let asked: Vec<&Engine> = ENGINES.iter().filter(|engine| reached.contains(engine.feature)).collect();
        compare(&format!("{FACADE} with `{feature}` alone"), &names, &asked, &asked, wrong);
    }
    Ok(())
}

/// Complains about clients in a build that are not of the engines it may have, and about those it must have and hasn't.
fn compare(what: &str, names: &BTreeSet<String>, may: &[&Engine], must: &[&Engine], wrong: &mut Vec<String>) {
    let clients = |engines: &[&Engine]| engines.iter().filter_map(|engine| engine.client).collect::<Vec<_>>();
    let (may, must) = (clients(may), clients(must));
    for client in ENGINES.iter().filter_map(|engine| engine.client) {
        match (names.contains(client), may.contains(&client), must.contains(&client)) {
            (true, false, _) => wrong.push(format!("{what} compiles {client}, another engine's client")),
            (false, _, true) => wrong.push(format!("{what} doesn't compile {client}, its engine's client")),
            _ => {}
        }
    }
}

fn one_crypto_stack(wrong: &mut Vec<String>) -> Result {
    let names = tree(&["--workspace", "--all-features"])?;
    for name in NOT_ANYWHERE.iter().filter(|name| names.contains(**name)) {
        let why = command::read(&mut command::cargo(&[
            "tree",
            "--workspace",
            "--all-features",
            "--depth",
            "3",
            "--invert",
            name,
        ]))?;
        wrong.push(format!("{name} is in the build; TLS and cryptography come from aws-lc-rs alone:\n{why}"));
    }
    Ok(())
}

/// `sqlite` compiles SQLite from its source, `sqlite-unbundled` uses the system's library and no C
/// compiler.
fn sqlite_is_compiled_where_it_is_asked_for(wrong: &mut Vec<String>) -> Result {
    for (feature, compiled) in [("sqlite", true), ("sqlite-unbundled", false)] {
        let names =
            tree(&["--package", FACADE, "--no-default-features", "--features", feature, "--invert", "cc"])?;
        if names.contains("libsqlite3-sys") != compiled {
            wrong.push(format!(
                "{FACADE} with `{feature}` alone: whether it compiles SQLite must be {compiled}"
            ));
        }
    }
    Ok(())
}

/// Engines whose clients take minutes to build anew for each set of features: cargo gives their dependencies other
/// features in each set. All features together are checked by clippy, and what these pull in alone is proven above.
const HEAVY: &[&str] = &["gcs", "s3", "s3-default-credentials"];

/// No feature needs another one to compile: none, and each alone.
fn every_feature_compiles(workspace: &Workspace) -> Result {
    let mut sets = vec![vec!["--no-default-features"]];
    let features = workspace.package(FACADE)?.features.keys().filter(|feature| *feature != "default");
    let (heavy, light): (Vec<_>, Vec<_>) = features.partition(|feature| HEAVY.contains(&feature.as_str()));
    println!("features: left to clippy, for they take minutes alone: {heavy:?}");
    sets.extend(light.into_iter().map(|feature| vec!["--no-default-features", "--features", feature]));
    for set in sets {
        println!("features: checking {FACADE} {}", set.join(" "));
        command::run(command::cargo(&["check", "--quiet", "--package", FACADE]).args(&set))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(names: &[&str], may: &[&Engine], must: &[&Engine]) -> Vec<String> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let mut wrong = Vec::new();
        compare("it", &names, may, must, &mut wrong);
        wrong
    }

    #[test]
    fn a_foreign_client_and_a_missing_one_are_named() {
        let redis = Engine { feature: "redis", backend: "mocha-session-redis", client: Some("redis") };
        assert_eq!(complaints(&["tokio"], &[], &[]), Vec::<String>::new());
        assert_eq!(complaints(&["redis"], &[&redis], &[&redis]), Vec::<String>::new());
        assert_eq!(complaints(&["redis", "sqlx-mysql"], &[&redis], &[]).len(), 1);
        assert!(complaints(&["tokio"], &[&redis], &[&redis])[0].contains("doesn't compile redis"));
        assert!(complaints(&["redis"], &[], &[])[0].contains("compiles redis"));
    }

    #[test]
    fn what_the_core_must_not_pull_in_is_looked_for_by_its_real_name() {
        let mut wrong = Vec::new();
        assert!(core_is_pure(&mut wrong).is_ok());
        assert_eq!(wrong, Vec::<String>::new());
    }
}
