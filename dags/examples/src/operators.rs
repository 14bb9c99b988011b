//! Tasks that need no function of yours: programs, files, other DAGs. What they are told is data, shown on their page. Where
//! it depends on the run, a body carries an operator out itself.

use orch::Operator as _;
use orch::prelude::*;

/// Which files are kept, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Keep {
    /// An absolute path; `*` stands for letters of a name.
    files: String,
    /// A folder, made if it is missing.
    folder: String,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { files: "/etc/hosts*".into(), folder: "/tmp/orch-example-operators".into() }
    }
}

#[task]
async fn keep(ctx: Ctx, what: Keep) -> TaskResult<Vec<String>> {
    let kept = CopyFiles::new(&what.files, &what.folder).run(ctx).await?;
    Ok(kept.files)
}

pub(crate) fn example_operators() -> Dag {
    dag("example_operators").describe("Programs, files and other DAGs").tags(["example"]).build(|d| {
        let script =
            "import json, platform, sys\nprint(json.dumps({'python': platform.python_version(), 'of': sys.argv[1]}))";
        let version = d.add(python(Python::script(script).arg("this machine")).id("version"));
        let kept = d.add(keep(d.params::<Keep>()).after(version));
        // Its end is waited for without a slot.
        let hello = TriggerDag::dag("example_hello").and_wait().poke_every(millis(500));
        d.add(trigger_dag(hello).id("hello").after(kept));
    })
}
