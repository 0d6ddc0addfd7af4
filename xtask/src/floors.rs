//! The core's floors: each folder of its sources imports only from the folders below it.
//!
//! ARCHITECTURE.md lists the floors under the heading `### The core's floors`, in a fenced block,
//! one per line, the lowest first: `folder — its content`. Without the heading nothing is checked.

use crate::Result;
use crate::tidy::text_files;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const HEADING: &str = "### The core's floors";

/// Returns the violations in this folder of sources, by the floors in this text.
pub(crate) fn check(architecture: &str, sources: &Path) -> Result<Vec<String>> {
    let Some(floors) = floors(architecture) else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    text_files(sources, &mut files)?;
    files.sort();
    let (mut exports, mut seen, mut complaints) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    let mut modules = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "rs")) {
        let name = file.strip_prefix(sources)?.to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(file)?;
        let tokens: TokenStream = text.parse().map_err(|error| format!("{name}: {error}"))?;
        if name == "lib.rs" {
            exports = exported(tokens);
            continue;
        }
        let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        seen.insert(path[0].clone());
        modules.push((name, path, tokens));
    }
    let unlisted = seen.iter().filter(|folder| !floors.contains(folder));
    complaints.extend(unlisted.map(|it| format!("`{it}` has no floor in ARCHITECTURE.md")));
    let gone = floors.iter().filter(|folder| !seen.contains(*folder));
    complaints.extend(gone.map(|it| format!("the core has no `{it}`, a floor in ARCHITECTURE.md")));

    let mut test_modules = BTreeSet::new();
    let found = modules.into_iter().map(|(name, path, tokens)| {
        let mut paths = Paths { depth: path.len(), used: BTreeMap::new(), tests: Vec::new() };
        paths.walk(tokens);
        test_modules.extend(
            paths.tests.iter().map(|test| [path.as_slice(), std::slice::from_ref(test)].concat()),
        );
        (name, path, paths.used)
    });
    let found: Vec<_> = found.collect();
    let floor = |folder: &str| floors.iter().position(|it| it == folder);
    for (name, path, used) in found {
        if test_modules.iter().any(|test| path.starts_with(test)) {
            continue;
        }
        let Some(own) = floor(&path[0]) else { continue };
        for (word, line) in used {
            // A name that the root exports belongs to the module that it comes from.
            let folder = exports.get(&word).filter(|_| floor(&word).is_none()).unwrap_or(&word);
            if floor(folder).is_some_and(|it| it > own) {
                let own = &path[0];
                complaints
                    .push(format!("{name}:{line} uses crate::{word}, which is above `{own}`"));
            }
        }
    }
    Ok(complaints.into_iter().map(|it| format!("mocha-session-core: {it}")).collect())
}

/// Returns the folders, the lowest first, or `None` without the heading.
fn floors(architecture: &str) -> Option<Vec<String>> {
    let (_, chapter) = architecture.split_once(&format!("\n{HEADING}\n"))?;
    let mut lines = chapter.lines().take_while(|line| !line.starts_with('#'));
    let block = lines.by_ref().skip_while(|line| !line.starts_with("```")).skip(1);
    let floors = block.take_while(|line| !line.starts_with("```"));
    let folder = |line: &str| line.split([' ', '—']).next().unwrap_or_default().to_owned();
    Some(floors.map(folder).filter(|folder| !folder.is_empty()).collect())
}

/// Returns the names that `use` imports into the root, each with its module.
fn exported(tokens: TokenStream) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut tokens = tokens.into_iter();
    while let Some(token) = tokens.next() {
        if !is_word(&token, "use") {
            continue;
        }
        let statement: TokenStream =
            tokens.by_ref().take_while(|token| !is_sign(token, ';')).collect();
        let mut words = words(statement).into_iter().filter(|it| it != "crate" && it != "self");
        if let Some(module) = words.next() {
            names.extend(words.map(|word| (word, module.clone())));
        }
    }
    names
}

/// Returns every word of a stream, including those in groups.
fn words(tokens: TokenStream) -> Vec<String> {
    let of = |token| match token {
        TokenTree::Ident(word) => vec![word.to_string()],
        TokenTree::Group(group) => words(group.stream()),
        _ => Vec::new(),
    };
    tokens.into_iter().flat_map(of).collect()
}

/// The first words of the paths that begin at the crate's root, except in tests. Comments are not
/// tokens, and doc comments are literals.
struct Paths {
    /// The number of `super` from this module to the root.
    depth: usize,
    /// Each word, with the first line that contains it.
    used: BTreeMap<String, usize>,
    /// Test modules of this module that have their own files.
    tests: Vec<String>,
}

impl Paths {
    fn walk(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut supers = 0;
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Punct(_)
                    if is_sign(&token, '#') && tokens.peek().is_some_and(is_cfg_test) =>
                {
                    // The rest of the item.
                    let mut item = Vec::new();
                    while let Some(token) = tokens.next_if(|token| !is_end(token)) {
                        item.push(token);
                    }
                    item.extend(tokens.next());
                    self.tests.extend(file_of_module(&item));
                }
                TokenTree::Group(group) => self.walk(group.stream()),
                TokenTree::Ident(word) => {
                    supers = if word == "super" { supers + 1 } else { 0 };
                    let to_root = word == "crate" || supers == self.depth;
                    let path = tokens.next_if(|token| is_sign(token, ':')).is_some();
                    if path {
                        tokens.next_if(|token| is_sign(token, ':'));
                    }
                    if to_root && path {
                        self.begin(tokens.peek());
                    }
                    if !path {
                        supers = 0;
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the token after `crate::`: a word, or several in braces.
    fn begin(&mut self, token: Option<&TokenTree>) {
        match token {
            Some(TokenTree::Ident(word)) => {
                let line = word.span().start().line;
                self.used.entry(word.to_string()).or_insert(line);
            }
            Some(TokenTree::Group(group)) => {
                let mut first = true;
                for token in group.stream() {
                    if first && matches!(token, TokenTree::Ident(_)) {
                        self.begin(Some(&token));
                    }
                    first = is_sign(&token, ',');
                }
            }
            _ => {}
        }
    }
}

/// Returns the name of the module, if this item is `mod name;`.
fn file_of_module(item: &[TokenTree]) -> Option<String> {
    let start = item.iter().position(|token| is_word(token, "mod"))?;
    let [name, end] = item.get(start + 1..)? else { return None };
    is_sign(end, ';').then(|| name.to_string())
}

/// Returns whether an item ends here, in braces or with a semicolon.
fn is_end(token: &TokenTree) -> bool {
    let braces = |it: &Group| it.delimiter() == Delimiter::Brace;
    is_sign(token, ';') || matches!(token, TokenTree::Group(it) if braces(it))
}

/// Matches `[cfg(test)]`, or `test` among other conditions, unless it is negated.
fn is_cfg_test(attribute: &TokenTree) -> bool {
    let TokenTree::Group(attribute) = attribute else { return false };
    let words = words(attribute.stream());
    words.first().is_some_and(|it| it == "cfg")
        && words.iter().any(|it| it == "test")
        && words.iter().all(|it| it != "not")
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(it) if it == word)
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == sign)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const FLOORS: &str = "# A\n\n### The core's floors\n\nText.\n\n```text\n\
        error — the one type\nstore — the contract\nsession\n```\n\n### More\n";

    /// Returns the violations in a tree of these files.
    fn complaints(architecture: &str, files: &[(&str, &str)]) -> Vec<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir()
            .join(format!("mocha-session-floors-{}-{number}", std::process::id()));
        for (name, text) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let says = check(architecture, &folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
        says.into_iter().map(|it| it.replace("mocha-session-core: ", "")).collect()
    }

    /// Returns the violations in a tree with three floors, with this text in a file of the middle
    /// floor.
    fn store_with(text: &str) -> Vec<String> {
        complaints(
            FLOORS,
            &[
                ("lib.rs", "pub use error::Error;\npub use session::{Session, data::Values as V};"),
                ("error.rs", ""),
                ("session/mod.rs", "use crate::store::Key; use crate::{error, store};"),
                ("store/mod.rs", "mod key; use crate::error::Error;"),
                ("store/key.rs", text),
            ],
        )
    }

    const UP: [&str; 1] = ["store/key.rs:1 uses crate::session, which is above `store`"];

    #[test]
    fn an_arrow_down_is_right_and_an_arrow_up_is_named() {
        assert_eq!(store_with("use crate::error::Error; use crate::store::Key;"), [""; 0]);
        assert_eq!(store_with("use crate::session::Session;"), UP);
        assert_eq!(store_with("use crate::{error::Error, session::{self, store}};"), UP);
        assert_eq!(store_with("fn f() { g(|| crate::session::begin()) }"), UP);
        assert_eq!(store_with("fn f() { panic!(\"{}\", crate::session::X) }"), UP);
        assert_eq!(store_with("pub(in crate::session) fn f() {}"), UP);
    }

    #[test]
    fn a_detour_by_super_or_by_the_root_is_an_arrow_too() {
        assert_eq!(store_with("use super::super::session::Session;"), UP);
        assert_eq!(store_with("use super::session;"), [""; 0], "a module of the store");
        assert_eq!(store_with("use super::super::error;"), [""; 0]);
        assert_eq!(
            store_with("use crate::{Error, Session, V};"),
            ["Session", "V"]
                .map(|it| format!("store/key.rs:1 uses crate::{it}, which is above `store`"))
        );
    }

    #[test]
    fn comments_and_tests_may_name_everything() {
        for text in [
            "//! [`crate::session`]\n/// [`crate::session::Session`]\n// crate::session\nfn f() {}",
            "const A: &str = \"crate::session::x\";",
            "#[cfg(test)]\nmod tests { use crate::session::Session; }",
            "#[cfg(all(test, unix))]\nuse crate::session::Session;",
        ] {
            assert_eq!(store_with(text), [""; 0], "{text}");
        }
        assert_eq!(store_with("#[cfg(not(test))] use crate::session::Session;"), UP);
        let after = store_with("#[cfg(test)]\nmod tests {}\nuse crate::session::Session;");
        assert_eq!(after, UP.map(|it| it.replace(":1 ", ":3 ")));
        let own_file = [
            ("error/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("error/tests.rs", "use crate::session::Session;"),
            ("store.rs", ""),
            ("session.rs", ""),
        ];
        assert_eq!(complaints(FLOORS, &own_file), [""; 0]);
    }

    #[test]
    fn every_folder_has_a_floor_and_every_floor_a_folder() {
        let says = complaints(FLOORS, &[("error.rs", ""), ("store.rs", ""), ("http/mod.rs", "")]);
        assert_eq!(
            says,
            [
                "`http` has no floor in ARCHITECTURE.md",
                "the core has no `session`, a floor in ARCHITECTURE.md"
            ]
        );
    }

    #[test]
    fn without_the_heading_nothing_is_checked() {
        assert_eq!(complaints("# A\n\n### Other\n", &[("a.rs", "use crate::b::C;")]), [""; 0]);
    }
}
