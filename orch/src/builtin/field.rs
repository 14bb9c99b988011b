//! Fields of operators whose values are outputs of other tasks.
//!
//! In the config of a task, such a field is null or an empty string. The value is in an input of the task, named by
//! the JSON pointer of the field without its first slash. Each attempt sets the field to this value before the
//! operator runs.

use super::file_task::TEXTS;
use super::operator::Operator;
use crate::{Call, Ctx, Input, Mapped, Output, Params, StoredInputs, TaskResult, fatal};
use serde::Serialize;
use serde_json::Value;

/// The value of a field of an operator: a constant, or the output of another task. The operator then waits for that task.
///
/// ```
/// use orch::prelude::*;
///
/// let dag = dag("load").build(|d| {
///     let newest = d.add(sql(Sql::new("warehouse", "select max(id) from orders")));
///     d.add(sql(Sql::new("source", "select * from orders where id > $1").param(newest)).id("orders"));
/// });
/// assert_eq!(dag.tasks()[1].upstreams(), ["sql"]);
/// ```
///
/// The output of a task of another DAG does not compile:
///
/// ```compile_fail
/// use orch::prelude::*;
///
/// let dag = dag("load").build(|d| {
///     let newest = d.add(sql(Sql::new("warehouse", "select max(id) from orders")));
///     dag("other").build(|other| {
///         other.add(sql(Sql::new("source", "select * from orders where id > $1").param(newest)).id("orders"));
///     });
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the value of a field of an operator",
    label = "neither JSON nor the output of a task",
    note = "pass a value that implements `Serialize`, or a handle: what `d.add`, `d.map` or `d.params` returned"
)]
pub trait FieldValue<I>: Sized {
    /// The inputs of an operator that had the inputs `I` before it got this value.
    type Inputs;
    /// Returns the value of `field` in the config, and the inputs with this value.
    #[doc(hidden)]
    fn assign(self, field: String, inputs: I) -> (Value, Self::Inputs);
}

/// Like [`FieldValue`], for fields that are strings. Outputs that are not strings are serialized as JSON.
///
/// The output of a task of another DAG does not compile:
///
/// ```compile_fail
/// use orch::prelude::*;
///
/// let dag = dag("load").build(|d| {
///     let newest = d.add(sql(Sql::new("warehouse", "select max(id) from orders")));
///     dag("other").build(|other| {
///         other.add(python(Python::file("/srv/report.py").arg(newest)));
///     });
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the text of a field of an operator",
    label = "neither a text nor the output of a task",
    note = "pass a text, or a handle: what `d.add`, `d.map` or `d.params` returned"
)]
pub trait FieldText<I>: Sized {
    /// The inputs of an operator that had the inputs `I` before it got this text.
    type Inputs;
    /// Returns the text of `field` in the config, and the inputs with this text.
    #[doc(hidden)]
    fn assign_text(self, field: String, inputs: I) -> (String, Self::Inputs);
}

/// The inputs of an operator whose fields are outputs of other tasks. Operators without such fields have `()`
/// instead.
#[derive(Default)]
pub struct FieldInputs<'d> {
    inputs: Vec<Input<'d>>,
}

impl From<()> for FieldInputs<'_> {
    fn from((): ()) -> Self {
        FieldInputs::default()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize, I> FieldValue<I> for T {
    type Inputs = I;
    fn assign(self, _: String, inputs: I) -> (Value, I) {
        (serde_json::to_value(self).expect("the value of a field is JSON"), inputs)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Into<String>, I> FieldText<I> for T {
    type Inputs = I;
    fn assign_text(self, _: String, inputs: I) -> (String, I) {
        (self.into(), inputs)
    }
}

/// Implements both traits for a handle whose output has the type `$value`.
macro_rules! handle {
    ($handle:ident, $value:ty) => {
        #[diagnostic::do_not_recommend]
        impl<'d, T, I: Into<FieldInputs<'d>>> FieldValue<I> for $handle<'d, T> {
            type Inputs = FieldInputs<'d>;
            fn assign(self, field: String, inputs: I) -> (Value, FieldInputs<'d>) {
                (Value::Null, FieldInputs::with(inputs.into(), Input::of_field::<$value>(field, self)))
            }
        }

        #[diagnostic::do_not_recommend]
        impl<'d, T, I: Into<FieldInputs<'d>>> FieldText<I> for $handle<'d, T> {
            type Inputs = FieldInputs<'d>;
            fn assign_text(self, field: String, inputs: I) -> (String, FieldInputs<'d>) {
                (String::new(), FieldInputs::with(inputs.into(), Input::of_field::<$value>(field, self)))
            }
        }
    };
}
handle!(Output, T);
handle!(Mapped, Vec<T>);
handle!(Params, T);

impl<'d> FieldInputs<'d> {
    /// Adds an input. Replaces an earlier input for the same field.
    fn with(mut self, input: Input<'d>) -> Self {
        self.inputs.retain(|other| other.name != input.name);
        self.inputs.push(input);
        self
    }

    /// Returns the call of an operator whose fields are set to these inputs in each attempt.
    #[track_caller]
    pub(super) fn call<O: Operator>(mut self, operator: O) -> Call<'d, O::Output> {
        let config = serde_json::to_value(&operator).unwrap_or_default();
        // Drops inputs whose field was set to a constant later.
        self.inputs.retain(|input| config.pointer(&pointer(&input.name)).is_some_and(is_unset));
        if self.inputs.is_empty() {
            return operator.call();
        }
        let names: Vec<String> = self.inputs.iter().map(|input| input.name.to_string()).collect();
        let template = config.clone();
        Call::of_kind(O::KIND, &operator.default_id(), config, self.inputs, move |ctx: Ctx, stored: StoredInputs| {
            let filled = filled::<O>(template.clone(), &names, stored.into_values());
            Box::pin(async move { filled?.run(ctx).await })
        })
    }
}

/// Returns the name of the input for one key of a table, such as a variable of `env`.
pub(super) fn key_of(table: &str, key: &str) -> String {
    format!("{table}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn pointer(name: &str) -> String {
    format!("/{name}")
}

/// True if the config has no value for the field, so that an input provides it.
fn is_unset(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Returns the operator of a config, with the named fields set to these values.
fn filled<O: Operator>(mut config: Value, names: &[String], values: Vec<Value>) -> TaskResult<O> {
    for (name, value) in names.iter().zip(values) {
        let is_text = name.split('/').next().is_some_and(|field| TEXTS.contains(&field));
        let value = if is_text { text(name, value)? } else { value };
        if let Some(field) = config.pointer_mut(&pointer(name)) {
            *field = value;
        }
    }
    serde_json::from_value(config).map_err(|error| fatal(format!("the config of a `{}` task: {error}", O::KIND)))
}

fn text(name: &str, value: Value) -> TaskResult<Value> {
    match value {
        Value::Null => Err(fatal(format!(
            "`{name}` is null: the task that it comes from gave nothing\n\
             hint: return a text from that task, or take its output in a task function that handles null"
        ))),
        Value::String(text) => Ok(Value::String(text)),
        other => Ok(Value::String(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HttpRequest, Python, Sql};
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_set_to_the_values_of_their_inputs() {
        let names = |fields: &[&str]| fields.iter().map(|field| String::from(*field)).collect::<Vec<_>>();
        let config = json!({ "connection": "db", "statement": "select $1, $2", "params": [null, 7] });
        let sql: Sql = filled(config, &names(&["params/0"]), vec![json!({ "a": [1] })]).expect("it fits");
        assert_eq!(sql.params, [json!({ "a": [1] }), json!(7)]);
        let config = json!({ "script": "", "args": ["", "x"], "env": { "DAY": "" } });
        let values = vec![json!(5), json!("mon")];
        let python: Python = filled(config, &names(&["args/0", "env/DAY"]), values).expect("it fits");
        assert_eq!((python.args, python.env["DAY"].as_str()), (vec!["5".to_string(), "x".to_string()], "mon"));
        let config = json!({ "url": "https://x/", "body": null });
        let request: HttpRequest = filled(config, &names(&["body"]), vec![json!([1])]).expect("it fits");
        assert_eq!(request.body, Some(json!([1])));
    }

    #[test]
    fn a_text_is_not_null() {
        let config = json!({ "script": "", "args": [""] });
        let error = filled::<Python>(config, &["args/0".into()], vec![Value::Null]).expect_err("null is not a text");
        assert!(error.to_string().starts_with("`args/0` is null"), "{error}");
    }
}
