//! Triggers runs like the API: retries with the same key until the result is known.

use super::{Triggered, World};
use crate::dags;
use orch_spec::state::TriggeredBy;
use orch_store::hint::Hint;
use orch_store::locks::Locks;
use orch_store::run::{CreateRun, NewRun, create_run};
use orch_store::{StoreError, StoreResult, connect};
use orch_test_support::rng::Rng;
use serde_json::Value;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Timeout for a trigger.
const LIMIT: Duration = Duration::from_secs(30);

impl World {
    /// Triggers a run of each DAG.
    pub async fn trigger_all(&mut self) {
        for dag in dags::all(1) {
            self.trigger(&dag.spec().dag_id).await;
        }
    }

    /// Triggers random DAGs for the time `lasting`, one in each `pause`.
    pub async fn load(&mut self, lasting: Duration, pause: Duration, rng: &mut Rng) {
        let ids: Vec<String> = dags::all(1).iter().map(|d| d.spec().dag_id.clone()).collect();
        let until = Instant::now() + lasting;
        while Instant::now() < until {
            let next = Instant::now() + pause;
            // Long runs are more frequent, so that kills hit running task functions.
            let dag_id = if rng.one_in(3) { "long".to_owned() } else { rng.pick(&ids).clone() };
            self.trigger(&dag_id).await;
            tokio::time::sleep_until(next.into()).await;
        }
    }

    pub async fn trigger(&mut self, dag_id: &str) -> Uuid {
        self.trigger_through(&self.url(), dag_id).await
    }

    /// Triggers a run with a conf.
    pub async fn trigger_with(&mut self, dag_id: &str, conf: Value) -> Uuid {
        let new = NewRun { conf: Some(conf), ..NewRun::manual(dag_id, TriggeredBy::Test) };
        self.trigger_new(&self.url(), new).await
    }

    /// Triggers a run through a proxy.
    pub async fn trigger_through(&mut self, url: &str, dag_id: &str) -> Uuid {
        self.trigger_new(url, NewRun::manual(dag_id, TriggeredBy::Test)).await
    }

    async fn trigger_new(&mut self, url: &str, new: NewRun) -> Uuid {
        let key = format!("{}-{}", self.seed, self.triggered.len());
        let (dag_id, new) = (new.dag_id.clone(), NewRun { idempotency_key: Some(key), ..new });
        let began = Instant::now();
        let id = loop {
            match self.ask(url, &new).await {
                Ok(CreateRun::Created(run) | CreateRun::Same(run)) => break run.id,
                Ok(other) => panic!("seed {}: `{dag_id}` cannot be triggered: {other:?}", self.seed),
                Err(StoreError::Unreachable(_) | StoreError::TryAgain(_)) if began.elapsed() < LIMIT => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("seed {}: `{dag_id}` cannot be triggered: {error:?}", self.seed),
            }
        };
        self.hints.give(Hint::Ready);
        self.hints.give(Hint::Run);
        self.triggered.push(Triggered { id, dag_id });
        id
    }

    async fn ask(&mut self, url: &str, new: &NewRun) -> StoreResult<CreateRun> {
        if url == self.url() {
            let mut db = self.pool.acquire().await?;
            return create_run(&mut db, Locks::begin(), &mut self.versions, new).await;
        }
        let mut db = connect::one(url, "orch torture trigger").await?;
        create_run(&mut db, Locks::begin(), &mut self.versions, new).await
    }
}
