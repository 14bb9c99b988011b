//! The lake's pages, the SQL console and their API: contents, access, the audit log, and how a query ends.

use crate::browser::{Browser, Page};
use crate::fake_lake::FakeLake;
use crate::fixture::{PASSWORD, Web};
use crate::log;
use crate::markup::problems;
use crate::pages::EVIL;
use axum::http::{Method, StatusCode};
use orch_store::lake_view::{LakeDoor, LakeError};
use orch_store::list::Search;
use orch_store::query_history::{QUERIES, QueryRow, by};
use orch_web::ADMIN;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const SQL: &str = "/api/orch/v1/sql";
const TABLES: &str = "/api/orch/v1/lake/tables";
const TABLE: &str = "/lake/retail/orders";

async fn with_lake(words: &'static str) -> Web {
    let mut web = Web::new().await;
    web.restart(|config| config.lake = FakeLake::door(words));
    web
}

async fn history(web: &Web) -> Vec<QueryRow> {
    let search = Search::default().and(by::USER.is(ADMIN));
    QUERIES.rows(&mut web.db().await, &search).await.expect("it can be read")
}

/// Polls until the newest query is in this state.
async fn newest_is(web: &Web, state: &str) -> QueryRow {
    for _ in 0..400 {
        if let Some(row) = history(web).await.into_iter().next().filter(|row| row.state == state) {
            return row;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the newest query never was `{state}`: {:?}", history(web).await.first());
}

fn wants(page: &Page, parts: &[&str]) {
    for part in parts {
        assert!(page.has(part), "`{part}` is missing: {}", page.html);
    }
}

#[tokio::test]
async fn the_pages_of_a_table_show_what_the_lake_says() {
    let web = with_lake("CO").await;
    let mut browser = Browser::logged_in(&web).await;
    let index = browser.get("/lake").await;
    wants(&index, &["2 tables, 2,394 rows in 91.4 kB", "retail", TABLE, "45.7 kB", "/dags/chain/runs/r1", "chain.t0"]);
    for (path, parts) in [
        (
            "",
            &[
                "order_id",
                "partitioned by state",
                "Iceberg v2",
                "1,197 rows",
                "lake://retail/orders",
                "***",
                "<svg class=\"chart\"",
                "total by state",
            ][..],
        ),
        ("/partitions", &["state=CA", "<svg class=\"chart\"", "1,197"]),
        ("/snapshots", &["+1,200 −3", "7716229044100123456", "append", "/dags/chain/runs/r1", "version%20as%20of"]),
        ("/files", &["0-CO.parquet", "state=CO", "ALABAMA", "22 kB", "?page=2"]),
        ("/files?page=3", &["22 kB", "?page=2"]),
        ("/lineage", &["lake://retail/orders", "No way is known yet"]),
        ("/nulls", &["order_id", "25.00 %", "+20.00", "<svg class=\"chart\"", "Without nulls", "orders%24nulls"]),
        (
            "/sample",
            &[
                "12.50",
                "3 rows in",
                "1 of 2 files (22 kB)",
                "/sql?sql=select%20*%20from%20retail.orders_cdc%20where%20state%20%3D%20%27CA%27",
            ],
        ),
    ] {
        let page = browser.get(&format!("{TABLE}{path}")).await;
        assert_eq!(page.status, 200, "{path}: {}", page.html);
        wants(&page, parts);
        assert!(!page.has("hush"), "{path} shows a secret");
    }
    let missing = browser.get("/lake/retail/none").await;
    assert_eq!(missing.status, 404);
    assert!(
        missing.has("there is no table") && missing.has("did you mean") && !missing.has("hint:"),
        "{}",
        missing.html
    );
    // The pages queried the sample, the nulls and the picture themselves: these are not queries of the user.
    let page = browser.get("/sql").await;
    assert!(page.has("None yet. What you run stands here for 30 days."), "{}", page.html);
    assert!(history(&web).await.is_empty() && web.deeds().await.is_empty());
}

#[tokio::test]
async fn tables_are_narrowed_sorted_and_counted() {
    let web = with_lake("CO").await;
    for (query, expected) in [
        ("", "orders, broken of 2"),
        ("?name=orders&namespace_pattern=RETAIL", "orders of 1"),
        ("?written_at_lt=2020-01-01T00:00:00Z", " of 0"),
        ("?order_by=-rows,name&limit=1", "broken of 2"),
    ] {
        assert_eq!(web.page_of(&format!("{TABLES}{query}"), "tables", "name").await, expected, "{query}");
    }
    assert_eq!(web.get(&format!("{TABLES}?odd=1")).await.status, 422);
}

#[tokio::test]
async fn a_binary_without_a_lake_says_how_to_get_one() {
    let web = Web::new().await;
    let mut browser = Browser::logged_in(&web).await;
    for path in ["/lake", "/sql"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        wants(&page, &["this server has no tables", "ORCH_BUNDLE"]);
    }
    let answer = web.get(TABLES).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body["detail"].as_str().is_some_and(|text| text.contains("\nhint: ")), "{}", answer.body);
    assert_eq!(web.post(SQL, &json!({ "sql": "select 1" })).await.status, 404);
    assert!(history(&web).await.is_empty(), "nothing ran, so nothing is written down");
}

#[tokio::test]
async fn a_query_of_the_console_is_answered_kept_and_written_down() {
    let web = with_lake("CO").await;
    let mut browser = Browser::logged_in(&web).await;
    let fields = [("sql", "select state, total from x"), ("limit", "100"), ("chart", "bar")];
    let page = browser.submit("/sql", "/sql", &fields).await;
    assert_eq!(page.status, 200, "{}", page.html);
    wants(
        &page,
        &["3 rows in", "12.50", "null", "select state, total from x", "total by state", "<svg class=\"chart\""],
    );
    let rows = history(&web).await;
    let newest = rows.first().expect("it is written down");
    assert_eq!((newest.state.as_str(), newest.rows), ("success", Some(3)));
    assert_eq!(web.deeds().await, ["run_sql"]);
    let again = browser.get(&format!("/sql?query={}", newest.id)).await;
    wants(&again, &["select state, total from x</textarea>"]);
    let wrong = browser.submit("/sql", "/sql", &[("sql", "wrong select")]).await;
    assert_eq!(wrong.status, 400);
    wants(&wrong, &["is refused", "write `select`", "wrong select</textarea>"]);
    assert_eq!(history(&web).await[0].state, "failed");
    for (query, expected) in [
        ("?state=failed", "wrong select of 1"),
        ("?sql_pattern=STATE&state=success&state=lost", "select state, total from x of 1"),
        ("?order_by=start_date&limit=1", "select state, total from x of 2"),
    ] {
        assert_eq!(web.page_of(&format!("{SQL}{query}"), "queries", "sql").await, expected, "{query}");
    }
    assert_eq!(web.get(&format!("{SQL}?odd=1")).await.status, 422);
    let empty = browser.submit("/sql", "/sql", &[("sql", "  ")]).await;
    wants(&empty, &["there is no SQL to run"]);
}

#[tokio::test]
async fn a_long_query_is_in_the_audit_log_whole() {
    let web = with_lake("CO").await;
    let sql = format!("select state from x where state not in ('{}')", "y".repeat(60_000));
    assert_eq!(web.post(SQL, &json!({ "sql": sql })).await.status, 200);
    let logged = web.get("/api/v2/eventLogs?event=run_sql").await;
    let extra = logged.body["event_logs"][0]["extra"].as_str().expect("what ran is there");
    assert!(extra.contains(&sql), "{} bytes of {}", extra.len(), sql.len());
}

#[tokio::test]
async fn a_form_that_is_sent_again_is_another_query() {
    let web = with_lake("CO").await;
    let mut browser = Browser::logged_in(&web).await;
    let id = "0b8a1f6e-0000-4000-8000-000000000001";
    for _ in 0..2 {
        let page = browser.submit("/sql", "/sql", &[("sql", "select 1"), ("query_id", id)]).await;
        assert_eq!(page.status, 200, "{}", page.html);
    }
    assert_eq!(history(&web).await.len(), 2);
}

#[tokio::test]
async fn rows_are_downloaded_as_csv_and_json() {
    let web = with_lake("a \"b\", c").await;
    let mut browser = Browser::logged_in(&web).await;
    let csv = browser.submit("/sql", "/sql/download", &[("sql", "select 1"), ("format", "csv")]).await;
    assert_eq!(csv.html, "state,total\r\nCA,12.50\r\n\"a \"\"b\"\", c\",7.25\r\n,1\r\n");
    assert_eq!(csv.headers["content-disposition"], "attachment; filename=\"query.csv\"");
    let file = browser.submit("/sql", "/sql/download", &[("sql", "select 1"), ("format", "json")]).await;
    let rows: Value = serde_json::from_str(&file.html).expect("JSON");
    assert_eq!(rows[1], json!({ "state": "a \"b\", c", "total": "7.25" }));
    let lines = web.post(SQL, &json!({ "sql": "select 1", "format": "jsonl", "limit": 1 })).await;
    assert_eq!(lines.body, json!({ "state": "CA", "total": "12.50" }));
    assert!(history(&web).await.iter().all(|row| row.state == "success"));
}

#[tokio::test]
async fn the_api_answers_within_its_limits() {
    let web = with_lake("CO").await;
    let answer = web.post(SQL, &json!({ "sql": "select 1", "limit": 2 })).await.body;
    assert_eq!(answer["rows"], json!([["CA", "12.50"], ["CO", "7.25"]]), "{answer}");
    assert_eq!((&answer["more"], &answer["seen"]["of_files"]), (&json!(true), &json!(2)));
    assert_eq!(answer["columns"][1], json!({ "name": "total", "type": "decimal(9, 2)", "is_number": true }));
    let listed = web.get(SQL).await.body;
    assert_eq!(listed["queries"][0]["query_id"], answer["query_id"]);
    let twice = json!({ "sql": "select 1", "query_id": answer["query_id"] });
    assert_eq!(web.post(SQL, &twice).await.status, 409);
    for (body, place) in [
        (json!({}), "sql"),
        (json!({ "sql": 1 }), "sql"),
        (json!({ "sql": "x", "limit": -1 }), "limit"),
        (json!({ "sql": "x", "format": "xml" }), "format"),
        (json!({ "sql": "x", "query_id": "x" }), "query_id"),
        (json!({ "sql": "x", "timeout_seconds": "long" }), "timeout_seconds"),
        (json!({ "sql": "x", "odd": 1 }), "odd"),
    ] {
        let refused = web.post(SQL, &body).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["detail"][0]["loc"]),
            (422, &json!(["body", place])),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_query_is_cancelled_by_its_owner_at_any_server_or_by_whoever_asked_going_away() {
    let web = with_lake("CO").await;
    web.add_user("ops", "op").await;
    let other = web.log_in("ops", PASSWORD).await.expect("it is right");
    let id = "0b8a1f6e-0000-4000-8000-000000000002";
    let wait = json!({ "sql": "wait", "query_id": id });
    let cancel = async |token: &str| {
        newest_is(&web, "running").await;
        web.send(Method::DELETE, &format!("{SQL}/{id}"), Some(token), None).await.status.as_u16()
    };
    let ended = async {
        assert_eq!(cancel(&other).await, 404, "it is not theirs");
        assert_eq!(cancel(&web.token).await, 204);
    };
    let (answer, ()) = tokio::join!(web.post(SQL, &wait), ended);
    assert_eq!((answer.status.as_u16(), &answer.body["detail"]), (409, &json!("the query was cancelled")));
    newest_is(&web, "cancelled").await;
    assert_eq!(cancelled_again(&web, id).await, 404);
    // The client no longer waits for the response.
    let gone = tokio::time::timeout(Duration::from_millis(200), web.post(SQL, &json!({ "sql": "wait" }))).await;
    assert!(gone.is_err(), "it waits");
    let row = newest_is(&web, "cancelled").await;
    assert_ne!(row.id.to_string(), id);
}

async fn cancelled_again(web: &Web, id: &str) -> u16 {
    web.change(Method::DELETE, &format!("{SQL}/{id}"), &Value::Null).await.status.as_u16()
}

#[tokio::test]
async fn viewers_see_tables_but_neither_values_nor_queries() {
    let web = with_lake("CO").await;
    web.add_user("vera", "viewer").await;
    let token = web.log_in("vera", PASSWORD).await.expect("it is right");
    let files = &format!("{TABLES}/retail/orders/files?limit=1");
    let seen = web.send(Method::GET, files, Some(&token), None).await.body;
    assert_eq!(seen["files"][0]["columns"][0]["least"], Value::Null);
    assert_eq!(web.get(files).await.body["files"][0]["columns"][0]["least"], "ALABAMA");
    let asked = web.send(Method::POST, SQL, Some(&token), Some(json!({ "sql": "select 1" }).to_string())).await;
    assert_eq!(asked.status, 403);
    let mut browser = Browser::new(&web);
    browser.log_in("vera", PASSWORD, "/").await;
    for (path, status) in [("/lake", 200), (TABLE, 200), ("/lake/retail/orders/sample", 403), ("/sql", 200)] {
        let page = browser.get(path).await;
        assert_eq!(page.status.as_u16(), status, "{path}");
        assert!(!page.has("</svg>Run<") && !page.has("/sample\"") || status == 403, "{path}");
    }
    assert!(!browser.get(&format!("{TABLE}/files")).await.has("ALABAMA"));
    let tried = browser.submit("/sql", "/sql", &[("sql", "select 1")]).await;
    assert_eq!(tried.status, 403);
}

#[tokio::test]
async fn only_admins_and_the_log_get_the_reason_why_the_lake_cannot_be_read() {
    let mut web = Web::new().await;
    let reason = "the lake cannot be opened: 10.9.8.7:5432: connection refused";
    web.restart(|config| {
        let failed = move || std::future::ready(Err(LakeError::Unavailable(reason.into())));
        config.lake = LakeDoor::new(Arc::new(move || Box::pin(failed())));
    });
    web.add_user("ann", "op").await;
    let token = web.log_in("ann", PASSWORD).await.unwrap();
    let mut browser = Browser::new(&web);
    let sql = json!({ "sql": "select 1" });
    for (name, token, expected) in
        [(ADMIN, web.token.clone(), reason), ("ann", token, "a connection that this request uses failed")]
    {
        browser.log_in(name, PASSWORD, "/").await;
        let tables = web.send(Method::GET, "/api/orch/v1/lake/tables", Some(&token), None).await;
        let asked = web.send(Method::POST, "/api/orch/v1/sql", Some(&token), Some(sql.to_string())).await;
        for answer in [tables, asked] {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            assert!(answer.body["detail"].as_str().unwrap().starts_with(expected), "{name}: {answer:?}");
        }
        let pages = [
            browser.get("/lake").await,
            browser.get("/lake/retail/orders").await,
            browser.submit("/sql", "/sql", &[("sql", "select 1")]).await,
        ];
        for page in pages {
            assert_eq!(page.has("10.9.8.7"), name == ADMIN, "{name}: {}", page.html);
        }
    }
    assert!(log::lines().matches(reason).count() > 4, "the log has the reason");
}

#[tokio::test]
async fn what_is_in_the_lake_stays_text_on_its_pages() {
    let web = with_lake(EVIL).await;
    let mut browser = Browser::logged_in(&web).await;
    for path in ["/lake", "/sql"] {
        assert_eq!(problems(&browser.get(path).await.html), Vec::<String>::new(), "{path}");
    }
    for tab in ["", "/partitions", "/snapshots", "/files", "/lineage", "/sample", "/nulls"] {
        let page = browser.get(&format!("{TABLE}{tab}")).await;
        assert_eq!(page.status, 200, "{tab}: {}", page.html);
        assert_eq!(problems(&page.html), Vec::<String>::new(), "{tab}");
    }
    for chart in ["bar", "line"] {
        for sql in [format!("select {EVIL}"), format!("wrong {EVIL}")] {
            let page = browser.submit("/sql", "/sql", &[("sql", &sql), ("chart", chart)]).await;
            assert_eq!(problems(&page.html), Vec::<String>::new(), "{sql}");
        }
    }
}

#[tokio::test]
async fn answers_about_the_lake_are_as_described() {
    let web = with_lake("CO").await;
    let document = web.get("/openapi.json").await.body;
    for (route, path) in [
        (TABLES.to_string(), TABLES.to_string()),
        (format!("{TABLES}/{{namespace}}/{{table}}"), format!("{TABLES}/retail/orders")),
        (format!("{TABLES}/{{namespace}}/{{table}}/files"), format!("{TABLES}/retail/orders/files?limit=2")),
        (format!("{TABLES}/{{namespace}}/{{table}}/partitions"), format!("{TABLES}/retail/orders/partitions")),
        (format!("{TABLES}/{{namespace}}/{{table}}/snapshots"), format!("{TABLES}/retail/orders/snapshots")),
    ] {
        crate::openapi::is_as_described(&document, ("get", &route), &web.get(&path).await);
    }
    let answer = web.post(SQL, &json!({ "sql": "select 1" })).await;
    crate::openapi::is_as_described(&document, ("post", SQL), &answer);
    crate::openapi::is_as_described(&document, ("get", SQL), &web.get(SQL).await);
}
