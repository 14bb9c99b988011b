//! Gates of a task: slots of its pool, slots under limits, and a successful previous run. A worker can claim an attempt
//! once its upstreams have finished and all its gates allow it. Gates depend on the task alone, so attempts with equal
//! gates share one queue.

use orch_spec::{Limit, TaskSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Pool of tasks that do not set a pool. It always exists and is unlimited until a user sets its size.
pub const DEFAULT_POOL: &str = "default_pool";
/// Maximum length of a key's value in the name of a limit, in bytes. A longer value is replaced by a hash.
const MOST_KEY: usize = 200;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    pub pool: String,
    pub slots: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Counted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_runs: Option<OverRuns>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past: Option<PastDependency>,
}

/// A concurrency or rate limit of a task, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    pub name: String,
    pub most: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Time window of a rate limit in milliseconds. `None` for a limit on concurrent attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ms: Option<u64>,
}

/// Groups runs by a value of their conf. A limit with a key applies to each group separately.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Path of the value in the conf: field names separated by dots.
    pub path: String,
    /// Default of the param, used for runs whose conf has no value.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub default: Value,
}

/// Limit on concurrent instances of one task across all runs of its DAG.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverRuns {
    pub task: String,
    pub most: i32,
}

/// Which tasks of the previous run must have succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PastDependency {
    Task,
    TaskAndDownstream,
}

/// Slots that an attempt needs from one pool or limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Name under which the usage is counted: `pool:…`, `limit:…`, `rate:…` or `task:…`.
    pub limit: String,
    pub slots: i32,
    pub of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    Pool(String),
    Limit { name: String, key: Option<String>, most: i32 },
    Rate { name: String, key: Option<String>, most: i32, per_ms: u64 },
    Task { task: String, most: i32 },
}

impl Gates {
    pub fn of(dag_id: &str, task: &TaskSpec, params_schema: Option<&Value>) -> Gates {
        let o = &task.options;
        let past = match (o.depends_on_past, o.wait_for_downstream) {
            (_, Some(true)) => Some(PastDependency::TaskAndDownstream),
            (Some(true), _) => Some(PastDependency::Task),
            _ => None,
        };
        let whole = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        Gates {
            pool: o.pool.clone().unwrap_or_else(|| DEFAULT_POOL.into()),
            slots: whole(o.pool_slots.unwrap_or(1)),
            limits: o.limits.iter().flatten().map(|limit| Counted::of(limit, params_schema)).collect(),
            over_runs: o
                .max_active_over_runs
                .map(|most| OverRuns { task: format!("{dag_id}.{}", task.task_id), most: whole(most) }),
            past,
        }
    }

    /// Returns true if the task has no gates. The default pool does not count as a gate while it has no size.
    pub fn are_open(&self) -> bool {
        self.pool == DEFAULT_POOL && self.limits.is_empty() && self.over_runs.is_none() && self.past.is_none()
    }

    /// Returns true if the gates depend on the run, such as a limit with a key. If one attempt in the queue is blocked,
    /// attempts of other runs may still pass.
    pub fn are_of_runs(&self) -> bool {
        self.past.is_some() || self.limits.iter().any(|limit| limit.key.is_some())
    }

    /// Returns the slots that an attempt needs in its pool and limits. `conf` is the conf of its run, required only if
    /// a limit has a key.
    pub fn needs(&self, conf: Option<&Value>) -> Vec<Need> {
        let mut needs =
            vec![Need { limit: pool_limit(&self.pool), slots: self.slots, of: Of::Pool(self.pool.clone()) }];
        needs.extend(self.limits.iter().map(|limit| limit.need(conf)));
        needs.extend(self.over_runs.iter().map(|over| Need {
            limit: format!("task:{}", over.task),
            slots: 1,
            of: Of::Task { task: over.task.clone(), most: over.most },
        }));
        needs
    }
}

/// Maximum length of a pool name in characters, as in Airflow.
pub const MOST_POOL_NAME: usize = 256;

/// Returns an error with the reason if a pool name is invalid.
pub fn check_pool_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("a pool has a name"),
        name if name.chars().any(char::is_control) => Err("the name of a pool has no control characters"),
        name if name.contains('/') => Err("the name of a pool has no slash: it is part of addresses"),
        name if name.chars().count() > MOST_POOL_NAME => Err("the name of a pool has at most 256 characters"),
        _ => Ok(()),
    }
}

/// Returns the name under which the used slots of a pool are counted.
pub fn pool_limit(pool: &str) -> String {
    format!("pool:{pool}")
}

impl Counted {
    fn of(limit: &Limit, params_schema: Option<&Value>) -> Counted {
        let key = limit.key.as_ref().map(|path| Key { path: path.clone(), default: default_of(params_schema, path) });
        let most = i32::try_from(limit.most).unwrap_or(i32::MAX);
        Counted { name: limit.name.clone(), most, key, per_ms: limit.per_ms }
    }

    fn need(&self, conf: Option<&Value>) -> Need {
        let key = self.key.as_ref().map(|key| key.of(conf));
        let kind = if self.per_ms.is_some() { "rate" } else { "limit" };
        let limit = match &key {
            Some(key) => format!("{kind}:{}={key}", self.name),
            None => format!("{kind}:{}", self.name),
        };
        let (name, most) = (self.name.clone(), self.most);
        match self.per_ms {
            Some(per_ms) => Need { limit, slots: 0, of: Of::Rate { name, key, most, per_ms } },
            None => Need { limit, slots: 1, of: Of::Limit { name, key, most } },
        }
    }
}

impl Key {
    /// Returns the name of the group that a run with this conf belongs to. All runs without a value form one group.
    fn of(&self, conf: Option<&Value>) -> String {
        let text = match at(conf, &self.path).unwrap_or(&self.default) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if text.len() <= MOST_KEY && !text.contains('\0') {
            return text;
        }
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(16).fold(String::from("#"), |hex, byte| format!("{hex}{byte:02x}"))
    }
}

fn at<'a>(conf: Option<&'a Value>, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(conf?, |value, field| value.get(field)).filter(|value| !value.is_null())
}

fn default_of(schema: Option<&Value>, path: &str) -> Value {
    let field = |schema: Option<&'_ Value>, name: &str| schema?.get("properties")?.get(name).cloned();
    let mut found = schema.cloned();
    for name in path.split('.') {
        found = field(found.as_ref(), name);
    }
    found.and_then(|field| field.get("default").cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "`json!(…)` reads better without a borrow")]
    fn gates(options: Value, schema: &Value) -> Gates {
        let mut task = json!({ "task_id": "t", "kind": "rust" });
        task.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        Gates::of("d", &serde_json::from_value(task).unwrap(), Some(schema))
    }

    fn check(options: Value, conf: &Value, expected: &str) {
        let schema = json!({ "properties": { "customer": { "default": "acme" } } });
        let gates = gates(options, &schema);
        let needs: Vec<_> = gates.needs(Some(conf)).iter().map(|n| format!("{}*{}", n.limit, n.slots)).collect();
        assert_eq!(needs.join(" "), expected);
    }

    #[test]
    fn a_task_needs_what_it_names_and_a_slot_of_its_pool() {
        check(json!({}), &json!({}), "pool:default_pool*1");
        check(json!({ "pool": "mysql", "pool_slots": 2 }), &json!({}), "pool:mysql*2");
        let crm = json!({ "limits": [{ "name": "crm", "most": 3 }] });
        check(crm, &json!({}), "pool:default_pool*1 limit:crm*1");
        check(json!({ "max_active_over_runs": 2 }), &json!({}), "pool:default_pool*1 task:d.t*1");
        let api = json!({ "limits": [{ "name": "api", "most": 10, "per_ms": 60_000 }] });
        check(api, &json!({}), "pool:default_pool*1 rate:api*0");
    }

    #[test]
    fn each_value_of_a_key_is_counted_by_itself_and_none_counts_as_one() {
        let by = |path: &str| json!({ "limits": [{ "name": "c", "most": 1, "key": path }] });
        check(by("customer"), &json!({ "customer": "acme" }), "pool:default_pool*1 limit:c=acme*1");
        check(by("customer"), &json!({}), "pool:default_pool*1 limit:c=acme*1");
        check(by("who.id"), &json!({ "who": { "id": 7 } }), "pool:default_pool*1 limit:c=7*1");
        check(by("who.id"), &json!({ "who": 1 }), "pool:default_pool*1 limit:c=*1");
        check(by("who"), &json!({ "who": null }), "pool:default_pool*1 limit:c=*1");
        let long = "x".repeat(1_000);
        let by_long = gates(by("who"), &json!({})).needs(Some(&json!({ "who": long })));
        assert!(by_long[1].limit.len() < 60, "{}", by_long[1].limit);
    }

    #[test]
    fn only_a_task_without_gates_is_open() {
        let open = |options: Value| gates(options, &json!({})).are_open();
        assert!(open(json!({})));
        assert!(open(json!({ "pool": "default_pool", "pool_slots": 3 })));
        assert!(!open(json!({ "pool": "mysql" })));
        assert!(!open(json!({ "depends_on_past": true })));
        assert!(!open(json!({ "wait_for_downstream": true })));
        assert!(!open(json!({ "max_active_over_runs": 1 })));
        assert!(!open(json!({ "limits": [{ "name": "crm", "most": 3 }] })));
    }
}
