//! Proves what each crate and each feature pulls in: someone who wants one engine or one framework
//! compiles that one.

use crate::house::{self, CORE, FACADE, Layer, Part, parts};
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
/// TLS and its cryptography come from one place, aws-lc-rs: with a second provider in the build
/// rustls picks none, or sqlx picks the wrong one in silence, and OpenSSL would need its headers on
/// every machine that builds us.
const NOT_ANYWHERE: &[&str] = &["native-tls", "openssl-sys", "ring"];

/// Checks all claims, then that each feature of the facade compiles by itself.
pub(crate) fn run() -> Result {
    let workspace = Workspace::read()?;
    let mut wrong = Vec::new();
    core_is_pure(&mut wrong)?;
    crates_stand_alone(&workspace, &mut wrong)?;
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
        found.map(|name| {
            format!("{CORE} pulls in {name}: it must know no network and no framework")
        }),
    );
    Ok(())
}

/// Each backend and framework crate, with all it can do, compiles its own client and no other
/// part's; each of its engines, alone, too.
fn crates_stand_alone(workspace: &Workspace, wrong: &mut Vec<String>) -> Result {
    for package in &workspace.packages {
        if !matches!(house::layer(&package.name)?, Layer::Backend | Layer::Framework) {
            continue;
        }
        let own: Vec<&Part> = parts().filter(|part| part.package == package.name).collect();
        compare(
            &package.name,
            &tree(&["--package", &package.name, "--all-features"])?,
            &own,
            &[],
            wrong,
        );
        for part in own.iter().filter(|part| package.features.contains_key(part.feature)) {
            let names = tree(&[
                "--package",
                &package.name,
                "--no-default-features",
                "--features",
                part.feature,
            ])?;
            let what = format!("{} with `{}` alone", package.name, part.feature);
            let its: Vec<_> =
                own.iter().filter(|other| other.feature == part.feature).copied().collect();
            compare(&what, &names, &its, &its, wrong);
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
        let asked: Vec<&Part> = parts().filter(|part| reached.contains(part.feature)).collect();
        compare(&format!("{FACADE} with `{feature}` alone"), &names, &asked, &asked, wrong);
    }
    Ok(())
}

/// Complains about clients in a build that are not of the parts it may have, and about those it
/// must have and hasn't.
fn compare(
    what: &str,
    names: &BTreeSet<String>,
    may: &[&Part],
    must: &[&Part],
    wrong: &mut Vec<String>,
) {
    let clients = |parts: &[&Part]| parts.iter().filter_map(|part| part.client).collect::<Vec<_>>();
    let (may, must) = (clients(may), clients(must));
    for client in parts().filter_map(|part| part.client) {
        match (names.contains(client), may.contains(&client), must.contains(&client)) {
            (true, false, _) => {
                wrong.push(format!("{what} compiles {client}, which another feature is for"))
            }
            (false, _, true) => {
                wrong.push(format!("{what} doesn't compile {client}, which it is for"))
            }
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
        wrong.push(format!(
            "{name} is in the build; TLS and cryptography come from aws-lc-rs alone:\n{why}"
        ));
    }
    Ok(())
}

/// `sqlite` compiles SQLite from its source, `sqlite-unbundled` uses the system's library and no C
/// compiler.
fn sqlite_is_compiled_where_it_is_asked_for(wrong: &mut Vec<String>) -> Result {
    for (feature, compiled) in [("sqlite", true), ("sqlite-unbundled", false)] {
        let names = tree(&[
            "--package",
            FACADE,
            "--no-default-features",
            "--features",
            feature,
            "--invert",
            "cc",
        ])?;
        if names.contains("libsqlite3-sys") != compiled {
            wrong.push(format!(
                "{FACADE} with `{feature}` alone: whether it compiles SQLite must be {compiled}"
            ));
        }
    }
    Ok(())
}

/// Engines whose clients take minutes to build anew for each set of features: cargo gives their
/// dependencies other features in each set. All features together are checked by clippy, and what
/// these pull in alone is proven above.
const HEAVY: &[&str] = &["gcs", "s3", "s3-default-credentials"];

/// No feature needs another one to compile: none, and each alone.
fn every_feature_compiles(workspace: &Workspace) -> Result {
    let mut sets = vec![vec!["--no-default-features"]];
    let features =
        workspace.package(FACADE)?.features.keys().filter(|feature| *feature != "default");
    let (heavy, light): (Vec<_>, Vec<_>) =
        features.partition(|feature| HEAVY.contains(&feature.as_str()));
    println!("features: left to clippy, for they take minutes alone: {heavy:?}");
    sets.extend(
        light.into_iter().map(|feature| vec!["--no-default-features", "--features", feature]),
    );
    for set in sets {
        println!("features: checking {FACADE} {}", set.join(" "));
        command::run(command::cargo(&["check", "--quiet", "--package", FACADE]).args(&set))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(names: &[&str], may: &[&Part], must: &[&Part]) -> Vec<String> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let mut wrong = Vec::new();
        compare("it", &names, may, must, &mut wrong);
        wrong
    }

    #[test]
    fn a_foreign_client_and_a_missing_one_are_named() {
        let redis =
            Part { feature: "redis", package: "mocha-session-redis", client: Some("redis") };
        assert_eq!(complaints(&["tokio"], &[], &[]), Vec::<String>::new());
        assert_eq!(complaints(&["redis"], &[&redis], &[&redis]), Vec::<String>::new());
        assert_eq!(complaints(&["redis", "sqlx-mysql"], &[&redis], &[]).len(), 1);
        assert_eq!(complaints(&["redis", "actix-web", "axum-core"], &[&redis], &[]).len(), 2);
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
