//! Tasks that need no function of yours: programs, files, other DAGs. What they are told is data, shown on their page.

use orch::prelude::*;

pub(crate) fn example_operators() -> Dag {
    dag("example_operators").describe("Programs, files and other DAGs").tags(["example"]).build(|d| {
        let script =
            "import json, platform, sys\nprint(json.dumps({'python': platform.python_version(), 'of': sys.argv[1]}))";
        let version = d.add(python(Python::script(script).arg("this machine")).id("version"));
        let kept =
            d.add(copy_files(CopyFiles::new("/etc/hosts*", "/tmp/orch-example-operators")).id("keep").after(version));
        // Its end is waited for without a slot.
        let hello = TriggerDag::dag("example_hello").and_wait().poke_every(millis(500));
        d.add(trigger_dag(hello).id("hello").after(kept));
    })
}
