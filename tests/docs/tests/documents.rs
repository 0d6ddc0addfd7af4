//! What the documents claim about files and tests is true.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where published text finds this repository's files: crates.io and docs.rs have the README alone.
const PUBLISHED: &str = "https://github.com/mocha-session/mocha-session/blob/main/";

/// Every document that people read, with its path from the root.
fn documents() -> Vec<(String, String)> {
    let root = root();
    let mut paths: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md"].map(Into::into).into();
    for (folder, file) in [("docs", ""), ("crates", "README.md")] {
        for entry in fs::read_dir(root.join(folder)).unwrap().flatten() {
            let path = entry.path().join(file);
            paths.push(
                path.strip_prefix(&root)
                    .unwrap()
                    .to_string_lossy()
                    .trim_end_matches('/')
                    .to_owned(),
            );
        }
    }
    paths
        .into_iter()
        .map(|path| (fs::read_to_string(root.join(&path)).unwrap(), path))
        .map(swap)
        .collect()
}

fn swap((text, path): (String, String)) -> (String, String) {
    (path, text)
}

/// The targets of the links of a text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_guide_is_compiled() {
    let there: BTreeSet<_> = fs::read_dir(root().join("docs"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "md"))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let compiled: BTreeSet<_> =
        mocha_session_docs::GUIDES.iter().map(ToString::to_string).collect();
    assert_eq!(there, compiled);
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for link in links(&text) {
            let file = match link.strip_prefix(PUBLISHED) {
                Some(file) => root().join(file.split('#').next().unwrap_or_default()),
                // Web addresses, places in the same text, and items of the documentation.
                None if !link.contains(".md") && !link.contains(".rs") || link.contains("://") => {
                    continue;
                }
                None => {
                    let folder = root().join(&path).parent().unwrap().to_owned();
                    folder.join(link.split('#').next().unwrap_or_default())
                }
            };
            if !file.exists() {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// The last column of a table's rows, of the first table that follows a heading.
fn last_column<'a>(text: &'a str, heading: &str) -> Vec<&'a str> {
    let after = text.split_once(heading).map(|(_, after)| after).unwrap_or_default();
    let rows = after.lines().skip_while(|line| !line.starts_with('|'));
    let cells = rows.take_while(|line| line.starts_with('|')).skip(2);
    cells.filter_map(|row| row.trim_end().strip_suffix('|')?.rsplit('|').next()).collect()
}

/// The names of all functions in the tests and sources, as far as a line begins one.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names =
                text.lines().filter_map(|line| line.split_once("fn ")?.1.split(['(', '<']).next());
            found.extend(names.map(|name| name.trim().to_owned()));
        }
    }
}

#[test]
fn every_test_that_a_claim_names_exists() {
    let mut there = BTreeSet::new();
    for folder in ["crates", "tests/src", "tests/tests"] {
        functions(&root().join(folder), &mut there);
    }
    let mut named = 0;
    for (file, heading) in [
        ("README.md", "## How it compares"),
        ("crates/mocha-session-compat/README.md", "## What holds"),
        ("crates/mocha-session-compat/README.md", "## Take sessions over"),
        ("SECURITY.md", "### Chapter 3"),
        ("SECURITY.md", "### Chapter 7"),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for cell in last_column(&text, heading) {
            for name in cell.split('`').skip(1).step_by(2) {
                assert!(there.contains(name), "{file}: there is no test `{name}`");
                named += 1;
            }
        }
    }
    assert!(named > 20, "the tables were not found");
}

#[test]
fn the_table_of_settings_is_the_codes() {
    let text = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    let table = mocha_session::Environment::table();
    assert!(text.contains(&table), "docs/settings.md must have this table:\n{table}");
}
