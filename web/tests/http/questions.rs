//! Lists of approvals: Airflow's filters and orders, with a constant number of statements however many runs ask.

use crate::approvals::{ALL, ask};
use crate::counted::Counted;
use crate::fixture::{Web, dag};
use axum::http::{Method, StatusCode};
use orch_spec::approval::Question;
use orch_store::registry::{NewBundle, register_bundle};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeSet;

async fn list(web: &Web, query: &str) -> Value {
    let answer = web.get(&format!("{ALL}?{query}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
    answer.body
}

/// Checks the subjects that a query finds, in order.
async fn check(web: &Web, query: &str, expected: &[&str]) {
    let found = list(web, query).await;
    let subjects: Vec<_> = found["hitl_details"].as_array().unwrap().iter().map(|one| one["subject"].clone()).collect();
    assert_eq!(subjects, expected, "{query}");
    assert_eq!(found["total_entries"], expected.len(), "{query}");
}

#[tokio::test]
async fn questions_are_found_by_all_that_airflow_asks_for() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let mut runs = Vec::new();
    for (subject, body) in [("Publish it?", "To 100% of them"), ("Delete it?", "For ever"), ("Ask again?", "")] {
        let body = Some(body.to_string()).filter(|body| !body.is_empty());
        runs.push(ask(&web, &mut db, &Question { body, ..Question::approval(subject) }).await);
    }
    let of = |run: &str| {
        let run: String = form_urlencoded::byte_serialize(run.as_bytes()).collect();
        format!("/api/v2/dags/asks/dagRuns/{run}/taskInstances/t/-1/hitlDetails")
    };
    let yes = json!({ "chosen_options": ["Approve"] });
    assert_eq!(web.change(Method::PATCH, &of(&runs[1]), &yes).await.status, StatusCode::OK);
    let (publish, delete, again) = ("Publish it?", "Delete it?", "Ask again?");
    let cases: &[(&str, &[&str])] = &[
        ("", &[publish, delete, again]),
        ("order_by=-ti_id", &[again, delete, publish]),
        ("order_by=subject", &[again, delete, publish]),
        ("order_by=-subject&limit=100", &[publish, delete, again]),
        ("order_by=-responded_at&order_by=subject", &[delete, again, publish]),
        ("order_by=dag_id,-created_at", &[again, delete, publish]),
        ("order_by=task_instance_state,task_instance_operator,rendered_map_index,run_after", &[publish, delete, again]),
        ("order_by=responded_by_user_name,responded_by_user_id,run_id,task_display_name", &[delete, publish, again]),
        ("dag_id_pattern=SK&task_id_pattern=T", &[publish, delete, again]),
        ("dag_id_pattern=nothing|as_s", &[publish, delete, again]),
        ("dag_id_prefix_pattern=sks", &[]),
        ("dag_id_prefix_pattern=as&task_id_prefix_pattern=t", &[publish, delete, again]),
        ("dag_id_pattern=~&subject_search=~", &[publish, delete, again]),
        ("dag_id=asks&task_id=t&map_index=-1", &[publish, delete, again]),
        ("dag_id=chain", &[]),
        ("task_id=other", &[]),
        ("map_index=0", &[]),
        ("state=awaiting_input&response_received=false", &[publish, again]),
        ("state=success&state=failed", &[]),
        ("response_received=true", &[delete]),
        ("responded_by_user_id=admin", &[delete]),
        ("responded_by_user_id=admin&responded_by_user_name=ann&responded_by_user_name=admin", &[delete]),
        ("responded_by_user_id=admin&responded_by_user_name=ann", &[]),
        ("responded_by_user_name=Fallback+to+defaults", &[]),
        ("subject_search=IT%3F", &[publish, delete]),
        ("subject_search=it|again", &[publish, delete, again]),
        ("body_search=ever", &[delete]),
        ("body_search=FOR", &[delete]),
        ("created_at_gte=2020-01-01T00:00:00Z&created_at_lt=2021-01-01T00:00:00Z", &[]),
        ("created_at_gt=2020-01-01T00:00:00Z&created_at_lte=2199-01-01T00:00:00Z", &[publish, delete, again]),
    ];
    for (query, expected) in cases {
        check(&web, query, expected).await;
    }
    let first = list(&web, "limit=1&offset=1").await;
    assert_eq!((&first["hitl_details"][0]["subject"], &first["total_entries"]), (&json!(delete), &json!(3)));
    let at = first["hitl_details"][0]["created_at"].as_str().unwrap().replace('+', "%2B");
    check(&web, &format!("created_at_gte={at}"), &[delete, again]).await;
    check(&web, &format!("created_at_gt={at}"), &[again]).await;
    check(&web, &format!("created_at_lte={at}"), &[publish, delete]).await;
    check(&web, &format!("created_at_lt={at}"), &[publish]).await;
    for (query, status) in [
        ("order_by=colour", StatusCode::BAD_REQUEST),
        ("state=open", StatusCode::UNPROCESSABLE_ENTITY),
        ("created_at_gte=yesterday", StatusCode::UNPROCESSABLE_ENTITY),
        ("map_index=x", StatusCode::UNPROCESSABLE_ENTITY),
        ("response_received=perhaps", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        assert_eq!(web.get(&format!("{ALL}?{query}")).await.status, status, "{query}");
    }
    // The counts of one DAG, of one run, and of a DAG without approvals.
    let count = async |address: &str| web.get(address).await.body["total_entries"].clone();
    assert_eq!(count("/api/v2/dags/asks/dagRuns/~/hitlDetails").await, 3);
    assert_eq!(count("/api/v2/dags/chain/dagRuns/~/hitlDetails").await, 0);
    let of_run = of(&runs[0]).replace("/taskInstances/t/-1", "");
    assert_eq!((count(&of_run).await, count(&of_run.replace("/asks/", "/~/")).await), (json!(1), json!(1)));
    for missing in ["/api/v2/dags/none/dagRuns/~/hitlDetails", "/api/v2/dags/asks/dagRuns/none/hitlDetails"] {
        assert_eq!(web.get(missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
}

/// Inserts 500 runs with ten elements each, all of which wait for a response.
async fn fill(db: &mut PgConnection, version: i32) {
    for sql in [
        "insert into dag_run (id, version, ledger_format, state, run_type, ledger, counters, dag_id, run_id, run_after,
            triggered_by)
        select overlay(uuid_of_moment(now())::text placing lpad(to_hex(n), 12, '0') from 25)::uuid, $1, 1, 'running',
          'manual', '{5}', '{10,0,0}', 'many', 'filled_' || n, now(), 'test' from generate_series(1, 500) n",
        "insert into task_instance (run, task, map_index, attempt, try_no, max_tries, lease_no, state)
        select r.id, 0, i, gen_random_uuid(), 1, 0, 1, 'awaiting_input' from dag_run r, generate_series(0, 9) i
        where r.version = $1",
        "insert into waiting (run, task, map_index, attempt, version, queue, priority, try_no, max_tries, lease_no, lost_no,
            state, wake_at, kind)
        select t.run, 0, t.map_index, t.attempt, $1, 1, 1, 1, 0, 2, 0, 'awaiting_input', now(), 'answer'
        from task_instance t join dag_run r on r.id = t.run where r.version = $1",
        "insert into approval (attempt, run, task_id, map_index, try_no, question)
        select t.attempt, t.run, 't', t.map_index, 1,
          json_build_object('subject', 'Element ' || t.map_index || '?', 'options', json_build_array('Approve', 'Reject'))
        from task_instance t join dag_run r on r.id = t.run where r.version = $1",
    ] {
        sqlx::query(sql).bind(version).execute(&mut *db).await.expect("rows");
    }
}

#[tokio::test]
async fn a_page_of_five_thousand_questions_of_five_hundred_runs_costs_a_dozen_statements() {
    let mut web = Web::new().await;
    let mut db = web.db().await;
    let many = dag(json!({ "dag_id": "many", "tasks": [
        { "task_id": "t", "kind": "approval", "map": { "each": { "value": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] } } }] }));
    let bundle = NewBundle { name: "many".into(), dags: vec![many] };
    let version = register_bundle(&mut db, &bundle, false).await.expect("it registers")[0].version_id;
    // The first run creates the partition of its week.
    web.trigger("chain").await;
    fill(&mut db, version).await;
    let statements = Counted::way_to(&web.database.url()).await;
    web.restart(|config| config.database_url.clone_from(&statements.url));
    for query in ["", "state=awaiting_input", "state=awaiting_input&state=success&order_by=-task_instance_state"] {
        // The first request reads the structure, which is then cached.
        list(&web, &format!("limit=1&{query}")).await;
        statements.count();
        list(&web, &format!("limit=1&{query}")).await;
        let of_one = statements.count();
        let page = list(&web, &format!("limit=100&{query}")).await;
        let of_many = statements.count();
        let found = page["hitl_details"].as_array().unwrap();
        let runs: BTreeSet<_> = found.iter().map(|one| one["task_instance"]["dag_run_id"].to_string()).collect();
        assert_eq!((found.len(), &page["total_entries"]), (100, &json!(5_000)), "{query}");
        assert!(runs.len() > 20, "{query}: only {} runs", runs.len());
        assert!(found.iter().all(|one| one["task_instance"]["state"] == "awaiting_input"), "{query}: {page}");
        // Periodic statements of the server may be counted too.
        let few = 3..=12;
        assert!(few.contains(&of_one) && few.contains(&of_many), "{query}: {of_one} statements, then {of_many}");
    }
}
