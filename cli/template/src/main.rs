//! A first pipeline: what was sold in each city, every morning. Change it, save, and `orch dev` runs the new one.

use orch::prelude::*;

fn main() -> std::process::ExitCode {
    orch::main(|| vec![daily_sales()])
}

/// What one run is about: the page "Trigger" makes a form of it, and a conf that does not fit is refused.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Sales {
    /// Cities to look at.
    cities: Vec<String>,
    /// Orders below so many euros are left out.
    at_least: u32,
}

impl Default for Sales {
    fn default() -> Self {
        Sales { cities: vec!["Berlin".into(), "Lagos".into(), "Lima".into()], at_least: 10 }
    }
}

/// How much was sold in one city.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sold {
    city: String,
    euros: u32,
}

/// What there is to do: the next task runs once for each city.
#[task]
async fn list_cities(sales: Sales) -> TaskResult<Vec<String>> {
    ensure!(!sales.cities.is_empty(), "no city is named");
    Ok(sales.cities)
}

/// Adds up the orders of one city. Here yours would ask a database or an API: `ctx.connection("shop").await?`.
#[task(retries = 2, retry_delay = secs(5))]
async fn add_up(ctx: Ctx, city: String, sales: Sales) -> TaskResult<Sold> {
    let orders = (1..=12).map(|number| number * u32::try_from(city.len()).unwrap_or(1));
    let euros = orders.filter(|euros| *euros >= sales.at_least).sum();
    ctx.info(format!("{city}: {euros} euros"));
    Ok(Sold { city, euros })
}

/// Takes what all cities gave, in their order.
#[task]
async fn report(ctx: Ctx, sold: Vec<Sold>) -> TaskResult<String> {
    let best = sold.iter().max_by_key(|one| one.euros).context("nothing was sold")?;
    let all: u32 = sold.iter().map(|one| one.euros).sum();
    let words = format!("{all} euros in {} cities, most of it in {}", sold.len(), best.city);
    ctx.info(words.clone());
    Ok(words)
}

/// Tasks and what they wait for. A wrong wire does not compile.
fn daily_sales() -> Dag {
    dag("daily_sales")
        .describe("What was sold in each city")
        .schedule(cron("0 6 * * *").tz("UTC"))
        .start("2026-01-01")
        .tags(["first"])
        .build(|d| {
            let sales = d.params::<Sales>();
            let cities = d.add(list_cities(sales));
            let sold = d.map(cities, |city| add_up(city, sales));
            d.add(report(sold));
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState;

    /// The whole DAG runs in memory, in a moment: no database, no waiting.
    #[tokio::test]
    async fn the_report_names_the_best_city() {
        let dag = daily_sales();
        let run = dag.test().params(json!({ "cities": ["Rome", "Toronto"] })).run().await;
        let words = run.output::<String>("report");
        assert_eq!(words.as_deref(), Some("839 euros in 2 cities, most of it in Toronto"));
    }

    #[tokio::test]
    async fn a_city_that_fails_stops_the_report() {
        let dag = daily_sales();
        let run = dag.test().fail("add_up").run().await;
        assert_eq!(run.state("report"), TaskState::UpstreamFailed);
    }
}
