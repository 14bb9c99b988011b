//! House rules that neither the compiler nor clippy can check: which room may know which, circles of modules, licences,
//! unused dependencies, words and SQL in the wrong place, file sizes. Each test names every offender and what to do
//! instead.

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
