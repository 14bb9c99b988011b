//! Condition on HTTP responses. All waiting conditions share one client.

use crate::outside::http::{Ask, Http, anywhere, below, refusal};
use anyhow::{anyhow, bail};
use orch_sdk::task::{BoxFuture, Condition, ConditionResult, Eyes, fatal};
use orch_sdk::wait::{HttpWait, is_truthy, read};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(15);
const MOST_BYTES: u64 = 1 << 20;

#[derive(Default)]
pub(super) struct Web {
    http: Http,
}

impl Condition for Web {
    fn kind(&self) -> &'static str {
        HttpWait::KIND
    }

    fn check(&self, config: &Value) -> Result<(), String> {
        let wait: HttpWait = read(config)?;
        if wait.pointer.as_deref().is_some_and(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            return Err("its pointer does not begin with `/`: write for example `/status/phase`".into());
        }
        if wait.connection.is_none() { anywhere(&wait.url).map(drop).map_err(|e| e.to_string()) } else { Ok(()) }
    }

    fn poke(&self, config: Value, eyes: Arc<dyn Eyes>) -> BoxFuture<ConditionResult> {
        let http = self.http.clone();
        Box::pin(async move {
            let wait: HttpWait = read(&config).map_err(fatal)?;
            let mut address = match &wait.connection {
                Some(id) => below(&eyes.connection(id).await?, &wait.url)?,
                None => anywhere(&wait.url)?,
            };
            address.headers.extend(wait.headers.clone());
            let body = wait.body.as_ref().map(|body| body.to_string().into_bytes());
            if body.is_some() {
                address.headers.entry("Content-Type".into()).or_insert_with(|| "application/json".into());
            }
            let url = address.url.clone();
            let told = http
                .ask(Ask { method: wait.method.clone(), address, body, timeout: PATIENCE, most_bytes: MOST_BYTES })
                .await
                .map_err(|error| anyhow!(error.message(&url)))?;
            judge(&wait, &url, told.status, &told.body)
        })
    }
}

fn judge(wait: &HttpWait, url: &str, status: u16, body: &[u8]) -> ConditionResult {
    let is_answer =
        if wait.statuses.is_empty() { (200..300).contains(&status) } else { wait.statuses.contains(&status) };
    if !is_answer {
        // These statuses mean that the server is not ready: not found, too early, too many requests.
        return match status {
            404 | 425 | 429 => Ok(None),
            status => bail!("{}", refusal(url, status, "")),
        };
    }
    let json = serde_json::from_slice::<Value>(body);
    let Some(pointer) = &wait.pointer else {
        return Ok(Some(json.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())));
    };
    let json = json.map_err(|_| anyhow!("the answer is no JSON, so `{pointer}` points at nothing"))?;
    let found = json.pointer(pointer).cloned().unwrap_or(Value::Null);
    let holds = if wait.equals.is_empty() { is_truthy(&found) } else { wait.equals.contains(&found) };
    Ok(holds.then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_sdk::wait::url;
    use serde_json::json;

    fn check(wait: &HttpWait, status: u16, body: &str) -> Result<Option<Value>, String> {
        judge(wait, &wait.url, status, body.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_judged_by_status_and_pointer() {
        let plain = url("http://x/");
        assert_eq!(check(&plain, 200, "{\"a\": 1}"), Ok(Some(json!({ "a": 1 }))));
        assert_eq!(check(&plain, 204, ""), Ok(Some(json!(""))));
        assert_eq!(check(&plain, 404, ""), Ok(None));
        assert_eq!(check(&plain, 500, ""), Err(refusal("http://x/", 500, "")));
        assert_eq!(check(&plain, 401, "hush"), Err(refusal("http://x/", 401, "")));
        assert_eq!(check(&plain.clone().status(500), 500, "x"), Ok(Some(json!("x"))));
        assert!(check(&plain.clone().status(201), 200, "").is_err());
        let done = plain.pointer("/job/state").equals("done").equals("gone");
        assert_eq!(check(&done, 200, r#"{"job": {"state": "done"}}"#), Ok(Some(json!("done"))));
        assert_eq!(check(&done, 200, r#"{"job": {"state": "busy"}}"#), Ok(None));
        assert_eq!(check(&done, 200, "{}"), Ok(None));
        assert!(check(&done, 200, "no json").is_err());
    }
}
