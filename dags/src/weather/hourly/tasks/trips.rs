//! Across sources: what one pipeline wrote against what another one did.

use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::schema::ZONES;
use crate::weather::hourly::contracts::trips_against_zones as contract;
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::contract::{CheckOutcome, CheckTrail, Facts, KeySet};
use orch_lake::{Table, TableName};

/// Looks whether every trip begins and ends in a zone that the city knows. It only tells: the trips stay where they are.
#[task(retries = 2, retry_delay = secs(5), timeout = hours(1))]
pub async fn trips_against_zones(ctx: Ctx) -> TaskResult<u64> {
    let place = Lakehouse::of(&ctx).await?;
    let trips = filled(&place, &"nyc_taxi.trips".parse()?).await?;
    let (Some(trips), Some(zones)) = (trips, filled(&place, &ZONES.id()?).await?) else {
        return Err(skip("the trips and the zones are not both in the lake yet"));
    };
    let known = zones.scan().columns(["location_id"]).collect().await?;
    let facts = Facts::at(ctx.run_after()).keys(ZONES.uri(), KeySet::of(&known, &["location_id"])?);
    let contract = contract();
    let mut checker = contract.begin(&facts)?;
    let columns = ["pickup_location_id", "dropoff_location_id"];
    let mut batches = trips.scan().columns(columns).stream().await?.report_progress(&ctx);
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        checker.check_batch(&batch)?;
        rows += batch.num_rows() as u64;
    }
    let found = checker.end();
    for check in found.iter().filter(|check| check.outcome != CheckOutcome::Pass) {
        ctx.warning(format!("not so of {} of {rows} trips: {}: {}", check.bad, check.name, check.sample));
    }
    ctx.commit(CheckTrail::new(&ctx, contract.uri(), found))?;
    Ok(rows)
}

/// A table with at least one snapshot.
async fn filled(place: &Lakehouse, name: &TableName) -> TaskResult<Option<Table>> {
    Ok(place.lake.find(name).await?.filter(|table| table.current_snapshot().is_some()))
}
