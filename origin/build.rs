//! Tells the program its version and the commit that it is built from, and builds it anew when a
//! migration of the database comes.

#[path = "../xtask/version.rs"]
mod version;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=migrations");
    version::tell();
}
