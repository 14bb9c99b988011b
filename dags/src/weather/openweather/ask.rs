//! The API → the topic: produces the whole response for each city, or an error record.

use super::cities::{Cities, response_of};
use super::{PARTITIONS, TOPIC};
use crate::common::connections::WEATHER_API;
use crate::common::data_end;
use crate::common::topics::publish;
use crate::weather::cities::check;
use crate::weather::hourly::source::Source;
use chrono::{DateTime, Utc};
use orch::prelude::*;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Produced {
    pub answers: usize,
    /// Cities for which an error record was produced.
    pub refused: Vec<String>,
}

/// Requests each city. A failed request is produced as an error record, so that readers of the topic are notified.
#[task(retries = 1, retry_delay = mins(1), timeout = mins(5))]
pub async fn fetch_and_produce(ctx: Ctx, wish: Cities) -> TaskResult<Produced> {
    check(&wish.cities)?;
    let source = Source::of(&ctx.connection(WEATHER_API).await?)?;
    source.require("openweather")?;
    let (mut records, mut refused) = (Vec::new(), Vec::new());
    for city in &wish.cities {
        let record = match source.current(&ctx, city, response_of).await {
            Ok(response) => dated(response, city, data_end(&ctx)),
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

/// Adds the time of the request, in UTC without a zone, and the requested name.
fn dated(mut response: Value, city: &str, at: DateTime<Utc>) -> Value {
    if let Some(fields) = response.as_object_mut() {
        fields.insert("_ingest_ts".into(), at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string().into());
        fields.insert("_city".into(), city.into());
    }
    response
}

/// Returns the status code of an error message such as `… answers 401`.
fn status_of(error: &anyhow::Error) -> Option<u16> {
    let message = format!("{error:#}");
    let (_, after) = message.split_once("` answers ")?;
    after.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_found_in_messages() {
        assert_eq!(status_of(&fatal("`http://h/x?appid=***` answers 401\nhint: look")), Some(401));
        assert_eq!(status_of(&fatal("`http://h/x` does not answer")), None);
    }
}
