//! Conditions that combine other conditions. Each poke polls all combined conditions concurrently.

use futures::future::join_all;
use orch_sdk::task::{Awaited, BoxFuture, Condition, ConditionResult, Eyes, fatal};
use orch_sdk::wait::several;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct AnyCondition;
pub(super) struct AllConditions;

async fn looks(config: Value, eyes: Arc<dyn Eyes>) -> anyhow::Result<Vec<ConditionResult>> {
    let of: Vec<Awaited> = several(&config).map_err(fatal)?;
    Ok(join_all(of.into_iter().map(|one| eyes.poke_awaited(one))).await)
}

impl Condition for AnyCondition {
    fn kind(&self) -> &'static str {
        "any"
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        several(config).map(drop)
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        Box::pin(async move {
            let mut failed = None;
            for (index, look) in looks(config, eyes).await?.into_iter().enumerate() {
                match look {
                    Ok(Some(value)) => return Ok(Some(json!({ "index": index, "value": value }))),
                    Ok(None) => {}
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            // If no condition is met, report a failed poke instead of ignoring it.
            failed.map_or(Ok(None), Err)
        })
    }
}

impl Condition for AllConditions {
    fn kind(&self) -> &'static str {
        "all"
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        several(config).map(drop)
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        Box::pin(async move {
            let looks = looks(config, eyes).await?.into_iter().collect::<anyhow::Result<Option<Vec<Value>>>>();
            Ok(looks?.map(Value::from))
        })
    }
}
