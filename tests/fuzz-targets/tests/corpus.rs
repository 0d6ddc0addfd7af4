//! Every file of the corpus through its target: what the fuzzer found interesting, without a
//! fuzzer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use mocha_session_fuzz_targets::{TARGETS, run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(target: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder().join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn check(target: &str) {
    for file in files(target) {
        let bytes = fs::read(&file).unwrap();
        let kept = std::panic::catch_unwind(|| run(target, &bytes)).is_ok();
        assert!(kept, "{} breaks a promise; what it is stands above", file.display());
    }
}

#[test]
fn client_side_cookies() {
    check("client");
}

#[test]
fn cookie_headers() {
    check("cookies");
}

#[test]
fn xml_listings() {
    check("listings");
}

#[test]
fn stored_records() {
    check("records");
}

#[test]
fn sequences_of_operations() {
    check("sessions");
}

#[test]
fn tokens_in_headers() {
    check("tokens");
}

#[test]
fn session_urls() {
    check("urls");
}

#[test]
fn stored_values() {
    check("values");
}

#[test]
fn every_target_has_a_small_corpus_and_a_fuzzer() {
    let mut folders: Vec<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    folders.sort();
    assert_eq!(folders, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (target, _) in TARGETS {
        let sizes =
            files(target).iter().map(|file| fs::metadata(file).unwrap().len()).collect::<Vec<_>>();
        assert!((20..=80).contains(&sizes.len()), "{target}: {} files", sizes.len());
        assert!(sizes.iter().all(|size| *size <= 4096), "{target}");
        let fuzzer = folder().join(format!("../../fuzz/fuzz_targets/{target}.rs"));
        assert!(fuzzer.is_file(), "{target}");
    }
}
