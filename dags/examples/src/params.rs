//! Params: a struct whose JSON schema generates the trigger form, rejects an invalid conf and fills in defaults.

use orch::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Region {
    Europe,
    America,
    Asia,
}

/// What one run is to report on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Report {
    /// Where the orders were made.
    region: Region,
    /// Orders at most, the newest first.
    #[schemars(range(min = 1, max = 10_000))]
    limit: u32,
    /// Only of these customers; empty means all.
    customers: Vec<String>,
    /// Writes nothing.
    dry_run: bool,
}

impl Default for Report {
    fn default() -> Self {
        Report { region: Region::Europe, limit: 100, customers: Vec::new(), dry_run: true }
    }
}

/// Params are an input like any other, with their type.
#[task]
async fn select(report: Report) -> TaskResult<String> {
    let whose = if report.customers.is_empty() { "everybody".into() } else { report.customers.join(" and ") };
    Ok(format!("{} newest orders of {whose} in {:?}", report.limit, report.region))
}

/// What the run was started with is also in the context, as JSON.
#[task]
async fn write(ctx: Ctx, selection: String, report: Report) -> TaskResult<String> {
    ctx.info(format!("started with {}", ctx.conf()));
    if report.dry_run {
        return Err(skip("a dry run writes nothing"));
    }
    Ok(format!("written: {selection}"))
}

pub(crate) fn example_params() -> Dag {
    dag("example_params").describe("Params with types, defaults and a form").tags(["example"]).build(|d| {
        let report = d.params::<Report>();
        let selection = d.add(select(report));
        d.add(write(selection, report));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState;

    #[tokio::test]
    async fn defaults_fill_what_the_run_does_not_say() {
        let dag = example_params();
        let run = dag.test().run().await;
        assert_eq!(run.output::<String>("select").as_deref(), Some("100 newest orders of everybody in Europe"));
        assert_eq!(run.state("write"), TaskState::Skipped);

        let params = json!({ "region": "asia", "limit": 5, "customers": ["Ann", "Bob"], "dry_run": false });
        let run = dag.test().params(params).run().await;
        assert_eq!(run.output::<String>("write").as_deref(), Some("written: 5 newest orders of Ann and Bob in Asia"));
    }

    #[test]
    fn the_schema_says_what_a_form_needs() {
        let dag = example_params();
        let schema = dag.spec().params_schema.as_ref().expect("a schema");
        let field = |name: &str| &schema["properties"][name];
        assert_eq!(field("region")["default"], "europe");
        assert_eq!(field("region")["description"], "Where the orders were made.");
        assert_eq!(schema["$defs"]["Region"]["enum"], json!(["europe", "america", "asia"]));
        assert_eq!(
            (&field("limit")["minimum"], &field("limit")["maximum"], &field("limit")["default"]),
            (&json!(1), &json!(10_000), &json!(100))
        );
        assert_eq!(schema["additionalProperties"], false);
    }
}
