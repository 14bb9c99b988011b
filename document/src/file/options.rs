//! The options of a task and of a DAG in files, generated from the tables `spec/src/dag/{task,dag}_options.rs`: their
//! keys, how they are read, and how they are written. A new option needs no code here; a new form of option needs one
//! `impl`.

use super::check::{text_of, time_ms};
use super::export::time;
use super::keys::{Key, Shape, key, required};
use super::node::Node;
use orch_spec::form::{self, Words};
use orch_spec::{
    Concurrency, DagSpec, Isolation, Limit, OnLost, Options, Overlap, TriggerRule, WeightRule, dag_options,
    task_options,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The representation of an option in a file.
trait InFile<Stored> {
    const SHAPE: Shape;

    fn read(node: &Node) -> Option<Stored>;

    /// Returns `None` if the key is left out.
    fn write(value: &Stored) -> Option<Value>;
}

macro_rules! tables {
    ($(#[doc = $about:literal] $key:ident: $form:ident, $field:ident: $stored:ty;)+) => {
        /// Options of a task, of the defaults of a DAG, and of a group.
        pub(super) const OPTIONS: &[Key] = &[
            $(key(stringify!($key), &<form::$form as InFile<$stored>>::SHAPE, sentence($about)),)+
        ];

        /// Reads the options of a task, of a group or of the defaults of a DAG.
        pub(super) fn read(node: &Node) -> Options {
            Options {
                $($field: node.get(stringify!($key)).and_then(<form::$form as InFile<$stored>>::read),)+
            }
        }

        /// Returns the options that are set, by key, in the order of the table.
        pub(super) fn written(options: &Options) -> Vec<(&'static str, Value)> {
            let written = [
                $((stringify!($key), options.$field.as_ref().and_then(<form::$form as InFile<$stored>>::write)),)+
            ];
            written.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
        }
    };
}
task_options!(tables);

/// The representation in a file of an option that has a default.
trait InDag<Stored> {
    const SHAPE: Shape;

    fn read(node: Option<&Node>) -> Stored;

    /// Returns `None` if the key is left out.
    fn write(value: &Stored) -> Option<Value>;
}

impl<Stored, F: InFile<Stored>> InDag<Option<Stored>> for F {
    const SHAPE: Shape = <F as InFile<Stored>>::SHAPE;

    fn read(node: Option<&Node>) -> Option<Stored> {
        node.and_then(<F as InFile<Stored>>::read)
    }

    fn write(value: &Option<Stored>) -> Option<Value> {
        value.as_ref().and_then(<F as InFile<Stored>>::write)
    }
}

macro_rules! dag_tables {
    ($(#[doc = $about:literal] #[serde($($_:tt)*)] $key:ident: $form:ident, $field:ident: $stored:ty;)+) => {
        pub(super) const DAG_OPTIONS: &[Key] = &[
            $(key(stringify!($key), &<form::$form as InDag<$stored>>::SHAPE, sentence($about)),)+
        ];

        pub(super) fn read_of_dag(document: &Node, spec: &mut DagSpec) {
            $(spec.$field = <form::$form as InDag<$stored>>::read(document.get(stringify!($key)));)+
        }

        /// Returns the options that are set, by key, in the order of the table.
        pub(super) fn written_of_dag(spec: &DagSpec) -> Vec<(&'static str, Value)> {
            let written = [$((stringify!($key), <form::$form as InDag<$stored>>::write(&spec.$field)),)+];
            written.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
        }
    };
}
dag_options!(dag_tables);

/// Returns a doc comment as the description of a key: without the leading space and the full stop.
const fn sentence(doc: &'static str) -> &'static str {
    let doc = doc.trim_ascii();
    match doc.as_bytes() {
        [.., b'.'] => doc.split_at(doc.len() - 1).0,
        _ => doc,
    }
}

/// Maximum number of values that the guide lists for an option.
const MOST_WORDS: usize = 5;

/// Returns the options as lines of a Markdown table, for the guide.
pub fn options_for_guide() -> Vec<String> {
    let value = |shape: &Shape| match shape {
        Shape::Count | Shape::Whole => "whole number".to_string(),
        Shape::Number => "number".into(),
        Shape::Time => "time".into(),
        Shape::Flag => "`true`".into(),
        Shape::Word(words) if words.len() > MOST_WORDS => "word".into(),
        Shape::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Shape::List(_) => "list".into(),
        Shape::Either(_) => "whole number, `fail`".into(),
        _ => "text".into(),
    };
    OPTIONS.iter().map(|key| format!("| `{}` | {} | {} |", key.name, value(key.shape), key.about)).collect()
}

fn scalar<T>(node: &Node, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    node.scalar().and_then(read)
}

fn small(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn count(node: &Node) -> Option<u32> {
    scalar(node, small)
}

/// Implements forms with a single scalar: its shape, how it is read, and how it is written.
macro_rules! scalars {
    ($($form:ident: $stored:ty, $shape:ident, $read:expr, $write:expr;)+) => {$(
        impl InFile<$stored> for form::$form {
            const SHAPE: Shape = Shape::$shape;

            fn read(node: &Node) -> Option<$stored> {
                scalar(node, $read)
            }

            fn write(value: &$stored) -> Option<Value> {
                let write: fn(&$stored) -> Value = $write;
                Some(write(value))
            }
        }
    )+};
}

scalars! {
    Tries: u32, Count, small, |tries| json!(tries);
    Most: u32, Count, small, |most| json!(most);
    Delay: u64, Time, time_ms, |ms| json!(time(*ms));
    Time: u64, Time, time_ms, |ms| json!(time(*ms));
    Factor: f64, Number, Value::as_f64, |factor| json!(factor);
    Name: String, Text, |name| Some(text_of(name)), |name| json!(name);
    Weight: i32, Whole, |weight| i32::try_from(weight.as_i64()?).ok(), |weight| json!(weight);
    Flag: bool, Flag, Value::as_bool, |yes| json!(yes);
    Paused: bool, Flag, Value::as_bool, |paused| json!(paused);
}

impl<W: Words + Serialize + DeserializeOwned> InFile<W> for form::Word {
    const SHAPE: Shape = Shape::Word(W::WORDS);

    fn read(node: &Node) -> Option<W> {
        serde_json::from_value(node.json()).ok()
    }

    fn write(word: &W) -> Option<Value> {
        serde_json::to_value(word).ok()
    }
}

impl InFile<Vec<Limit>> for form::Limits {
    const SHAPE: Shape = Shape::List(&Shape::Object(&[
        required("name", &Shape::Text, "All tasks that name it share it, in whatever DAG"),
        required("most", &Shape::Count, "So many at the same time"),
        key("key", &Shape::Text, "A path into the params: each value is counted by itself"),
        key("per", &Shape::Time, "So many beginnings within this time instead"),
    ]));

    fn read(node: &Node) -> Option<Vec<Limit>> {
        let limit = |one: &Node| Limit {
            name: one.get("name").and_then(Node::scalar).map(text_of).unwrap_or_default(),
            most: one.get("most").and_then(count).unwrap_or(0),
            key: one.get("key").and_then(Node::scalar).map(text_of),
            per_ms: one.get("per").and_then(|per| scalar(per, time_ms)),
            extra: Map::new(),
        };
        Some(node.items().iter().map(limit).collect())
    }

    fn write(limits: &Vec<Limit>) -> Option<Value> {
        let limit = |one: &Limit| {
            let mut written = json!({ "name": one.name, "most": one.most });
            one.key.iter().for_each(|key| written["key"] = json!(key));
            one.per_ms.iter().for_each(|ms| written["per"] = json!(time(*ms)));
            written
        };
        (!limits.is_empty()).then(|| limits.iter().map(limit).collect())
    }
}

impl InFile<OnLost> for form::Lost {
    const SHAPE: Shape = Shape::Either(&[Shape::Count, Shape::Word(&["fail"])]);

    fn read(node: &Node) -> Option<OnLost> {
        node.scalar().map(|value| match value.as_u64() {
            Some(times) => OnLost::Retry(u16::try_from(times).unwrap_or(u16::MAX)),
            None => OnLost::Fail,
        })
    }

    fn write(lost: &OnLost) -> Option<Value> {
        Some(match lost {
            OnLost::Retry(times) => json!(times),
            OnLost::Fail => json!("fail"),
        })
    }
}

impl InDag<bool> for form::Set {
    const SHAPE: Shape = Shape::Flag;

    fn read(node: Option<&Node>) -> bool {
        node.and_then(|node| scalar(node, Value::as_bool)).unwrap_or(false)
    }

    fn write(is_set: &bool) -> Option<Value> {
        is_set.then(|| json!(true))
    }
}

impl InDag<u32> for form::FromZero {
    const SHAPE: Shape = Shape::Count;

    fn read(node: Option<&Node>) -> u32 {
        node.and_then(count).unwrap_or(0)
    }

    fn write(number: &u32) -> Option<Value> {
        (*number > 0).then(|| json!(number))
    }
}

impl InDag<Overlap> for form::WordOrDefault {
    const SHAPE: Shape = Shape::Word(Overlap::WORDS);

    fn read(node: Option<&Node>) -> Overlap {
        node.and_then(|node| serde_json::from_value(node.json()).ok()).unwrap_or_default()
    }

    fn write(word: &Overlap) -> Option<Value> {
        (!word.is_usual()).then(|| json!(word))
    }
}

impl InDag<Vec<Concurrency>> for form::Keys {
    const SHAPE: Shape = Shape::List(&Shape::Object(&[
        required("param", &Shape::Text, "The name of a param; dots lead into objects"),
        required("most", &Shape::Count, "Runs at the same time for each of its values"),
    ]));

    fn read(node: Option<&Node>) -> Vec<Concurrency> {
        let concurrency = |one: &Node| Concurrency {
            key: one.get("param").and_then(Node::scalar).map(text_of).unwrap_or_default(),
            most: one.get("most").and_then(count).unwrap_or(0),
        };
        node.map(Node::items).unwrap_or_default().iter().map(concurrency).collect()
    }

    fn write(keys: &Vec<Concurrency>) -> Option<Value> {
        let written = keys.iter().map(|one| json!({ "param": one.key, "most": one.most }));
        (!keys.is_empty()).then(|| written.collect())
    }
}
