//! Tasks without a task function: programs, files, other DAGs. Their parameters are data that their page shows. If the
//! parameters depend on the run, a task function runs the operator itself.

use orch::Operator as _;
use orch::prelude::*;

/// Which files are kept, and where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Keep {
    /// An absolute path; `*` stands for letters of a name. Empty: a note that the task writes.
    files: String,
    /// A folder, made if it is missing. Empty: one of the task's own, which goes with it.
    folder: String,
}

#[task]
async fn keep(ctx: Ctx, what: Keep) -> TaskResult<Vec<String>> {
    // A private folder: no other user can read it, and no two runs share it.
    let own = tempfile::Builder::new().prefix("orch-example-operators-").tempdir()?;
    let within = |name: &str| own.path().join(name).display().to_string();
    let or = |given: &str, usual: String| if given.is_empty() { usual } else { given.to_string() };
    tokio::fs::write(own.path().join("note.txt"), "kept by example_operators\n").await?;
    let (files, folder) = (or(&what.files, within("*.txt")), or(&what.folder, within("kept")));
    let kept = CopyFiles::new(&files, &folder).run(ctx).await?;
    Ok(kept.files)
}

pub(crate) fn example_operators() -> Dag {
    dag("example_operators").describe("Programs, files and other DAGs").tags(["example"]).build(|d| {
        let script =
            "import json, platform, sys\nprint(json.dumps({'python': platform.python_version(), 'of': sys.argv[1]}))";
        let version = d.add(python(Python::script(script).arg("this machine")).id("version"));
        let kept = d.add(keep(d.params::<Keep>()).after(version));
        // The task waits for the end of the triggered run without a slot.
        let hello = TriggerDag::dag("example_hello").and_wait().poke_every(millis(500));
        d.add(trigger_dag(hello).id("hello").after(kept));
    })
}
