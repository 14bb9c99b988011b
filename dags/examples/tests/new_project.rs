//! The project that `orch new` writes compiles and passes its tests with the `orch` of this repository.

#[path = "../../../cli/template/src/main.rs"]
#[expect(dead_code, reason = "its `main` is for a binary of its own")]
mod project;
