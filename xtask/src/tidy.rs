//! The project's rules that no compiler checks. They also run as a test.

use crate::house::{self, CORE, ENGINES, FACADE, Layer};
use crate::{Result, command, floors};
use cargo_metadata::{DependencyKind, Metadata, Package};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The maximum number of lines of a file, unless a line with this prefix states the reason for its
/// length.
const LONGEST_FILE: usize = 400;
const LONG_BECAUSE: &str = "// tidy: long because ";
/// The maximum number of lines of code of a framework crate. Logic belongs to the core.
const LONGEST_FRAMEWORK: usize = 450;

/// Marks of unfinished work. They are split, because otherwise this file would break its own rule.
const UNFINISHED: [&str; 3] =
    [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("FIX", "ME")];
/// Prefixes of absolute paths on a developer's machine.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// The extensions of files that people write and read. `.ci/run` is one too.
const KINDS: [&str; 6] = ["css", "html", "md", "rs", "sql", "toml"];

/// Manifest lines that every member must inherit from the workspace.
const INHERITED: [&str; 3] =
    ["version.workspace = true", "edition.workspace = true", "license.workspace = true"];

/// Runs all checks and lists all violations.
pub(crate) fn run() -> Result {
    let complaints = check()?;
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n       ").into()) }
}

fn check() -> Result<Vec<String>> {
    let root = command::root();
    let workspace = command::workspace()?;
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    text_files(&root, &mut files)?;
    for file in files {
        let text =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        complaints.extend(text_rules(&file.strip_prefix(&root)?.to_string_lossy(), &text));
    }
    for package in &workspace.packages {
        complaints.extend(package_rules(package)?);
    }
    complaints.extend(engine_rules(&workspace, &fs::read_to_string(root.join("README.md"))?)?);
    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).unwrap_or_default();
    let core = house::package(&workspace, CORE)?;
    complaints.extend(changelog_rule(&changelog, &core.version.to_string()));
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    complaints.extend(floors::check(&architecture, &root.join("crates").join(CORE).join("src"))?);
    Ok(complaints)
}

/// Finds every file that people write and read, under a folder.
pub(crate) fn text_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
        if path.is_dir() && !hidden && name != "target" {
            text_files(&path, found)?;
        } else if KINDS.iter().any(|kind| is(&path, kind)) || name == "run" {
            found.push(path);
        }
    }
    Ok(())
}

fn is(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|extension| extension == kind)
}

fn text_rules(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let rust = is(Path::new(path), "rs");
    if rust {
        if !text.starts_with("//!") && !text.starts_with("#![doc") {
            complaints.push(format!("{path}: its first line must say its purpose (`//! …`)"));
        }
        let lines = text.lines().count();
        if lines > LONGEST_FILE && !text.lines().any(|line| line.starts_with(LONG_BECAUSE)) {
            complaints.push(format!(
                "{path}: {lines} lines, more than {LONGEST_FILE}: split it, or give the reason in a line `{LONG_BECAUSE}…`"
            ));
        }
    }
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{path}:{}", number + 1);
        if rust {
            // An example in the docs may leave a part open for its reader.
            let docs = line.trim_start().starts_with("//");
            let found = UNFINISHED
                .iter()
                .find(|mark| line.contains(**mark) && !(docs && mark.ends_with('(')));
            complaints.extend(found.map(|mark| format!("{}: unfinished: `{mark}`", place())));
        }
        let found = HOMES.iter().find(|home| line.contains(**home));
        complaints.extend(found.map(|home| format!("{}: a path of a machine: `{home}…`", place())));
    }
    complaints
}

fn package_rules(package: &Package) -> Result<Vec<String>> {
    let name = package.name.as_str();
    let layer = house::layer(name)?;
    let mut complaints = manifest_rules(name, &fs::read_to_string(&package.manifest_path)?);
    let folder = package.manifest_path.parent().and_then(|it| it.file_name()).unwrap_or_default();
    // Unpublished packages are under `tests/` and `xtask/`, without the project's name.
    if folder != name && name.strip_prefix("mocha-session-") != Some(folder) {
        complaints.push(format!("{name}: its folder `{folder}` must have the crate's name"));
    }
    for dependency in &package.dependencies {
        let Ok(on) = house::layer(&dependency.name) else { continue };
        let for_tests = dependency.kind == DependencyKind::Development;
        let itself = for_tests && dependency.name == name;
        if !itself && !house::may_depend(layer, on, for_tests) {
            let kind = if for_tests { " for its tests" } else { "" };
            complaints.push(format!(
                "{name} depends on {}{kind}; it must not (core ← backends, frameworks, conformance ← facade ← cli, tests)",
                dependency.name
            ));
        }
    }
    if layer == Layer::Framework {
        let sources = sources(package.manifest_path.with_file_name("src").as_std_path())?;
        let lines: usize = sources.iter().map(|source| code(source).count()).sum();
        if lines > LONGEST_FRAMEWORK {
            complaints.push(format!("{name}: {lines} lines of code, over {LONGEST_FRAMEWORK}"));
        }
    }
    Ok(complaints)
}

/// Returns the lines of code before a file's tests.
fn code(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().take_while(|line| *line != "mod tests {").map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//"))
}

fn manifest_rules(name: &str, manifest: &str) -> Vec<String> {
    let missing =
        INHERITED.iter().filter(|line| !manifest.lines().any(|written| written.trim() == **line));
    let mut complaints: Vec<_> =
        missing.map(|line| format!("{name}: its manifest lacks `{line}`")).collect();
    // A crate's dependencies may need a newer Rust than the workspace declares.
    if !manifest.lines().any(|line| line.starts_with("rust-version")) {
        complaints.push(format!("{name}: its manifest does not say its `rust-version`"));
    }
    if !manifest.contains("[lints]\nworkspace = true") {
        complaints.push(format!("{name}: its manifest lacks `[lints]` with `workspace = true`"));
    }
    complaints
}

/// The facade's features, the backends' drivers and the rows of the README's table of engines must
/// agree.
fn engine_rules(workspace: &Metadata, readme: &str) -> Result<Vec<String>> {
    let facade = house::package(workspace, FACADE)?;
    let features = house::engine_features(facade, workspace);
    let unknown = features.iter().filter(|it| ENGINES.iter().all(|engine| engine.feature != **it));
    let mut complaints: Vec<String> = unknown
        .map(|it| format!("{FACADE}: its engine `{it}` is not in ENGINES of xtask/src/house.rs"))
        .collect();
    let rows = table_features(readme);
    for engine in ENGINES {
        let (feature, backend) = (engine.feature, engine.package);
        if !features.contains(&feature) {
            complaints.push(format!("{FACADE}: no feature `{feature}`, which ENGINES has"));
        }
        if !rows.contains(feature) {
            complaints.push(format!("README.md: no row of a table names the feature `{feature}`"));
        }
        let manifest = &house::package(workspace, backend)?.manifest_path;
        let folder = manifest.parent().ok_or("a manifest without a folder")?.as_std_path();
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        let sources = sources(&folder.join("src"))?;
        let schemes: Vec<_> = sources.iter().flat_map(|source| driver_schemes(source)).collect();
        if schemes.is_empty() {
            complaints.push(format!("{backend}: no driver with a scheme"));
        }
        for scheme in schemes {
            let shown =
                scheme.strip_suffix('*').map_or_else(|| format!("{scheme}:"), str::to_owned);
            if !readme.contains(&shown) && !readme.contains(&format!("`{scheme}`")) {
                complaints.push(format!("{backend}: its README lacks the scheme `{scheme}`"));
            }
        }
    }
    Ok(complaints)
}

/// Returns the code spans in the table rows of a Markdown text.
fn table_features(markdown: &str) -> BTreeSet<&str> {
    let rows = markdown.lines().filter(|line| line.trim_start().starts_with('|'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

/// Returns the texts of the files under a folder.
fn sources(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    text_files(folder, &mut files)?;
    Ok(files.iter().map(fs::read_to_string).collect::<std::io::Result<_>>()?)
}

fn driver_schemes(source: &str) -> Vec<String> {
    let lists = code(source).collect::<String>();
    let lists = lists
        .split("Driver::new(")
        .skip(1)
        .filter_map(|call| call.trim_start().strip_prefix("&[")?.split(']').next());
    lists.flat_map(|list| list.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Checks that the changelog begins with the unreleased changes or with this version.
fn changelog_rule(changelog: &str, version: &str) -> Option<String> {
    let first = changelog.lines().find_map(|line| line.strip_prefix("## "));
    let title = first.unwrap_or_default().trim_start_matches('[');
    let right = title.starts_with("Unreleased")
        || title
            .strip_prefix(version)
            .is_some_and(|rest| !rest.starts_with(|c: char| c == '.' || c.is_alphanumeric()));
    (!right).then(|| {
        format!("CHANGELOG.md: its first section must be `## Unreleased` or `## {version}`")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        assert_eq!(check().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert!(text_rules("a.rs", "//! What.\n").is_empty());
        assert!(text_rules("a.rs", "#![doc = include_str!(\"../README.md\")]\n").is_empty());
        assert_eq!(text_rules("a.rs", "use std::fmt;\n").len(), 1);
        assert!(text_rules("a.md", "anything\n").is_empty());
    }

    #[test]
    fn a_long_file_gives_its_reason() {
        let long = format!("//! What.\n{}", "\n".repeat(LONGEST_FILE));
        assert!(text_rules("a.rs", &long)[0].contains("401 lines"));
        assert!(text_rules("a.rs", &format!("{long}{LONG_BECAUSE}it is a table.\n")).is_empty());
    }

    #[test]
    fn nothing_is_unfinished_and_no_path_is_private() {
        for mark in UNFINISHED.iter().chain(&HOMES) {
            let says = text_rules("a.rs", &format!("//! What.\n\n    {mark}\n"));
            assert!(says.len() == 1 && says[0].starts_with("a.rs:3: "), "{mark}: {says:?}");
        }
        assert_eq!(text_rules("a.md", &format!("{}me", HOMES[0])).len(), 1);
        assert!(text_rules("a.rs", &format!("//! What.\n/// {}\n", UNFINISHED[0])).is_empty());
    }

    #[test]
    fn manifests_inherit() {
        let right = format!(
            "[package]\n{}\nrust-version = \"1.88\"\n\n[lints]\nworkspace = true\n",
            INHERITED.join("\n")
        );
        assert_eq!(manifest_rules("a", &right), Vec::<String>::new());
        assert_eq!(manifest_rules("a", &right.replace(INHERITED[2], "license = \"MIT\"")).len(), 1);
        assert_eq!(manifest_rules("a", &right.replace("[lints]", "[other]")).len(), 1);
    }

    #[test]
    fn schemes_are_read_from_the_driver_and_not_from_its_docs() {
        let source = "/// Driver::new(&[\"no\"], …)\npub const DRIVER: Driver = Driver::new(\n    &[\"mysql\", \"mysql+*\"],\n    |url| open(url),\n);";
        assert_eq!(driver_schemes(source), ["mysql", "mysql+*"]);
        assert_eq!(driver_schemes("fn f() {}"), Vec::<String>::new());
    }

    #[test]
    fn engines_are_looked_for_in_rows_of_tables() {
        let found =
            table_features("use `no`\n| URL | feature |\n|---|---|\n| `redis://` | `redis` |\n");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["redis", "redis://"]);
    }

    #[test]
    fn the_changelog_begins_with_now() {
        for right in [
            "# Changelog\n\n## Unreleased\n",
            "## [Unreleased]\n",
            "## 1.2.3 (2026-11-01)\n",
            "## [1.2.3]\n",
        ] {
            assert_eq!(changelog_rule(right, "1.2.3"), None, "{right}");
        }
        for wrong in ["", "## 1.2.2\n## Unreleased\n", "## 1.2.30\n", "## 1.2.3.4\n"] {
            assert!(changelog_rule(wrong, "1.2.3").is_some(), "{wrong}");
        }
    }
}
