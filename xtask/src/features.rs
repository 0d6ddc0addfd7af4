//! Proves what each crate and each feature pulls in: someone who wants one engine or one framework
//! compiles that one. deny.toml has what nobody may pull in.

use crate::house::{self, CORE, FACADE, Layer, Part, package, parts, tree};
use crate::{Result, command};
use cargo_metadata::Metadata;
use std::collections::BTreeSet;

/// What would mean that the core talks to the network, knows a framework, or carries TLS.
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

/// Builds, and the parts whose clients each compiles, and no others.
type Claims = Vec<(String, Vec<&'static Part>)>;

/// Each backend and framework crate compiles its own clients, with all that it can do, and one
/// engine's with that engine alone; the facade compiles none by default, and with a feature alone
/// the clients of that feature.
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

/// The complaint about a build that compiles other clients than those of its parts.
fn differs(what: &str, names: &BTreeSet<String>, parts_of_it: &[&Part]) -> Option<String> {
    let should: BTreeSet<&str> = parts_of_it.iter().filter_map(|part| part.client).collect();
    let clients = parts().filter_map(|part| part.client);
    let does: BTreeSet<&str> = clients.filter(|client| names.contains(*client)).collect();
    (does != should).then(|| format!("{what} compiles {does:?} and should compile {should:?}"))
}

/// What can be had without a C compiler, on every platform; `sqlite-unbundled` needs the library.
const WITHOUT_C: &str = "rustcrypto,actix,axum,memcache,memory,redis,sqlite-unbundled";
/// What compiles C or assembler, or is compiled C.
const C: &[&str] = &["aws-lc-sys", "cc", "cmake", "nasm-rs", "openssl-sys", "ring"];

fn without_c() -> Result<Vec<String>> {
    let words = alone(FACADE, WITHOUT_C);
    let names = tree(&format!("{words} --target all"))?;
    let found = C.iter().filter(|name| names.contains(**name)).copied();
    Ok(found.map(|name| format!("{words} compiles {name}")).collect())
}

/// Engines whose clients take minutes to build anew for each set of features: cargo gives their
/// dependencies other features in each set. All features together are checked by clippy, and what
/// these pull in alone is proven above.
const HEAVY: &[&str] = &["gcs", "s3", "s3-default-credentials"];

/// No feature needs another one to compile than a cipher: none, and each alone.
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
