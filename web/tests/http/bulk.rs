//! Bulk changes of runs, instances or DAGs: a page shows what will change, its button repeats the number, and
//! everything works without JavaScript.

use crate::browser::{Browser, Page};
use crate::fixture::Web;
use axum::http::StatusCode;
use sqlx::PgConnection;
use uuid::Uuid;

async fn ids(db: &mut PgConnection) -> Vec<Uuid> {
    sqlx::query_scalar("select id from dag_run order by id").fetch_all(db).await.unwrap()
}

async fn states(db: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("select state::text from dag_run order by id").fetch_all(db).await.unwrap()
}

/// Fails the second task of the last run.
async fn fail_last(db: &mut PgConnection) {
    for text in [
        "delete from ready where run = (select max(id::text)::uuid from dag_run)",
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state, queued_at,
          started_at, ended_at) select max(id::text)::uuid, gen_random_uuid(), -1, t, 1, 2, 1,
          case when t = 0 then 'success' else 'failed' end::task_state, now(), now(), now() + interval '2 s'
          from dag_run, generate_series(0, 1) t group by t",
        "insert into task_instance (run, attempt, map_index, task, try_no, max_tries, lease_no, state)
          select max(id::text)::uuid, gen_random_uuid(), -1, t, 0, 2, 0, 'upstream_failed'
          from dag_run, generate_series(2, 4) t group by t",
        "update dag_run set state = 'failed', ended_at = now(), ledger = array[5, 6, 8, 8, 8]::smallint[]
          where id = (select max(id::text)::uuid from dag_run)",
    ] {
        sqlx::query(text).execute(&mut *db).await.unwrap();
    }
}

fn query(do_what: &str, ids: &[Uuid]) -> String {
    ids.iter().fold(format!("do={do_what}&back=/runs?state=all"), |query, id| format!("{query}&run={id}"))
}

/// Submits the last form of a page, with its hidden fields and its button.
async fn press(browser: &mut Browser<'_>, from: &str, to: &str, value: &str) -> Page {
    let page = browser.get(from).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    let form = page.html.split(r#"<form class="foot""#).nth(1).and_then(|rest| rest.split("</form>").next());
    let form = form.expect("a form").to_string();
    let text = |part: &str, name: &str| {
        part.split(&format!("{name}=\""))
            .nth(1)
            .map(|rest| rest.split('"').next().unwrap_or_default().replace("&#38;", "&"))
    };
    let fields = form
        .split(r#"<input type="hidden" "#)
        .skip(1)
        .map(|part| (text(part, "name").expect("a name"), text(part, "value").expect("a value")));
    let fields: Vec<(String, String)> = fields.collect();
    let mut pairs: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    pairs.push(("do", value));
    browser.send_form(to, &pairs, &[("sec-fetch-site", "same-origin")]).await
}

#[tokio::test]
async fn runs_are_stopped_together_and_only_those_that_are_not_over() {
    let web = Web::new().await;
    let mut db = web.db().await;
    for _ in 0..3 {
        web.trigger("chain").await;
    }
    fail_last(&mut db).await;
    let ids = ids(&mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let list = browser.get("/dags/chain/runs").await;
    assert_eq!(list.html.matches("data-pick").count(), 3);
    assert!(list.has(">Duration</th>"), "two of the runs are running: {}", list.html);
    let ask = format!("/runs/change?{}", query("stop", &ids));
    let page = browser.get(&ask).await;
    assert!(
        page.has("Stop 3 runs?") && page.has(">Stop 2 runs</button>") && page.has("orch runs cancel chain"),
        "{}",
        page.html
    );
    let done = press(&mut browser, &ask, "/runs/change", "stop").await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/runs?state=all"));
    assert_eq!(states(&mut db).await, ["failed", "failed", "failed"]);
    assert_eq!(web.deeds().await.iter().filter(|deed| deed.starts_with("cancel_run chain")).count(), 2);
}

#[tokio::test]
async fn runs_are_cleared_marked_and_deleted_together() {
    let web = Web::new().await;
    let mut db = web.db().await;
    for _ in 0..2 {
        web.trigger("chain").await;
        fail_last(&mut db).await;
    }
    let ids = ids(&mut db).await;
    let mut browser = Browser::logged_in(&web).await;
    let ask = format!("/runs/change?{}", query("clear", &ids));
    let page = browser.get(&ask).await;
    assert!(page.has("8 task instances of 2 runs will run again") && page.has(">Clear 8</button>"), "{}", page.html);
    assert!(browser.get(&format!("{ask}&chosen=yes")).await.has(">Clear 10</button>"));
    press(&mut browser, &ask, "/runs/change", "clear").await;
    assert_eq!(states(&mut db).await, ["running", "running"]);
    let ask = format!("/runs/change?{}", query("mark", &ids));
    assert!(browser.get(&ask).await.has(">Mark 2 as success</button>"));
    press(&mut browser, &ask, "/runs/change", "success").await;
    assert_eq!(states(&mut db).await, ["success", "success"]);
    let ask = format!("/runs/change?{}", query("delete", &ids[..1]));
    assert!(browser.get(&ask).await.has(">Delete 1 run</button>"));
    press(&mut browser, &ask, "/runs/change", "delete").await;
    assert_eq!(states(&mut db).await, ["success"]);
    // Deleted runs are left out.
    assert!(browser.get(&ask).await.has("No run is chosen"));
    assert_eq!(browser.get("/runs/change?run=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn chosen_instances_are_cleared_and_marked_and_runs_beside_theirs_too() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(web.trigger("chain").await);
        fail_last(&mut db).await;
    }
    let run = format!("/dags/chain/runs/{}", form_urlencoded::byte_serialize(runs[0].as_bytes()).collect::<String>());
    let mut browser = Browser::logged_in(&web).await;
    let table = browser.get(&format!("{run}/tasks")).await;
    assert!(table.html.matches("data-pick").count() == 5 && table.has(r#"value="1.-1""#), "{}", table.html);
    assert_eq!(browser.get(&format!("{run}/tasks?state=failed")).await.html.matches("data-pick").count(), 4);
    assert_eq!(browser.get(&format!("{run}/tasks?task=t2")).await.html.matches("data-pick").count(), 1);
    assert_eq!(browser.get(&format!("{run}/tasks?after=1.-1")).await.html.matches("data-pick").count(), 3);
    assert_eq!(browser.get(&format!("{run}/tasks?after=x")).await.status, StatusCode::BAD_REQUEST);
    for (query, words) in [
        ("pick=1.-1", ">Clear 4</button>"),
        ("pick=1.-1&chosen=yes", ">Clear 1</button>"),
        ("pick=1.-1&chosen=yes&upstream=on", ">Clear 2</button>"),
        ("pick=0.-1&pick=1.-1&chosen=yes&only_failed=on", ">Clear 1</button>"),
        ("pick=1.-1&chosen=yes&future=on", "2 task instances of 2 runs will run again"),
        ("pick=1.-1&chosen=yes&past=on", ">Clear 1</button>"),
        ("pick=1.-1&chosen=yes&only_running=on", "there is nothing to clear"),
    ] {
        let page = browser.get(&format!("{run}/clear?{query}")).await;
        assert!(page.has(words), "{query} {}", page.html);
    }
    assert_eq!(browser.get(&format!("{run}/clear?pick=x")).await.status, StatusCode::BAD_REQUEST);
    let page = browser.get(&format!("{run}/clear?pick=1.-1&pick=2.-1&chosen=yes")).await;
    assert!(page.has("--task-regex &#39;^(t1|t2)$&#39;"), "{}", page.html);
    // The selection was made on a page of a version that the run has left.
    for path in ["clear", "mark-chosen"] {
        let page = browser.get(&format!("{run}/{path}?pick=1.-1&version=999999")).await;
        assert_eq!(page.status, StatusCode::CONFLICT, "{}", page.html);
        assert!(page.has("moved to another DAG version"), "{}", page.html);
    }
    let ask = format!("{run}/mark-chosen?pick=1.-1&pick=2.-1");
    assert!(browser.get(&ask).await.has(">Mark 2 as success</button>"));
    let done = press(&mut browser, &ask, &format!("{run}/mark-chosen"), "success").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.html);
    assert_eq!(browser.get(&format!("{run}/tasks?state=success")).await.html.matches("data-pick").count(), 3);
    let ask = format!("{run}/clear?pick=1.-1&chosen=yes&future=on");
    let done = press(&mut browser, &ask, &format!("{run}/clear"), "clear").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.html);
    assert_eq!(states(&mut db).await, ["running", "running"]);
}

#[tokio::test]
async fn dags_are_paused_and_switched_on_together() {
    let web = Web::new().await;
    web.trigger("chain").await;
    let mut browser = Browser::logged_in(&web).await;
    let ask = "/dags/change?do=pause&dag=chain&dag=mapped&dag=paused&back=/dags?q=a";
    let page = browser.get(ask).await;
    assert!(
        page.has("Pause 2 DAGs?") && page.has(">Pause 2 DAGs</button>") && page.has("orch dags pause mapped"),
        "{}",
        page.html
    );
    // The page shows the states of the last runs. `mapped` has no runs.
    assert!(page.has("</svg>running</span>") && page.has("</svg>no status</span>"), "{}", page.html);
    assert!(!page.has("</svg>success</span>"), "{}", page.html);
    let done = press(&mut browser, ask, "/dags/change", "pause").await;
    assert_eq!(done.location(), "/dags?q=a");
    assert_eq!(browser.get("/dags?state=paused").await.html.matches("data-pick").count(), 3);
    let ask = "/dags/change?do=unpause&dag=chain&dag=mapped&dag=paused";
    press(&mut browser, ask, "/dags/change", "unpause").await;
    assert!(browser.get("/dags?state=paused").await.has("No matching DAGs"));
    assert_eq!(web.deeds().await.len(), 5);
    assert!(browser.get(ask).await.has("All of them are on already."));
    assert!(browser.get("/dags/change").await.has("No DAG is chosen"));
    let answer = browser.submit("/dags", "/dags/change", &[("do", "nonsense"), ("dag", "chain")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}
