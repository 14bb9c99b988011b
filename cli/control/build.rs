//! Build script of both binaries of orch. Their vtables contain a million addresses that need relocation at each start.
//! Packed relocations take a hundredth of the space on disk and in memory. The loader must support them, which glibc
//! does since 2.36.

use std::process::Command;

fn main() {
    // The result depends only on the machine, so no change of a source file needs a rerun.
    println!("cargo::rerun-if-changed=Cargo.toml");
    let glibc = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok();
    let version = glibc.and_then(|said| String::from_utf8(said.stdout).ok()).unwrap_or_default();
    let minor = version.trim().strip_prefix("glibc 2.").and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor >= 36) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
