//! Tells the program its version and the commit that it is built from.

#[path = "../xtask/version.rs"]
mod version;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    version::tell();
}
