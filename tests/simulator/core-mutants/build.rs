//! Compiles the core's sources with the bugs that can be planted in them.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=mocha_mutants");
}
