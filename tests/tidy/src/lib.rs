//! Repository rules that neither the compiler nor clippy can check: dependencies between packages, import cycles,
//! licences, unused dependencies, words, SQL in the wrong package, file sizes. Each test lists all offenders and the
//! fix.

#![cfg(test)]

mod advisories;
mod arrows;
mod bounds;
mod circles;
mod commits;
mod dependencies;
mod documents;
mod figures;
mod files;
mod literals;
mod locks;
mod parity;
mod pipelines;
mod words;
mod workspace;
