//! Builds the inputs of a task function as JSON from declared values, params, mapped elements and upstream outputs.
//!
//! Outputs that this worker has recently produced are cached, so that a chain of tasks reads nothing from the database.
//! Other outputs are read by the attempt itself, because reads in the worker's main loop would delay all attempts.

use crate::patience::patiently;
use crate::secrets::Secrets;
use orch_core::plan::{Plan, TaskIdx};
use orch_sdk::task::TaskError;
use orch_spec::elements::as_elements;
use orch_spec::{MapSpec, Source};
use orch_store::output::{self, PART_ELEMENTS, Stored};
use orch_store::{StoreError, StoreResult};
use serde_json::Value;
use sqlx::PgPool;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use uuid::Uuid;

type Key = (Uuid, TaskIdx, i32);

/// Cache of outputs that this worker recently produced or read. Beyond `MOST_BYTES`, the oldest are evicted.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    values: Mutex<Values>,
}

#[derive(Debug, Default)]
struct Values {
    by_run: HashMap<Uuid, HashMap<(TaskIdx, i32), Entry>>,
    /// Keys and entry numbers in insertion order. May be stale: the entry of a pair may have been removed or replaced.
    order: VecDeque<(Key, u64)>,
    /// Length of `order` above which stale pairs are removed.
    max_order: usize,
    next_number: u64,
    /// Total size of all cached entries in bytes.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    value: Arc<Value>,
    /// Unique number of this entry. Distinguishes it in `Values::order` from earlier entries with the same key.
    number: u64,
    bytes: usize,
}

const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Overhead of a cached entry in bytes.
const ENTRY_BYTES: usize = 128;
/// Number of stale pairs in `Values::order` that is always tolerated.
const MIN_STALE: usize = 1_024;

impl Recent {
    /// Caches a value. `bytes` is its approximate size as text.
    pub(crate) fn remember(&self, key: Key, value: Arc<Value>, bytes: usize) {
        self.values.lock().expect("nothing panics while holding it").insert(key, value, bytes + ENTRY_BYTES);
    }

    /// Removes the outputs of a finished run, which are not read again.
    pub(crate) fn forget_run(&self, run: Uuid) {
        self.values.lock().expect("nothing panics while holding it").forget_run(run);
    }

    /// Removes an output whose outcome was rejected.
    pub(crate) fn forget(&self, key: &Key) {
        self.values.lock().expect("nothing panics while holding it").forget(key);
    }

    /// Removes all values, because it is unknown whether their outcomes were recorded.
    pub(crate) fn forget_all(&self) {
        *self.values.lock().expect("nothing panics while holding it") = Values::default();
    }

    fn get(&self, key: &Key) -> Option<Arc<Value>> {
        let values = self.values.lock().expect("nothing panics while holding it");
        values.entry(key).map(|entry| entry.value.clone())
    }
}

impl Values {
    fn entry(&self, key: &Key) -> Option<&Entry> {
        self.by_run.get(&key.0)?.get(&(key.1, key.2))
    }

    fn insert(&mut self, key: Key, value: Arc<Value>, bytes: usize) {
        self.forget(&key);
        let number = self.next_number;
        self.next_number += 1;
        self.by_run.entry(key.0).or_default().insert((key.1, key.2), Entry { value, number, bytes });
        self.order.push_back((key, number));
        self.bytes += bytes;
        while self.bytes > MOST_BYTES {
            let Some((oldest, number)) = self.order.pop_front() else { return };
            if self.entry(&oldest).is_some_and(|entry| entry.number == number) {
                self.forget(&oldest);
            }
        }
        if self.order.len() > self.max_order {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(key, number)| self.entry(key).is_some_and(|entry| entry.number == *number));
            self.max_order = 2 * order.len() + MIN_STALE;
            self.order = order;
        }
    }

    fn forget(&mut self, key: &Key) {
        let Some(of_run) = self.by_run.get_mut(&key.0) else { return };
        if let Some(entry) = of_run.remove(&(key.1, key.2)) {
            self.bytes -= entry.bytes;
        }
        if of_run.is_empty() {
            self.by_run.remove(&key.0);
        }
    }

    fn forget_run(&mut self, run: Uuid) {
        let of_run = self.by_run.remove(&run).unwrap_or_default();
        self.bytes -= of_run.values().map(|entry| entry.bytes).sum::<usize>();
    }
}

pub(crate) struct Resolver<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) run: Uuid,
    pub(crate) task: TaskIdx,
    pub(crate) map_index: i32,
    pub(crate) params: &'a Value,
    pub(crate) recent: &'a Recent,
    pub(crate) secrets: &'a Secrets,
    pub(crate) pool: &'a PgPool,
}

/// The inputs of a task instance, and whether the conditions on its mapped element hold.
pub(crate) struct Inputs {
    pub(crate) values: Vec<Value>,
    pub(crate) conditions_hold: bool,
}

impl Resolver<'_> {
    pub(crate) async fn resolve(&self) -> Result<Inputs, TaskError> {
        let spec = &self.plan.spec.tasks[usize::from(self.task)];
        let mut values = Vec::with_capacity(spec.inputs.len());
        for input in &spec.inputs {
            let value = patiently(|| self.value(&input.source)).await;
            values.push(value.map_err(|error| input_error(&input.name, &error))?);
        }
        let mut conditions_hold = true;
        for condition in spec.when.iter().filter(|c| matches!(c.source, Source::Element { .. })) {
            let value = patiently(|| self.value(&condition.source)).await;
            let value = value.map_err(|e| TaskError::Retryable { causes: vec![e.to_string()] })?;
            conditions_hold &= condition.equals.contains(&value);
        }
        Ok(Inputs { values, conditions_hold })
    }

    async fn value(&self, source: &Source) -> StoreResult<Value> {
        Ok(match source {
            Source::Value(value) => value.clone(),
            Source::Params => self.params.clone(),
            Source::Output(id) => {
                let task = self.index(id)?;
                self.output(task, if self.shares_elements(task) { self.map_index } else { -1 }).await?
            }
            Source::Outputs(id) | Source::Collected(id) => Value::Array(self.outputs(self.index(id)?).await?),
            Source::List(sources) => {
                let mut list = Vec::with_capacity(sources.len());
                for source in sources {
                    list.push(Box::pin(self.value(source)).await?);
                }
                Value::Array(list)
            }
            Source::Element { part, .. } => self.element(*part).await?,
        })
    }

    fn index(&self, id: &str) -> StoreResult<TaskIdx> {
        self.plan.index_of(id).ok_or_else(|| StoreError::corrupt(format!("task `{id}` is not in this version")))
    }

    fn shares_elements(&self, task: TaskIdx) -> bool {
        let domain = |t: TaskIdx| self.plan.task(t).map.map(|m| m.domain);
        domain(self.task).is_some() && domain(self.task) == domain(task)
    }

    async fn output(&self, task: TaskIdx, map_index: i32) -> StoreResult<Value> {
        if let Some(value) = self.recent.get(&(self.run, task, map_index)) {
            return Ok((*value).clone());
        }
        let mut db = self.pool.acquire().await?;
        let value = output::get(&mut db, self.run, task, map_index, output::RETURN_VALUE).await?;
        self.secrets.given(self.run, value.unwrap_or(Value::Null))
    }

    /// Returns one output per mapped element. Null for an element without output.
    async fn outputs(&self, task: TaskIdx) -> StoreResult<Vec<Value>> {
        let mut db = self.pool.acquire().await?;
        let rows = output::of_tasks(&mut db, self.run, &[task], output::MAX_COLLECTED_BYTES).await?;
        let known = orch_store::run_lock::element_count(&mut db, self.plan, self.run, task).await?;
        let len = rows.iter().map(|(_, index, _)| index + 1).max().unwrap_or(0).max(known);
        let mut list = vec![Value::Null; usize::try_from(len).unwrap_or(0)];
        for (_, index, value) in rows {
            let Ok(place) = usize::try_from(index) else { continue };
            list[place] = self.secrets.given(self.run, value)?;
        }
        Ok(list)
    }

    /// Returns the mapped element that this task instance processes.
    async fn element(&self, part: Option<usize>) -> StoreResult<Value> {
        let no_map = || StoreError::corrupt("an element is asked for outside a map");
        let map = self.plan.spec.map_of(&self.plan.spec.tasks[usize::from(self.task)]).ok_or_else(no_map)?;
        let index = usize::try_from(self.map_index).map_err(|_| no_map())?;
        Ok(match map {
            MapSpec::Each(source) => self.nth(source, index).await?,
            MapSpec::Zip(sources) => match part {
                Some(part) => self.nth(sources.get(part).ok_or_else(no_map)?, index).await?,
                None => {
                    let mut both = Vec::with_capacity(sources.len());
                    for source in sources {
                        both.push(self.nth(source, index).await?);
                    }
                    Value::Array(both)
                }
            },
            MapSpec::Cross(sources) => {
                let places = self.cross_places(sources, index).await?;
                let mut all = Vec::with_capacity(sources.len());
                for (source, place) in sources.iter().zip(places) {
                    all.push(self.nth(source, place).await?);
                }
                match part {
                    Some(part) => all.into_iter().nth(part).ok_or_else(no_map)?,
                    None => Value::Array(all),
                }
            }
        })
    }

    /// Splits the index of a combination into one index per list. The last list varies fastest.
    async fn cross_places(&self, sources: &[Source], mut index: usize) -> StoreResult<Vec<usize>> {
        let mut places = Vec::with_capacity(sources.len());
        for source in sources.iter().rev() {
            let len = self.len(source).await?.max(1);
            places.push(index % len);
            index /= len;
        }
        places.reverse();
        Ok(places)
    }

    async fn len(&self, source: &Source) -> StoreResult<usize> {
        Ok(match source {
            Source::Value(Value::Array(list)) => list.len(),
            Source::List(list) => list.len(),
            Source::Output(id) => {
                let mut db = self.pool.acquire().await?;
                let len = orch_store::run_lock::list_len(&mut db, self.plan, self.run, self.index(id)?).await?;
                usize::try_from(len).unwrap_or(0)
            }
            Source::Outputs(id) | Source::Collected(id) => {
                let mut db = self.pool.acquire().await?;
                let len = orch_store::run_lock::element_count(&mut db, self.plan, self.run, self.index(id)?).await?;
                usize::try_from(len).unwrap_or(0)
            }
            _ => 0,
        })
    }

    /// Returns element `index` of a mapped source.
    async fn nth(&self, source: &Source, index: usize) -> StoreResult<Value> {
        match source {
            Source::Value(Value::Array(list)) => Ok(list.get(index).cloned().unwrap_or(Value::Null)),
            Source::List(sources) => match sources.get(index) {
                Some(source) => Box::pin(self.value(source)).await,
                None => Ok(Value::Null),
            },
            Source::Outputs(id) | Source::Collected(id) => self.output(self.index(id)?, whole(index)).await,
            Source::Output(id) => self.list_element(self.index(id)?, index).await,
            _ => Ok(Value::Null),
        }
    }

    /// Returns element `index` of a list or object that a task returned. Reads only one stored part of a long list.
    async fn list_element(&self, task: TaskIdx, index: usize) -> StoreResult<Value> {
        // Parts are cached under negative map indexes that no element has: −2 for the first part, −3 for the next, and
        // so on. The pairs of an object use the same scheme, because other tasks take the object itself as input.
        let pairs = (self.run, task, i32::MIN);
        let part = whole(index / PART_ELEMENTS);
        let (whole, in_part) = ((self.run, task, -1), (self.run, task, (-2_i32).saturating_sub(part)));
        let known = || {
            let found = self.recent.get(&in_part).map(|list| nth_of(&list, index % PART_ELEMENTS));
            let all = || self.recent.get(&pairs).or_else(|| self.recent.get(&whole).filter(|list| list.is_array()));
            found.or_else(|| all().map(|list| nth_of(&list, index)))
        };
        if let Some(element) = known() {
            return Ok(element);
        }
        let mut db = self.pool.acquire().await?;
        if let Some(element) = known() {
            return Ok(element); // another task read it while this one waited for the connection
        }
        let (key, list, place) = match output::stored(&mut db, self.run, task, -1).await? {
            None => return Ok(Value::Null),
            Some(Stored::Value(object @ Value::Object(_))) => (pairs, object, index),
            Some(Stored::Value(list)) => (whole, list, index),
            Some(Stored::Parts(_)) => {
                let list = output::part(&mut db, self.run, task, -1, part).await?;
                (in_part, Value::Array(list), index % PART_ELEMENTS)
            }
        };
        let list = as_elements(self.secrets.given(self.run, list)?);
        let element = nth_of(&list, place);
        let bytes = list.to_string().len();
        self.recent.remember(key, Arc::new(list), bytes);
        Ok(element)
    }
}

/// Converts an error. Mapped outputs that exceed the size limit are a fatal error, because a retry would fail again.
fn input_error(name: &str, error: &StoreError) -> TaskError {
    let read = format!("input `{name}` cannot be read");
    match error {
        StoreError::TooManyBytes(error) => {
            let cause = format!(
                "the outputs of the mapped task are {error}\nhint: let each element write its rows to a table or an object, and return its name"
            );
            TaskError::Fatal { causes: vec![read, cause] }
        }
        error => TaskError::Retryable { causes: vec![read, error.to_string()] },
    }
}

fn nth_of(list: &Value, index: usize) -> Value {
    list.get(index).cloned().unwrap_or(Value::Null)
}

/// Converts an index to the type of the database column. No list is long enough to exceed it.
fn whole(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_store::bounded::TooManyBytes;

    #[test]
    fn inputs_that_are_too_large_are_not_read_again() {
        let error = input_error("all", &StoreError::TooManyBytes(TooManyBytes { max_bytes: 256 << 20 }));
        assert!(matches!(&error, TaskError::Fatal { causes } if causes[1].contains("more than 256 MB")), "{error}");
        assert!(matches!(input_error("all", &StoreError::FenceLost), TaskError::Retryable { .. }));
    }
    /// Caches a value whose size is a third of the cache limit.
    fn remember_third(recent: &Recent, key: Key, value: i32) {
        recent.remember(key, Arc::new(value.into()), MOST_BYTES / 3 - ENTRY_BYTES);
    }

    fn cached(recent: &Recent, run: Uuid) -> Vec<Option<i64>> {
        (0..3).map(|task| recent.get(&(run, task, -1)).and_then(|value| value.as_i64())).collect()
    }

    #[test]
    fn a_value_that_is_cached_again_is_the_newest_and_counts_once() {
        let (recent, run) = (Recent::default(), Uuid::nil());
        for (task, value) in [(0, 1), (1, 2), (0, 3), (2, 4)] {
            remember_third(&recent, (run, task, -1), value);
        }
        assert_eq!(cached(&recent, run), [Some(3), Some(2), Some(4)]);
        remember_third(&recent, (run, 3, -1), 5);
        assert_eq!(cached(&recent, run), [Some(3), None, Some(4)]);
        // Removing a value leaves a stale pair in `order`.
        recent.forget(&(run, 0, -1));
        remember_third(&recent, (run, 0, -1), 6);
        remember_third(&recent, (run, 1, -1), 7);
        assert_eq!(cached(&recent, run), [Some(6), Some(7), None]);
    }

    #[test]
    fn finished_runs_leave_nothing_in_the_cache() {
        let recent = Recent::default();
        for number in 0..10_000 {
            let run = Uuid::from_u128(number);
            recent.remember((run, 0, -1), Arc::new(Value::Null), 4);
            recent.forget_run(run);
        }
        let values = recent.values.lock().unwrap();
        assert_eq!((values.bytes, values.by_run.len()), (0, 0));
        assert!(values.order.len() <= MIN_STALE + 2, "{}", values.order.len());
    }
}
