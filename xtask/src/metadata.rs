//! What `cargo metadata` and `cargo tree` know about the workspace, as little of it as the checks
//! need.

use crate::{Result, command};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The workspace's own packages.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) packages: Vec<Package>,
    /// Where cargo builds; our own tools and state live beside it.
    pub(crate) target: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) folder: PathBuf,
    /// Whether it goes to crates.io.
    pub(crate) published: bool,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self> {
        let text = command::read(&mut command::cargo(&[
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
        ]))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text)?;
        let packages = list(&json["packages"]).map(package).collect::<Option<_>>();
        Ok(Self {
            packages: packages.ok_or("cargo metadata has a package without a name or a folder")?,
            target: json["target_directory"]
                .as_str()
                .ok_or("cargo metadata names no target folder")?
                .into(),
        })
    }

    pub(crate) fn package(&self, name: &str) -> Result<&Package> {
        let found = self.packages.iter().find(|package| package.name == name);
        found.ok_or_else(|| {
            format!("the workspace has no package `{name}`; see xtask/src/house.rs").into()
        })
    }
}

impl Package {
    /// What a feature turns on, directly or through other features: features, `dep:crate`,
    /// `crate/feature`.
    pub(crate) fn reach<'a>(&'a self, feature: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![feature];
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(self.features.get(next).into_iter().flatten().map(String::as_str));
            }
        }
        reached
    }

    /// Whether a feature compiles this dependency in. `crate?/feature` alone doesn't.
    pub(crate) fn enables(&self, feature: &str, dependency: &str) -> bool {
        self.reach(feature).into_iter().any(|reached| {
            let name = reached
                .strip_prefix("dep:")
                .or_else(|| reached.split_once('/').map(|(name, _)| name));
            name == Some(dependency)
        })
    }
}

/// The names of all packages that are compiled into a build with these arguments, for this machine,
/// tests left out.
pub(crate) fn tree(args: &[&str]) -> Result<BTreeSet<String>> {
    let mut cargo =
        command::cargo(&["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let text = command::read(cargo.args(args))?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn package(json: &Value) -> Option<Package> {
    let features = json["features"].as_object()?.iter();
    let manifest = PathBuf::from(json["manifest_path"].as_str()?);
    Some(Package {
        name: json["name"].as_str()?.to_owned(),
        version: json["version"].as_str()?.to_owned(),
        folder: manifest.parent()?.to_path_buf(),
        published: json["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
        features: features
            .map(|(name, on)| {
                (name.clone(), list(on).filter_map(Value::as_str).map(str::to_owned).collect())
            })
            .collect(),
        dependencies: list(&json["dependencies"])
            .filter_map(|on| {
                let name = on["name"].as_str()?.to_owned();
                Some(Dependency { name, dev: on["kind"].as_str() == Some("dev") })
            })
            .collect(),
    })
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const TEXT: &str = r#"{"target_directory": "/t", "packages": [{
        "name": "shop", "version": "1.2.3", "manifest_path": "/w/crates/shop/Cargo.toml",
        "features": {"all": ["till", "bags"], "till": ["dep:drawer", "drawer/coins"], "bags": ["drawer?/paper"], "safe": ["drawer/lock"]},
        "dependencies": [{"name": "drawer", "kind": null}, {"name": "play", "kind": "dev"}]}]}"#;

    #[test]
    fn packages_are_read() {
        let workspace = Workspace::parse(TEXT).unwrap();
        let shop = workspace.package("shop").unwrap();
        assert_eq!(
            (shop.version.as_str(), shop.folder.to_str().unwrap()),
            ("1.2.3", "/w/crates/shop")
        );
        let dependencies: Vec<_> =
            shop.dependencies.iter().map(|on| (on.name.as_str(), on.dev)).collect();
        assert_eq!(dependencies, [("drawer", false), ("play", true)]);
        assert!(workspace.package("other").is_err());
        assert!(Workspace::parse("{}").is_err() && Workspace::parse("no").is_err());
    }

    #[test]
    fn a_feature_reaches_what_it_names_and_what_that_names() {
        let workspace = Workspace::parse(TEXT).unwrap();
        let shop = workspace.package("shop").unwrap();
        assert!(shop.reach("all").contains("dep:drawer"));
        assert!(
            shop.enables("all", "drawer")
                && shop.enables("till", "drawer")
                && shop.enables("safe", "drawer")
        );
        assert!(!shop.enables("bags", "drawer"), "a weak feature compiles nothing in");
        assert!(!shop.enables("till", "draw"));
    }

    #[test]
    fn the_tree_of_this_crate_holds_its_dependency() {
        let names = tree(&["--package", "xtask"]).unwrap();
        assert!(names.contains("xtask") && names.contains("serde_json"), "{names:?}");
    }
}
