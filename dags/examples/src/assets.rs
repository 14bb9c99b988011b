//! Assets: data that one DAG writes and that triggers another. The DAGs share no schedule and do not name each other.

use orch::prelude::*;

/// Location of the orders. They are stale when they are older than a day.
fn orders() -> orch::Asset {
    asset("example://shop/orders").named("orders").group("shop").fresh_within(hours(24))
}

fn prices() -> orch::Asset {
    asset("example://shop/prices").named("prices").group("shop")
}

fn revenue() -> orch::Asset {
    asset("example://shop/revenue").named("revenue").group("shop")
}

/// Its success is an update of the orders; how many there were goes with it.
#[task]
async fn collect_orders(ctx: Ctx) -> TaskResult<u64> {
    let rows = 1_200;
    ctx.emit(AssetEvent::of(orders().uri).rows(rows))?;
    Ok(rows)
}

/// Needs no words: the outlet says it all.
#[task]
async fn collect_prices() -> TaskResult<u64> {
    Ok(80)
}

/// Which months it touches is known only now: it says so through an alias.
#[task]
async fn archive(ctx: Ctx, rows: u64) -> TaskResult<()> {
    for month in ["2026-10", "2026-11"] {
        let uri = format!("example://shop/archive/{month}");
        ctx.emit(AssetEvent::of(uri).through("monthly archive").rows(rows / 2))?;
    }
    Ok(())
}

pub(crate) fn example_asset_producer() -> Dag {
    dag("example_asset_producer").describe("Updates assets that other DAGs wait for").tags(["example"]).build(|d| {
        let rows = d.add(collect_orders().outlet(orders()));
        d.add(collect_prices().outlet(prices()));
        d.add(archive(rows).inlet(orders()).outlet(alias("monthly archive")));
    })
}

/// Reads what began its run, and says how much went where.
#[task]
async fn compute_revenue(ctx: Ctx) -> TaskResult<u64> {
    let events = ctx.triggering_events().await?;
    for event in &events {
        ctx.info(format!("{} was updated by {}", event.name, event.source_dag_id.as_deref().unwrap_or("a person")));
    }
    let rows = events.iter().filter_map(|event| event.rows).sum();
    ctx.lineage(&orders().uri, &revenue().uri, rows)?;
    Ok(rows)
}

pub(crate) fn example_asset_consumer() -> Dag {
    dag("example_asset_consumer")
        .describe("Runs when both the orders and the prices were updated")
        .tags(["example"])
        .schedule(orders() & prices())
        .build(|d| {
            d.add(compute_revenue().inlet(orders()).inlet(prices()).outlet(revenue()));
        })
}

#[task]
async fn tell(ctx: Ctx) -> TaskResult<String> {
    let events = ctx.triggering_events().await?;
    Ok(events.iter().map(|event| event.uri.as_str()).collect::<Vec<_>>().join(", "))
}

pub(crate) fn example_asset_alias() -> Dag {
    dag("example_asset_alias")
        .describe("Runs when the revenue, or any month of the archive, was updated")
        .tags(["example"])
        .schedule(revenue().or(alias("monthly archive")))
        .build(|d| {
            d.add(tell());
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::{MemoryHost, TriggeringEvent};

    fn update(asset: &orch::Asset, rows: Option<u64>) -> TriggeringEvent {
        TriggeringEvent {
            uri: asset.uri.clone(),
            name: asset.name().into(),
            extra: json!({}),
            timestamp: "2026-11-20T06:00:00Z".parse().expect("a time"),
            partition_key: None,
            rows,
            source_dag_id: Some("example_asset_producer".into()),
            source_run_id: None,
            source_task_id: None,
            source_map_index: None,
        }
    }

    #[tokio::test]
    async fn a_producer_says_what_it_updated() {
        let run = example_asset_producer().test().run().await;
        let mut said: Vec<(String, Option<u64>)> = run.asset_events.into_iter().map(|e| (e.uri, e.rows)).collect();
        said.sort(); // tasks finish in any order
        assert_eq!(
            said,
            [
                ("example://shop/archive/2026-10".into(), Some(600)),
                ("example://shop/archive/2026-11".into(), Some(600)),
                ("example://shop/orders".into(), Some(1_200)),
                ("example://shop/prices".into(), None),
            ]
        );
    }

    #[tokio::test]
    async fn a_consumer_reads_what_began_it() {
        let host = MemoryHost::new()
            .with_triggering_event(update(&orders(), Some(1_200)))
            .with_triggering_event(update(&prices(), None));
        let run = example_asset_consumer().test().host(&host).run().await;
        assert_eq!(run.output::<u64>("compute_revenue"), Some(1_200));
        assert_eq!(host.logs()[0].message, "orders was updated by example_asset_producer");
        assert_eq!(host.lineage_edges()[0].to, "example://shop/revenue");
    }
}
