//! Data quality on its page, on the home page and in the API: assets without checks, assets that pass, and assets that
//! are stale, anomalous or failing.

use crate::browser::Browser;
use crate::fake_lake::FakeLake;
use crate::fixture::Web;
use orch_sdk::task::{MemoryHost, RunFacts, TryFacts};
use orch_spec::asset::{CheckOutcome, CheckPolicy, CheckResult};
use orch_store::asset::{CheckTrail, keep_checks};
use serde_json::json;
use uuid::Uuid;

const URI: &str = "lake://retail/orders";

/// Records the results of one attempt: the numbers of bad rows of three checks.
pub(crate) async fn look(web: &Web, [failed, aside, warned]: [u64; 3]) {
    let result = |name: &str, kind: &str, policy, bad: u64| CheckResult {
        name: name.into(),
        kind: kind.into(),
        policy,
        outcome: if bad == 0 { CheckOutcome::Pass } else { CheckOutcome::of_bad(policy) },
        rows: 1_200,
        bad,
        sample: if bad == 0 { String::new() } else { "id 7: n is <0>".into() },
    };
    let results = vec![
        result("id is unique", "unique", CheckPolicy::Fail, failed),
        result("n is at least 1", "range", CheckPolicy::Quarantine, aside),
        result("at has no hole", "continuity", CheckPolicy::Warn, warned),
    ];
    let this_try = TryFacts { attempt: Uuid::now_v7(), ..TryFacts::test() };
    let ctx = MemoryHost::new().ctx_for(RunFacts::test(), this_try);
    keep_checks(&mut web.db().await, &CheckTrail::new(&ctx, URI, results)).await.expect("they are kept");
}

#[tokio::test]
async fn the_newest_look_counts_and_what_is_broken_needs_somebody() {
    let mut web = Web::new().await;
    web.restart(|config| config.lake = FakeLake::door("CO"));
    let mut browser = Browser::logged_in(&web).await;
    assert!(browser.get("/quality").await.has("No checks yet"));
    assert_eq!(web.get("/api/orch/v1/quality").await.body, json!({ "assets": [], "total_entries": 0 }));

    look(&web, [2, 0, 0]).await;
    let page = browser.get("/quality").await;
    for text in ["Of 1, 1 breaks its contract.", "3 checks: 1 failed", "not so: id is unique, 2 of 1,200 rows"] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    let home = browser.get("/").await;
    for text in ["Needs you", "not so: id is unique", "id 7: n is &#60;0&#62;"] {
        assert!(home.has(text), "{text}: {}", home.html);
    }

    // The next attempt passes the failed check and quarantines rows.
    look(&web, [0, 3, 1]).await;
    let page = browser.get("/quality").await;
    for text in [
        "Of 1, 1 has something to note.",
        "3 checks: 1 put rows aside, 1 warn",
        "3 of 1,200 rows put aside",
        "/lake/retail/orders",
    ] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    assert!(!browser.get("/").await.has("not so: id is unique"));
    let report = web.get("/api/orch/v1/quality").await.body;
    let orders = &report["assets"][0];
    assert_eq!(
        (&orders["uri"], &orders["outcome"], &orders["in_trouble"]),
        (&json!(URI), &json!("quarantined"), &json!(false))
    );
    assert_eq!(orders["looks"].as_array().map(Vec::len), Some(2));
    assert_eq!((&orders["looks"][0]["rows_aside"], &orders["looks"][1]["outcome"]), (&json!(3), &json!("fail")));
    assert_eq!(orders["findings"].as_array().map(Vec::len), Some(2));

    look(&web, [0, 0, 0]).await;
    let page = browser.get("/quality").await;
    assert!(page.has("Everything is as it was promised.") && page.has("3 checks passed"), "{}", page.html);
}

#[tokio::test]
async fn what_is_stale_is_said_wherever_freshness_is() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    let late = "insert into asset (uri, name, fresh_within_ms, fresh_until, stale_since)
        values ('lake://gold/sales', 'sales', 60000, now(), now())";
    sqlx::query(late).execute(&mut web.db().await).await.expect("it is there");
    let page = browser.get("/quality").await;
    for text in ["Of 1, 1 is stale.", "sales", "stale", "never updated", "no contract"] {
        assert!(page.has(text), "{text}: {}", page.html);
    }
    assert!(browser.get("/").await.has("it is stale"));
    let report = web.get("/api/orch/v1/quality").await.body;
    assert_eq!((&report["assets"][0]["in_trouble"], &report["assets"][0]["outcome"]), (&json!(true), &json!(null)));

    look(&web, [0, 0, 0]).await;
    for (query, expected) in [
        ("", "lake://gold/sales, lake://retail/orders of 2"),
        ("?in_trouble=true", "lake://gold/sales of 1"),
        ("?outcome=pass&uri_pattern=ORDERS", "lake://retail/orders of 1"),
        ("?order_by=-uri&limit=1", "lake://retail/orders of 2"),
    ] {
        assert_eq!(web.page_of(&format!("/api/orch/v1/quality{query}"), "assets", "uri").await, expected, "{query}");
    }
    assert_eq!(web.get("/api/orch/v1/quality?odd=1").await.status, 422);
}
