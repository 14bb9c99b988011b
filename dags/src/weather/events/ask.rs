//! The API → the topic: the whole response for each city that has a new reading.

use super::cities::{Cities, response_of};
use super::told::{self, LastReading};
use super::{PARTITIONS, TOPIC};
use crate::common::connections::WEATHER_API;
use crate::common::data_end;
use crate::common::lakehouse::Lakehouse;
use crate::common::topics::publish;
use crate::weather::cities::check;
use crate::weather::hourly::source::Source;
use orch::prelude::*;
use orch_lake::publish::Publisher;
use serde_json::Value;
use std::collections::HashMap;

/// Field that the producer adds to a response: the time of the request, in milliseconds since the Unix epoch.
const REQUESTED_AT: &str = "ingest_timestamp_ms";

/// Number of produced records, and the cities without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PollSummary {
    pub produced: usize,
    /// Number of cities whose reading was produced before.
    pub unchanged: usize,
    /// Cities whose request failed; the log has the errors.
    pub unanswered: Vec<String>,
}

/// Requests each city. A failed request affects no other city; the task fails if all of them fail.
#[task(retries = 2, retry_delay = secs(5), timeout = mins(5))]
pub async fn ask_weather(ctx: Ctx, wish: Cities) -> TaskResult<PollSummary> {
    check(&wish.cities)?;
    let place = Lakehouse::of(&ctx).await?;
    let source = Source::of(&ctx.connection(WEATHER_API).await?)?;
    source.require("weatherapi")?;
    let known = told::last(&place, &wish.cities).await?;
    let (mut records, mut news, mut unanswered, mut last_error) = (Vec::new(), HashMap::new(), Vec::new(), None);
    for city in &wish.cities {
        match source.current(&ctx, city, response_of).await {
            Ok(response) => {
                let reading = reading_of(&response, city);
                if reading.is_none() || reading.as_ref() != known.get(city) {
                    records.push(record(&ctx, response, city)?);
                    news.extend(reading.map(|reading| (city.clone(), reading)));
                }
            }
            Err(error) => {
                ctx.warning(format!("`{city}`: {error:#}"));
                unanswered.push(city.clone());
                last_error = Some(error);
            }
        }
    }
    let (produced, failed) = (records.len(), unanswered.len());
    if let Some(error) = last_error.filter(|_| failed == wish.cities.len()) {
        return Err(error);
    }
    let unchanged = wish.cities.len() - produced - failed;
    ctx.info(format!("{produced} cities have a new reading, {unchanged} have not, {failed} were not answered"));
    if produced > 0 {
        publish(&ctx, TOPIC, PARTITIONS, records).await?;
        Publisher::new(&ctx, &place.lake).await?.also(told::store(news))?;
    }
    Ok(PollSummary { produced, unchanged, unanswered })
}

/// Returns the reading of a response, or `None` if the response does not identify it. Such a response is produced
/// anyway, and the contract of the table checks it.
fn reading_of(response: &Value, city: &str) -> Option<LastReading> {
    let last_updated_epoch = response.pointer("/current/last_updated_epoch")?.as_i64()?;
    Some((name_of(response).unwrap_or(city).replace('\0', ""), last_updated_epoch))
}

fn name_of(response: &Value) -> Option<&str> {
    response.pointer("/location/name")?.as_str()
}

fn record(ctx: &Ctx, mut response: Value, city: &str) -> TaskResult<NewRecord> {
    let key = name_of(&response).unwrap_or(city).to_owned();
    if let Some(fields) = response.as_object_mut() {
        fields.insert(REQUESTED_AT.into(), data_end(ctx).timestamp_millis().into());
    }
    Ok(NewRecord::json(&response)?.key(key))
}
