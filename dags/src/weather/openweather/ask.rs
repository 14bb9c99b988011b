//! The API → the topic: its whole answer for each city, or that it refused.

use super::sample::answer_of;
use super::{Cities, PARTITIONS, TOPIC};
use crate::common::connections::WEATHER_API;
use crate::common::topics::publish;
use crate::weather::hourly::source::Source;
use chrono::{DateTime, Utc};
use orch::prelude::*;
use serde_json::Value;

const MOST_CITIES: usize = 50;

/// What became of the cities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Produced {
    pub answers: usize,
    /// The API refused these, which the topic has as well.
    pub refused: Vec<String>,
}

/// Asks for each city. What the API refuses is produced as an error record, so that those who read the topic know of it.
#[task(retries = 1, retry_delay = mins(1), timeout = mins(5))]
pub async fn fetch_and_produce(ctx: Ctx, wish: Cities) -> TaskResult<Produced> {
    if wish.cities.is_empty() || wish.cities.len() > MOST_CITIES {
        return Err(fatal(format!("`cities` has {} cities\nhint: name 1 to {MOST_CITIES}", wish.cities.len())));
    }
    let source = Source::of(&ctx.connection(WEATHER_API).await?)?;
    let at = ctx.run_after();
    let (mut records, mut refused) = (Vec::new(), Vec::new());
    for city in &wish.cities {
        let answer = match &source {
            Source::Sample(sample) => answer_of(*sample, city, at).map(Some),
            Source::Api(api) => api.answer_by_name(&ctx, "openweather", city).await,
        };
        let record = match answer {
            Ok(Some(answer)) => dated(answer, city, at),
            Ok(None) => {
                return Err(skip(
                    "connection `weather_api` leads to an API that answers in another shape\nhint: this DAG needs one of the type \
                     `openweather`, or `sample`",
                ));
            }
            Err(error) => {
                ctx.warning(format!("`{city}`: {error:#}"));
                refused.push(city.clone());
                json!({ "_error": true, "status_code": status_of(&error), "city": city })
            }
        };
        records.push(NewRecord::json(&record)?);
    }
    let answers = records.len() - refused.len();
    publish(&ctx, TOPIC, PARTITIONS, records).await?;
    ctx.info(format!("{answers} answers and {} refusals are in `{TOPIC}`", refused.len()));
    Ok(Produced { answers, refused })
}

/// With when it was asked for, in UTC without a zone, and by which name.
fn dated(mut answer: Value, city: &str, at: DateTime<Utc>) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("_ingest_ts".into(), at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string().into());
        fields.insert("_city".into(), city.into());
    }
    answer
}

/// Of an answer that was none: `… answers 401`.
fn status_of(error: &anyhow::Error) -> Option<u16> {
    let said = format!("{error:#}");
    let (_, after) = said.split_once("` answers ")?;
    after.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_refusal_is_kept() {
        assert_eq!(status_of(&fatal("`http://h/x?appid=***` answers 401\nhint: look")), Some(401));
        assert_eq!(status_of(&fatal("`http://h/x` does not answer")), None);
    }
}
