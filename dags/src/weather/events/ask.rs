//! The API → the topic: its whole answer for each city that has a new reading.

use super::cities::{Cities, check};
use super::sample::answer_of;
use super::told::{self, LastReading};
use super::{PARTITIONS, TOPIC};
use crate::common::connections::WEATHER_API;
use crate::common::lakehouse::Lakehouse;
use crate::common::topics::publish;
use crate::weather::hourly::source::Source;
use orch::prelude::*;
use serde_json::Value;
use std::collections::HashMap;

/// When the answer was asked for, in milliseconds since 1970: beside what the API says.
const ASKED_AT: &str = "ingest_timestamp_ms";

/// What became of the cities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PollSummary {
    pub produced: usize,
    /// Nothing new was told of them.
    pub unchanged: usize,
    /// The API told nothing of them: the log says why.
    pub unanswered: Vec<String>,
}

/// Asks for each city. One that is not answered holds up no other.
#[task(retries = 2, retry_delay = secs(5), timeout = mins(5))]
pub async fn ask_weather(ctx: Ctx, wish: Cities) -> TaskResult<PollSummary> {
    check(&wish.cities)?;
    let place = Lakehouse::of(&ctx).await?;
    let source = Source::of(&ctx.connection(WEATHER_API).await?)?;
    let known = told::last(&place, &wish.cities).await?;
    let (mut records, mut news, mut unanswered, mut last_error) = (Vec::new(), HashMap::new(), Vec::new(), None);
    for city in &wish.cities {
        let answer = match answer(&ctx, &source, city).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Err(skip(
                    "connection `weather_api` leads to an API that answers in another shape\nhint: this DAG needs one of \
                     the type `weatherapi`, or `sample`",
                ));
            }
            Err(error) => {
                ctx.warning(format!("`{city}`: {error:#}"));
                unanswered.push(city.clone());
                last_error = Some(error);
                continue;
            }
        };
        let told = reading_of(&answer, city);
        if told.is_none() || told.as_ref() != known.get(city) {
            records.push(record(&ctx, answer, city)?);
            news.extend(told.map(|told| (city.clone(), told)));
        }
    }
    if let Some(error) = last_error.filter(|_| unanswered.len() == wish.cities.len()) {
        return Err(error);
    }
    let produced = records.len();
    let unchanged = wish.cities.len() - produced - unanswered.len();
    ctx.info(format!(
        "{produced} cities have a new reading, {unchanged} have not, {} were not answered",
        unanswered.len()
    ));
    if produced > 0 {
        publish(&ctx, TOPIC, PARTITIONS, records).await?;
        ctx.commit(told::note(news))?;
    }
    Ok(PollSummary { produced, unchanged, unanswered })
}

async fn answer(ctx: &Ctx, source: &Source, city: &str) -> TaskResult<Option<Value>> {
    match source {
        Source::Sample(sample) => answer_of(*sample, city, ctx.run_after()).map(Some),
        Source::Api(api) => api.answer_by_name(ctx, "weatherapi", city).await,
    }
}

/// `None`: the answer does not say which reading it is. It is told all the same, and the contract of the table judges it.
fn reading_of(answer: &Value, city: &str) -> Option<LastReading> {
    let last_updated_epoch = answer.pointer("/current/last_updated_epoch")?.as_i64()?;
    Some(LastReading { city_name: name_of(answer).unwrap_or(city).replace('\0', ""), last_updated_epoch })
}

fn name_of(answer: &Value) -> Option<&str> {
    answer.pointer("/location/name")?.as_str()
}

fn record(ctx: &Ctx, mut answer: Value, city: &str) -> TaskResult<NewRecord> {
    let key = name_of(&answer).unwrap_or(city).to_owned();
    if let Some(fields) = answer.as_object_mut() {
        fields.insert(ASKED_AT.into(), ctx.run_after().timestamp_millis().into());
    }
    Ok(NewRecord::json(&answer)?.key(key))
}
