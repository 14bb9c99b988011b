//! For both binaries of orch. Their vtables are a million addresses that are written anew at each start: packed, they take a
//! hundredth of the room on disk and in memory. The loader has to know how, which glibc does from 2.36 on.

use std::process::Command;

fn main() {
    // It depends on nothing but the machine.
    println!("cargo::rerun-if-changed=Cargo.toml");
    let glibc = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok();
    let version = glibc.and_then(|said| String::from_utf8(said.stdout).ok()).unwrap_or_default();
    let minor = version.trim().strip_prefix("glibc 2.").and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 36) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
