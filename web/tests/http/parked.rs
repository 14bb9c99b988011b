//! A run that cannot be folded shows the reason and the remedy on its page, even if its state cannot be read.

use crate::browser::Browser;
use crate::fixture::Web;
use axum::http::StatusCode;
use orch_store::locks::Locks;
use orch_store::parked::park;
use orch_store::refold::{Keep, fold_run};
use orch_store::run::{cancel_run, get_run};
use orch_store::step::Stepper;
use orch_store::version::Versions;
use sqlx::AssertSqlSafe;

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn a_parked_run_says_why_since_when_and_what_to_do() {
    let web = Web::new().await;
    let mut db = web.db().await;
    let run_id = web.trigger("chain").await;
    let run = get_run(&mut db, "chain", &run_id).await.unwrap().unwrap().id;
    let href = format!("/dags/chain/runs/{}", encoded(&run_id));
    let mut browser = Browser::logged_in(&web).await;
    assert!(!browser.get(&href).await.has("parked"));

    park(&mut db, run, "row <5> of `ready` violates `poison`").await.unwrap();
    sqlx::query("update parked_run set parked_at = now() - interval '2 hours'").execute(&mut db).await.unwrap();
    let page = browser.get(&href).await;
    assert_eq!(page.status, StatusCode::OK);
    for words in [
        "The run is parked and cannot be moved on, ",
        "2 h ago",
        "row &#60;5&#62; of `ready` violates `poison`",
        "tried again each minute",
        &format!(r#"<a class="link" href="{href}/cancel">stop the run</a>"#),
        "orch doctor",
        "Task instances over time",
    ] {
        assert!(page.has(words), "{words} {}", page.html);
    }

    // If the ledger cannot be read, the page reports that and shows no state.
    for (harm, words) in [
        ("ledger = '{77}'", "1 tasks"),
        ("ledger = '{1,1,1,1,77}'", "unknown state 77"),
        ("ledger_format = 9", "has format 9, this orch reads 0 and 1"),
    ] {
        sqlx::query("delete from parked_run").execute(&mut db).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("update dag_run set {harm}"))).execute(&mut db).await.unwrap();
        fold_run(
            &mut db,
            &Locks::begin().runs(),
            &mut Stepper::default(),
            &mut Versions::default(),
            run,
            0,
            Keep::NOTHING,
        )
        .await
        .unwrap();
        let page = browser.get(&href).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.html);
        assert!(page.has("The run is parked") && page.has(words), "{words} {}", page.html);
    }

    cancel_run(&mut db, &Locks::begin().runs(), &mut Versions::default(), run).await.unwrap();
    let page = browser.get(&href).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    assert!(!page.has("parked"), "{}", page.html);
}
