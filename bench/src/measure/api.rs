//! A client of the public API: gets a token, then sends all requests over one keep-alive connection.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::pause;

const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

/// An API client with one connection.
#[derive(Debug)]
pub(crate) struct Api {
    agent: ureq::Agent,
    url: String,
    authorization: String,
}

/// A triggered run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunHandle {
    pub(crate) dag_id: &'static str,
    pub(crate) run_id: String,
}

impl Api {
    pub(crate) fn log_in(url: &str, password: &str) -> Result<Self> {
        let mut api = Api { agent: agent(), url: url.trim_end_matches('/').to_owned(), authorization: String::new() };
        let answer = api.post("/auth/token", &json!({ "username": "admin", "password": password }))?;
        let token = answer["access_token"].as_str().context("the answer of /auth/token has no `access_token`")?;
        api.authorization = format!("Bearer {token}");
        Ok(api)
    }

    /// Returns a client of the same user with a separate connection.
    pub(crate) fn another(&self) -> Self {
        Api { agent: agent(), url: self.url.clone(), authorization: self.authorization.clone() }
    }

    pub(crate) fn trigger(&self, dag_id: &'static str, conf: &Value) -> Result<RunHandle> {
        self.trigger_at(dag_id, None, conf)
    }

    pub(crate) fn trigger_at(&self, dag_id: &'static str, date: Option<&str>, conf: &Value) -> Result<RunHandle> {
        let path = format!("/api/v2/dags/{dag_id}/dagRuns");
        let answer = self.post(&path, &json!({ "logical_date": date, "conf": conf }))?;
        let run_id = answer["dag_run_id"].as_str().context("the answer has no `dag_run_id`")?;
        Ok(RunHandle { dag_id, run_id: run_id.to_owned() })
    }

    pub(crate) fn make_pool(&self, name: &str, slots: u32) -> Result<()> {
        self.post("/api/v2/pools", &json!({ "name": name, "slots": slots }))?;
        Ok(())
    }

    /// Returns the number of successful runs of a DAG.
    pub(crate) fn ended_well(&self, dag_id: &str) -> Result<u64> {
        let answer = self.get(&format!("/api/v2/dags/{dag_id}/dagRuns?state=success&limit=1"))?;
        answer["total_entries"].as_u64().context("the answer has no `total_entries`")
    }

    /// Returns true if a run succeeded, and an error if it failed.
    pub(crate) fn is_over(&self, run: &RunHandle) -> Result<bool> {
        let path = format!("/api/v2/dags/{}/dagRuns/{}", run.dag_id, encode(&run.run_id));
        let answer = self.get(&path)?;
        match answer["state"].as_str() {
            Some("success") => Ok(true),
            Some("queued" | "running") => Ok(false),
            other => bail!("run `{}` of `{}` is {other:?}", run.run_id, run.dag_id),
        }
    }

    /// Waits for a run without disturbing it: sends no request during `quiet`, then polls every 20 ms.
    pub(crate) fn wait(&self, run: &RunHandle, quiet: Duration, patience: Duration) -> Result<()> {
        pause::pause(quiet)?;
        let what = format!("waiting for run `{}` of `{}`", run.run_id, run.dag_id);
        pause::until(&what, Duration::from_millis(20), patience, || Ok(self.is_over(run)?.then_some(())))
    }

    fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.url)).header("authorization", &self.authorization);
        read(path, request.call())
    }

    /// Returns the response of `/metrics`.
    pub(crate) fn metrics(&self) -> Result<String> {
        let request = self.agent.get(format!("{}/metrics", self.url)).header("authorization", &self.authorization);
        text("/metrics", request.call())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let mut request = request.header("content-type", "application/json");
        if !self.authorization.is_empty() {
            request = request.header("authorization", &self.authorization);
        }
        read(path, request.send(body.to_string()))
    }
}

/// Returns true if `/healthz` responds with 200.
pub(crate) fn is_healthy(agent: &ureq::Agent, url: &str) -> bool {
    agent.get(format!("{url}/healthz")).call().is_ok_and(|answer| answer.status() == 200)
}

pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_PATIENCE))
        .proxy(None)
        .max_idle_connections_per_host(1)
        .build();
    config.into()
}

fn read(path: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
    serde_json::from_str(&text(path, answer)?).with_context(|| format!("{path} answered no JSON"))
}

fn text(path: &str, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String> {
    let mut answer = answer.with_context(|| path.to_owned())?;
    // The body must be read to its end, or the connection cannot be reused.
    let text = answer.body_mut().read_to_string().with_context(|| path.to_owned())?;
    if !answer.status().is_success() {
        bail!("{path}: {} {text}", answer.status());
    }
    Ok(text)
}

/// Percent-encodes a path segment. Run ids contain `+` and `:`.
pub(crate) fn encode(segment: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::new();
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(byte as char);
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_id_survives_the_path() {
        assert_eq!(encode("manual__2026-11-20T10:00:00+00:00"), "manual__2026-11-20T10:00:00%2B00:00");
    }
}
