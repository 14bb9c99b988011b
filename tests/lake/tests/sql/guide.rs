//! The statements of `docs/guides/sql.md`, as they stand there.

use crate::world::{World, commit, named, orders};
use std::path::Path;

/// What stands in the guide for a snapshot, a time and a tag.
const SNAPSHOT: &str = "7716229044100123456";
const TIME: &str = "2026-11-20 06:00";
const TAG: &str = "audit";

fn statements(guide: &str) -> Vec<String> {
    let blocks = guide.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    // Without what is said about them.
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" --").next().unwrap_or_default());
    let text = lines.filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    text.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(Into::into).collect()
}

#[tokio::test]
async fn the_statements_of_the_guide_are_answered() {
    let world = World::with_orders().await;
    let table = world.lake.table(&named("retail.orders")).await.expect("it is there");
    let snapshot = table.current_snapshot().expect("there is one").snapshot_id().to_string();
    commit(&world.lake, &table, orders(900..1_800)).await;
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/sql.md");
    let statements = statements(&std::fs::read_to_string(guide).expect("the guide"));
    assert!(statements.len() >= 8, "{statements:?}");
    for statement in statements {
        let asked = statement.replace(SNAPSHOT, &snapshot).replace(TIME, "2999-01-01 06:00").replace(TAG, "main");
        let answer = world.ask(&asked).await.unwrap_or_else(|error| panic!("{asked}: {error}"));
        assert!(!answer.rows.is_empty(), "{asked}");
        if statement.starts_with("explain") {
            let plan = format!("{:?}", answer.rows);
            assert!(plan.contains("LakeScan: table=retail.orders, files=1/6"), "{plan}");
        }
    }
}
