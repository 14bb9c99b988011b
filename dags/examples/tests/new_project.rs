//! What `orch new` writes compiles and passes its own tests with the `orch` of this repository.

#[path = "../../../cli/template/src/main.rs"]
#[expect(dead_code, reason = "its `main` is for a binary of its own")]
mod project;
