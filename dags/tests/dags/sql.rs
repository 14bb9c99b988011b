//! `orch sql` and the lake's API over tables that the pipelines wrote.

use crate::standalone::{PASSWORD, Standalone, run_in};
use crate::world::{FinishedCommand, command};
use orch_test_support::guide::{examples, guide};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const COUNT: &str = "select count(*) as n, sum(order_item_subtotal) as cents from retail.orders_fact";

/// A standalone whose retail pipelines ran once, on the sample data.
struct Shop(Standalone);

impl Shop {
    fn open() -> Shop {
        let shop = Shop(Standalone::start());
        assert_eq!(shop.run(&["dags", "trigger", "retail_medallion", "--run-id", "first", "--wait"]).code, 0);
        shop
    }

    fn run(&self, arguments: &[&str]) -> FinishedCommand {
        self.0.run(arguments)
    }

    fn sql(&self, arguments: &[&str]) -> String {
        self.run(&[&["sql"], arguments].concat()).done()
    }

    /// Returns the status line and the JSON body of the server's response.
    fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> (String, Value) {
        let host = self.0.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
            Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().into(), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

#[test]
fn tables_of_the_pipelines_are_asked_from_a_shell_and_over_the_api() {
    let shop = Shop::open();
    let csv = shop.sql(&[COUNT, "-o", "csv"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("n,cents"));
    let (rows, cents) = lines.next().unwrap().split_once(',').unwrap();
    assert!(rows.parse::<u64>().unwrap() > 1_000 && cents.contains('.'), "{csv}");
    // Gold has the same sums as silver.
    let gold = "select sum(total_quantity) from retail.sales_by_product";
    let silver = "select sum(order_item_quantity) from retail.orders_fact";
    assert_eq!(shop.sql(&[gold, "-o", "plain"]).lines().last(), shop.sql(&[silver, "-o", "plain"]).lines().last());

    let objects: Value = serde_json::from_str(&shop.sql(&[COUNT, "-o", "json"])).unwrap();
    assert_eq!(objects, json!([{ "n": rows.parse::<u64>().unwrap(), "cents": cents }]));
    let file = shop.0.home.path().join("count.sql");
    std::fs::write(&file, format!("-- how many\n{COUNT};\n")).unwrap();
    assert_eq!(shop.sql(&["-f", file.to_str().unwrap(), "-o", "csv"]), csv);
    let runs = shop.sql(&["select distinct dag_id, run_id from retail.\"orders_fact$snapshots\"", "-o", "csv"]);
    assert_eq!(runs, "dag_id,run_id\r\nretail_medallion,first\r\n");
    let cut = shop.run(&["sql", "select * from retail.orders_fact", "--limit", "3", "-o", "csv"]);
    assert_eq!(cut.out.lines().count(), 4);
    assert!(cut.err.contains("raise `--limit`"), "{cut:?}");

    for (sql, words) in [
        ("delete from retail.orders_fact", "error: `delete` is refused: SQL may only read here\nhint: "),
        ("select * from retail.orders_fac", "did you mean `retail.orders_fact`?"),
        ("select nothing from retail.orders_fact", "nothing"),
    ] {
        let refused = shop.run(&["sql", sql]);
        assert!(refused.code == 2 && refused.err.contains(words), "{sql}: {refused:?}");
    }

    the_examples_of_the_guide_are_answered(&shop);

    let login = json!({ "username": "admin", "password": PASSWORD });
    let token = shop.ask("POST", "/auth/token", "", &login).1["access_token"].as_str().unwrap().to_owned();
    let elsewhere = tempfile::tempdir().unwrap();
    let remote = |arguments: &[&str]| {
        let mut command = command(elsewhere.path());
        command.env("ORCH_API_URL", &shop.0.url).env("ORCH_API_TOKEN", &token).arg("sql").args(arguments);
        FinishedCommand::of(&command.output().unwrap())
    };
    assert_eq!(remote(&[COUNT, "-o", "csv"]).done(), csv);
    let refused = remote(&["drop table retail.orders_fact"]);
    assert!(
        refused.code == 2 && refused.err.contains("may only read") && refused.err.contains("hint: "),
        "{refused:?}"
    );
    let (status, tables) = shop.ask("GET", "/api/orch/v1/lake/tables?limit=100", &token, &Value::Null);
    assert!(status.contains("200") && tables["total_entries"].as_u64().is_some_and(|n| n >= 10), "{tables}");
    let fact = tables["tables"].as_array().unwrap().iter().find(|table| table["name"] == "orders_fact").unwrap();
    assert_eq!(fact["last"]["made_by"]["run_id"], "first");
    assert_eq!(fact["totals"]["rows"].to_string(), rows);
}

/// Runs every statement of `docs/guides/sql.md` verbatim, except for a snapshot and a time.
fn the_examples_of_the_guide_are_answered(shop: &Shop) {
    let guide = guide("sql");
    let shell = examples(&guide, "sh").into_iter().flat_map(|(_, example)| {
        let quoted = |line: &str| Some(line.strip_prefix("orch sql \"")?.split('"').next()?.to_owned());
        example.lines().filter_map(quoted).collect::<Vec<_>>()
    });
    let shell: Vec<String> = shell.collect();
    assert_eq!(shell.len(), 3, "{shell:?}");
    let blocks: String = examples(&guide, "sql").into_iter().map(|(_, example)| example).collect();
    // Removes comments.
    let lines = blocks.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    let statements: Vec<String> = statements.map(Into::into).chain(shell).collect();
    assert_eq!(statements.len(), 12, "{statements:?}");
    let snapshot = shop.sql(&["select snapshot_id from retail.\"orders_fact$snapshots\"", "-o", "csv"]);
    let snapshot = snapshot.lines().nth(1).unwrap();
    for statement in statements {
        let asked = statement.replace("7716229044100123456", snapshot).replace("2026-11-20 06:00", "2999-01-01 06:00");
        let answer = shop.sql(&[&asked, "-o", "csv"]);
        assert!(answer.lines().count() > 1, "{asked}: {answer}");
        if statement.starts_with("explain") {
            let (_, scan) = answer.split_once("LakeScan: table=retail.orders_fact, files=").unwrap();
            let (read, rest) = scan.split_once('/').unwrap();
            let all = rest.split(',').next().unwrap();
            assert!(read.parse::<u32>().unwrap() < all.parse::<u32>().unwrap(), "{answer}");
        }
    }
}

#[test]
fn where_there_is_no_server_the_command_says_so() {
    let home = tempfile::tempdir().unwrap();
    let refused = run_in(home.path(), &["sql", "select 1"]);
    assert!(refused.code == 2 && refused.err.contains("no orch has been started"), "{refused:?}");
}
