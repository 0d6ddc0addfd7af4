//! The pin of the `memcache` package: the effect on a program when a newer patch is out, as cargo's
//! resolver has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The requirement of this crate's manifest.
fn requirement() -> &'static str {
    let manifest = include_str!("../Cargo.toml");
    let pinned = manifest.split_once("version = \"=").expect("the package is pinned").1;
    pinned.split('"').next().unwrap()
}

/// A folder with a registry that has these versions of the package, and a backend with this
/// requirement.
fn world(name: &str, versions: &[&str], requirement: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("mocha-session-pin-{}-{name}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    let index = folder.join("registry/index/me/mc");
    for path in
        [&index, &folder.join("backend/src"), &folder.join("app/src"), &folder.join("app/.cargo")]
    {
        fs::create_dir_all(path).unwrap();
    }
    let lines = versions.iter().map(|version| {
        let checksum = "0".repeat(64);
        format!(r#"{{"name":"memcache","vers":"{version}","deps":[],"cksum":"{checksum}","features":{{}},"yanked":false}}"#)
    });
    fs::write(index.join("memcache"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let source = "[source.crates-io]\nreplace-with = \"local\"\n[source.local]\nlocal-registry = \"../registry\"\n";
    fs::write(folder.join("app/.cargo/config.toml"), source).unwrap();
    package(&folder.join("backend"), "backend", &format!("memcache = \"{requirement}\""));
    folder
}

fn package(folder: &Path, name: &str, dependencies: &str) {
    let about = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
    fs::write(
        folder.join("Cargo.toml"),
        format!("{about}[workspace]\n[dependencies]\n{dependencies}\n"),
    )
    .unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
}

/// The version that a program with the backend and this of its own gets, or what cargo says.
fn resolve(world: &Path, own: &str) -> Result<String, String> {
    package(&world.join("app"), "app", &format!("backend = {{ path = \"../backend\" }}\n{own}"));
    drop(fs::remove_file(world.join("app/Cargo.lock")));
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let run = Command::new(cargo)
        .args(["generate-lockfile", "--offline"])
        .current_dir(world.join("app"))
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    if !run.status.success() {
        return Err(String::from_utf8_lossy(&run.stderr).into_owned());
    }
    let lock = fs::read_to_string(world.join("app/Cargo.lock")).unwrap();
    let after = lock.split_once("name = \"memcache\"\nversion = \"").unwrap().1;
    Ok(after.split('"').next().unwrap().to_owned())
}

#[test]
fn newer_patch_of_the_client_changes_nothing_for_a_program_that_has_it_through_us() {
    let pinned = requirement();
    let (minor, patch) = pinned.rsplit_once('.').unwrap();
    let newer = format!("{minor}.{}", patch.parse::<u32>().unwrap() + 1);
    let versions = [pinned, newer.as_str()];

    let with_pin = world("pinned", &versions, &format!("={pinned}"));
    assert_eq!(
        resolve(&with_pin, "").unwrap(),
        pinned,
        "the version that was tested, though a newer one is out"
    );
    // A program that uses the package as well shares that version,
    assert_eq!(resolve(&with_pin, &format!("memcache = \"{minor}\"")).unwrap(), pinned);
    // and one that must have the newer one is told by cargo before anything is built.
    let refused = resolve(&with_pin, &format!("memcache = \"{newer}\"")).unwrap_err();
    assert!(refused.contains("failed to select a version for `memcache`"), "{refused}");

    // Without the pin every program would get what nobody has tested, by a mere `cargo update`.
    let without = world("open", &versions, minor);
    assert_eq!(resolve(&without, "").unwrap(), newer);
    for world in [with_pin, without] {
        fs::remove_dir_all(world).unwrap();
    }
}
