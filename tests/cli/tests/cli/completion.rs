//! Completion of command lines in shells.

use crate::binary::{CommandOutput, command, run, without_settings};
use crate::world::World;
use std::path::Path;
use std::process::Command;

/// Maximum size of all scripts that packages contain.
const MAX_SCRIPT_BYTES: usize = 60_000;

/// A shell with the loaded script of `orch completion bash`.
struct Bash<'a> {
    home: &'a Path,
    database_url: String,
}

impl Bash<'_> {
    /// Returns the completions that bash offers at the end of this line. Words are split as readline does.
    fn complete(&self, line: &str) -> Vec<String> {
        let orch = self.home.join("orch");
        if !orch.exists() {
            std::os::unix::fs::symlink(command(self.home).get_program(), &orch).unwrap();
        }
        let script = self.home.join("orch.bash");
        std::fs::write(&script, run(self.home, ["completion", "bash"]).done()).unwrap();
        let press_tab =
            r#"source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _orch "$1"; printf '%s\n' "${COMPREPLY[@]}""#;
        let mut bash = without_settings(Command::new("bash"), self.home);
        bash.args(["-c", press_tab]).arg(script).arg(&orch).args(line.split(' '));
        bash.env("ORCH_DATABASE_URL", &self.database_url);
        let offered = CommandOutput::of(&bash.output().unwrap()).done();
        offered.lines().filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn bash_completes_commands_and_ids_of_dags() {
    let world = World::at_work().await;
    let home = tempfile::tempdir().unwrap();
    let bash = Bash { home: home.path(), database_url: world.url() };
    assert_eq!(bash.complete("dags trig"), ["trigger"]);
    assert_eq!(bash.complete("dags list --output = j"), ["json"]);
    assert_eq!(bash.complete("dags trigger example_dia"), ["example_diamond"]);
    assert_eq!(bash.complete("dags trigger --wait --conf {} test_f"), ["test_failing"]);
    assert_eq!(bash.complete("runs list --dag-id = test_f"), ["test_failing"]);
    assert_eq!(bash.complete("dags trigger nothing"), [""; 0]);
    let all = bash.complete("dags trigger ");
    let listed = world.run(&["dags", "list", "--columns", "dag_id", "-o", "plain"]).done();
    assert_eq!(all, listed.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn without_a_server_only_local_ids_are_completed() {
    let home = tempfile::tempdir().unwrap();
    let complete = |words: &[&str]| run(home.path(), [&["completion", "bash", "--"][..], words].concat()).done();
    assert_eq!(complete(&["dags", "trigger", "test_f"]), "");
    assert_eq!(complete(&["dags", "test", "test_f"]), "test_failing\n");
    assert!(!home.path().join("data").exists(), "nothing is left behind");
}

#[test]
fn each_shell_reads_candidates_in_its_form() {
    let home = tempfile::tempdir().unwrap();
    for (shell, expected) in [
        ("bash", "unpause\n"),
        ("zsh", "unpause:Unpause a DAG: runs that wait begin\n"),
        ("fish", "unpause\tUnpause a DAG: runs that wait begin\n"),
    ] {
        assert_eq!(run(home.path(), ["completion", shell, "--", "dags", "unp"]).done(), expected, "{shell}");
    }
}

#[test]
fn scripts_for_packages_are_small() {
    let scripts = ["bash", "zsh", "fish"].map(|shell| run(Path::new("/nonexistent"), ["completion", shell]).done());
    let bytes: usize = scripts.iter().map(String::len).sum();
    assert!(scripts.iter().all(|script| script.contains("completion")) && bytes <= MAX_SCRIPT_BYTES, "{bytes} bytes");
    for shell in ["elvish", "powershell"] {
        assert!(run(Path::new("/nonexistent"), ["completion", shell]).done().contains("states-for-dag-run"), "{shell}");
    }
}
