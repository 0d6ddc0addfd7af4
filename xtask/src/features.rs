//! Proves which packages each crate and each feature compiles, so that an application with one
//! engine or one framework compiles only that one. deny.toml lists the packages that no build may
//! contain.

use crate::house::{self, CORE, FACADE, Layer, Part, package, parts, tree};
use crate::{Result, command};
use cargo_metadata::Metadata;
use std::collections::BTreeSet;

/// Packages that would mean that the core uses the network, depends on a framework, or contains
/// TLS.
const NOT_IN_CORE: &str = "actix-web axum http http-body hyper mio native-tls reqwest rustls socket2 \
    tonic tower";

/// Checks all claims, then that each feature of the facade compiles by itself.
pub(crate) fn run() -> Result {
    let workspace = command::workspace()?;
    let mut wrong = core_pulls_in()?;
    for (words, compiles) in claims(&workspace)? {
        wrong.extend(differs(&words, &tree(&words)?, &compiles));
    }
    // `sqlite` compiles SQLite from its source, `sqlite-unbundled` uses the system's library.
    for (feature, compiled) in [("sqlite", true), ("sqlite-unbundled", false)] {
        let words = alone(FACADE, feature);
        if tree(&words)?.contains("cc") != compiled {
            wrong.push(format!("{words}: whether it compiles C must be {compiled}"));
        }
    }
    wrong.extend(without_c()?);
    if !wrong.is_empty() {
        return Err(wrong.join("\n       ").into());
    }
    println!("features: the trees of dependencies are as claimed");
    every_feature_compiles(&workspace)
}

fn core_pulls_in() -> Result<Vec<String>> {
    let names = tree(&format!("--package {CORE} --all-features"))?;
    let found = NOT_IN_CORE.split_whitespace().filter(|name| names.contains(*name));
    let says = |name| format!("{CORE} pulls in {name}: it must know no network and no framework");
    Ok(found.map(says).collect())
}

fn alone(package: &str, feature: &str) -> String {
    format!("--package {package} --no-default-features --features {feature}")
}

/// Builds, each with the parts whose clients it compiles. It compiles no others.
type Claims = Vec<(String, Vec<&'static Part>)>;

/// Returns the claims. A backend or framework crate compiles its own clients with all its features,
/// and one engine's client with that engine alone. The facade compiles none by default, and with
/// one feature only the clients of that feature.
fn claims(workspace: &Metadata) -> Result<Claims> {
    let mut claims = Claims::new();
    for package in &workspace.packages {
        if !matches!(house::layer(&package.name)?, Layer::Backend | Layer::Framework) {
            continue;
        }
        let own: Vec<&Part> = parts().filter(|part| package.name == part.package).collect();
        for part in own.iter().filter(|part| package.features.contains_key(part.feature)) {
            let its = own.iter().filter(|other| other.feature == part.feature).copied().collect();
            claims.push((alone(&package.name, part.feature), its));
        }
        claims.push((format!("--package {} --all-features", package.name), own));
    }
    let facade = package(workspace, FACADE)?;
    claims.push((format!("--package {FACADE}"), Vec::new()));
    for feature in facade.features.keys().filter(|feature| *feature != "default") {
        let reached = house::reach(facade, feature);
        let asked = parts().filter(|part| reached.contains(part.feature)).collect();
        claims.push((alone(FACADE, feature), asked));
    }
    Ok(claims)
}

/// Returns an error message if a build compiles other clients than those of its parts.
fn differs(what: &str, names: &BTreeSet<String>, parts_of_it: &[&Part]) -> Option<String> {
    let should: BTreeSet<&str> = parts_of_it.iter().filter_map(|part| part.client).collect();
    let clients = parts().filter_map(|part| part.client);
    let does: BTreeSet<&str> = clients.filter(|client| names.contains(*client)).collect();
    (does != should).then(|| format!("{what} compiles {does:?} and should compile {should:?}"))
}

/// The features that need no C compiler, on every platform. `sqlite-unbundled` needs the installed
/// library.
const WITHOUT_C: &str = "rustcrypto,actix,axum,memcache,memory,redis,sqlite-unbundled";
/// Packages that compile C or assembler, or contain compiled C.
const C: &[&str] = &["aws-lc-sys", "cc", "cmake", "nasm-rs", "openssl-sys", "ring"];

fn without_c() -> Result<Vec<String>> {
    let words = alone(FACADE, WITHOUT_C);
    let names = tree(&format!("{words} --target all"))?;
    let found = C.iter().filter(|name| names.contains(**name)).copied();
    Ok(found.map(|name| format!("{words} compiles {name}")).collect())
}

/// Engines whose clients take minutes to build for each set of features, because cargo selects
/// other features of their dependencies in each set. Clippy checks all features together, and the
/// claims above cover these alone.
const HEAVY: &[&str] = &["gcs", "s3", "s3-default-credentials"];

/// Checks that each feature compiles alone, and that the crate compiles without any. A cipher is
/// the only requirement.
fn every_feature_compiles(workspace: &Metadata) -> Result {
    println!("features: left to clippy, for they take minutes alone: {HEAVY:?}");
    let ciphers = ["default", "aws-lc", "rustcrypto"];
    let features = package(workspace, FACADE)?.features.keys().map(String::as_str);
    let light = features.filter(|name| !ciphers.contains(name) && !HEAVY.contains(name));
    let with_cipher = light.map(|feature| format!("aws-lc,{feature}"));
    for set in ["aws-lc".to_owned(), WITHOUT_C.to_owned()].into_iter().chain(with_cipher) {
        let words = alone(FACADE, &set);
        println!("features: checking {words}");
        command::run(&mut command::cargo(&format!("check --quiet {words}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_foreign_client_and_a_missing_one_are_named() {
        let redis = parts().find(|part| part.feature == "redis").unwrap();
        let complaint = |names: &[&str], parts: &[&Part]| {
            differs("it", &names.iter().map(|&name| name.to_owned()).collect(), parts)
        };
        assert_eq!(complaint(&["tokio"], &[]), None);
        assert_eq!(complaint(&["redis", "tokio"], &[redis]), None);
        let foreign = complaint(&["redis", "actix-web"], &[redis]).unwrap();
        assert_eq!(
            foreign,
            "it compiles {\"actix-web\", \"redis\"} and should compile {\"redis\"}"
        );
        assert!(complaint(&["tokio"], &[redis]).is_some() && complaint(&["redis"], &[]).is_some());
    }

    #[test]
    fn what_the_core_must_not_pull_in_is_looked_for_by_its_real_name() {
        assert_eq!(core_pulls_in().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn there_is_a_claim_for_every_engine_and_every_feature() {
        let workspace = command::workspace().unwrap();
        let claims = claims(&workspace).unwrap();
        for part in parts() {
            let own = [FACADE, part.package].map(|package| alone(package, part.feature));
            assert!(claims.iter().any(|(words, _)| own.contains(words)), "{part:?}");
        }
    }
}
