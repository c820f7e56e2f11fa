//! Rebuilds when a migration is added, because they are built in.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
