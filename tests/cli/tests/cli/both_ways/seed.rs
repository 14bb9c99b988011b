//! Two identical worlds: one is prepared with a running worker and scheduler, both are killed, and its database is
//! copied. Commands of the local world open the database; commands of the remote world use a web server over the copy.

use crate::binary::CommandOutput;
use crate::remote::alerts::receiver;
use crate::remote::{PASSWORD, token_of};
use crate::world::World;
use crate::{streams, topics};
use std::fs;
use std::net::TcpListener;

/// The second version of the file adds these tasks.
const MORE: &str = "dag_id: more\ntasks:\n  say: {bash: echo hello}\n";
const MORE_TASKS: &str = "  tell: {bash: echo hello}\n";
const ASKING: &str = "dag_id: asking\ntasks:\n  approved: {approval: {subject: Publish it?}}\n";
const WRONG: &str = "dag_id: wrong\ntasks:\n  say: {bsh: echo hello}\n";
const CHECKS: &str = "insert into asset_check (uri, name, kind, policy, outcome, rows, bad, sample, run, dag_id, run_id,
        task_id, map_index, try_no, attempt)
    select 'test://relayed', 'n is at least ' || n, 'range', 'warn', case when n = 2 then 'warn' else 'pass' end, 1200, 3,
        'id 7', gen_random_uuid(), 'd', 'r', 't', -1, 1, gen_random_uuid()
    from generate_series(1, 3) n";
/// Longer than the test, so that the tasks of the killed worker are not taken over.
const LEASE: &str = "10m";

pub(super) struct Pair {
    pub(super) local: World,
    pub(super) remote: World,
    url: String,
    /// Target of the connections of both worlds.
    _open: TcpListener,
}

impl Pair {
    pub(super) async fn new() -> Pair {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut local = World::new().await;
        settings(&mut local);
        // The user of the terminal and of the token must be the same, because the audit log is compared too.
        let person = local.run(&["info", "-o", "json"]).json()["user"].as_str().unwrap().to_owned();
        local.run_with(PASSWORD.as_bytes(), &["users", "create", "-u", &person, "-r", "admin"]).done();
        prepare(&mut local, open.local_addr().unwrap().port()).await;
        let mut remote = local.copy().await;
        for world in [&local, &remote] {
            put(world, "connections.json", "{\"open\": \"x://other\", \"new\": \"y://me:hush@h\"}");
            put(world, "broken.json", "{\"limit\": ");
            put(world, "big.json", &format!("{{\"text\": \"{}\"}}", "x".repeat(3_000_000)));
            put(world, "variables.json", "{\"limit\": 1, \"new\": {\"value\": [1], \"description\": \"d\"}}");
        }
        let url = remote.serve(PASSWORD).await;
        remote.set("ORCH_API_TOKEN", token_of(&url, &person));
        Pair { local, remote, url, _open: open }
    }

    pub(super) fn over_api(&self, arguments: &[&str]) -> CommandOutput {
        self.remote.run_at(&["--api-url", &self.url], arguments)
    }

    /// Starts the schedulers, which send alerts.
    pub(super) fn start_schedulers(&mut self) {
        self.local.start(&["scheduler"]);
        self.remote.start(&["scheduler"]);
    }
}

fn settings(world: &mut World) {
    world.set("ORCH_SECRET_KEY", world.run(&["secrets", "generate-key"]).done().trim());
    world.set("ORCH_TEST_CONNECTION", "true");
    world.set("ORCH_TEST_NETWORKS", "127.0.0.0/8");
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
}

fn put(world: &World, name: &str, text: &str) {
    fs::write(world.path().join(name), text).unwrap();
}

/// Creates everything that rows need and do not create themselves.
async fn prepare(world: &mut World, open_port: u16) {
    put(world, "dag-files/more.yaml", MORE);
    put(world, "dag-files/asking.yaml", ASKING);
    put(world, "dag-files/wrong.yaml", WRONG);
    let worker = world.start(&["worker", "--lease", LEASE, "--paused-at-creation=false"]);
    let scheduler = world.start(&["scheduler"]);
    world.wait_for(&["tasks", "list", "test_scheduled"], |ended| ended.code == 0);
    world.wait_for(&["dags", "export", "asking"], |ended| ended.code == 0);
    world.wait_for(&["dags", "export", "more"], |ended| ended.code == 0);
    let trigger = |dag_id: &str, run_id: &str, more: &[&str]| {
        world.run(&[&["dags", "trigger", dag_id, "--run-id", run_id], more].concat())
    };
    trigger("test_lingering", "long", &[]).done();
    trigger("asking", "asked", &[]).done();
    trigger("test_scheduled", "later", &[]).done();
    world.run(&["dags", "pause", "more"]).done();
    trigger("more", "waits", &[]).done();
    put(world, "dag-files/more.yaml", &format!("{MORE}{MORE_TASKS}"));
    for (dag_id, run_id, code) in [
        ("example_chain", "far", 0),
        ("test_failing", "bad", 1),
        ("example_fan", "wide", 0),
        ("example_alerts", "told", 0),
    ] {
        assert_eq!(trigger(dag_id, run_id, &["--wait"]).code, code, "{dag_id}");
    }
    let backfill = ["backfill", "create", "--dag-id", "example_chain", "--date", "2026-01-02", "--date", "2026-01-01"];
    world.run(&backfill).done();
    world.run(&["backfill", "wait", "1", "--timeout", "60s"]).done();
    let to = |port: u16| format!("mysql://me:hush@127.0.0.1:{port}/shop");
    world.run(&["connections", "add", "open", "--conn-uri", &to(open_port)]).done();
    world.run(&["connections", "add", "closed", "--conn-uri", &to(1)]).done();
    let hook = format!("{{\"conn_type\": \"webhook\", \"host\": \"http://127.0.0.1:{}\"}}", receiver(2));
    world.run(&["connections", "add", "hook", "--conn-json", &hook]).done();
    world.run(&["assets", "emit", "--name", "source", "--partition", "mon"]).done();
    world.wait_for(&["assets", "events", "test://relayed"], |ended| ended.out.contains("test_relaying"));
    world.sql(CHECKS).await;
    streams::seed(&mut world.db().await).await;
    topics::seed_reader(&mut world.db().await).await;
    world.wait_for(&["dags", "export", "more"], |ended| ended.out.contains("tell"));
    world.wait_for(&["approvals", "list"], |ended| ended.out.contains("Publish it?"));
    world.wait_for(&["dags", "list-import-errors"], |ended| ended.code == 1);
    world.wait_for(&["tasks", "state", "test_lingering", "linger", "long"], |ended| ended.out == "running\n");
    let told = ["alerts", "list", "--dag-id", "example_alerts", "-o", "json"];
    world.wait_for(&told, |ended| ended.out.contains("there is no connection"));
    world.wait_for(&["tasks", "logs", "broken", "fail", "bad"], |ended| ended.out.contains("the source is empty"));
    world.kill(worker);
    world.kill(scheduler);
}
