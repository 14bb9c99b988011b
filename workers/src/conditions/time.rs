//! Condition that is met at a given time, for use inside a combined condition. Alone, a wait for a time is never
//! polled: the scheduler wakes the task directly.

use orch_sdk::task::{BoxFuture, Condition, ConditionResult, Eyes, fatal};
use orch_sdk::wait::{TimeWait, read};
use serde_json::Value;
use std::sync::Arc;

pub(super) struct Time;

impl Condition for Time {
    fn kind(&self) -> &'static str {
        TimeWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        read::<TimeWait>(config)?.moment(chrono::DateTime::UNIX_EPOCH).map(drop)
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        Box::pin(async move {
            let time: TimeWait = read(&config).map_err(fatal)?;
            let now = eyes.now();
            let moment = time.moment(now).map_err(fatal)?;
            Ok((moment <= now).then(|| moment.to_rfc3339().into()))
        })
    }
}
