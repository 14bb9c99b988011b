//! A call of a task that is not part of a DAG yet: the function, its inputs and its options.

use crate::arg::{Brand, Data, Input, Node, Output, Upstream, Wire};
use crate::notify::Notify;
use orch_sdk::task::{BoxFuture, Ctx, TaskError, TaskFn, TaskResult, fatal, skip};
use orch_spec::{AssetRef, Callbacks, Location, Options, Role};
use serde_json::Value;
use std::{borrow::Cow, marker::PhantomData, sync::Arc};

/// The name, documentation and source location of a task function, filled in by `#[task]`.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    pub name: &'static str,
    pub doc: &'static str,
    pub file: &'static str,
    pub line: u32,
}

/// A call that describes a task. Set its options here; `d.add(call)` adds it to the DAG and returns its `Output<R>`.
#[must_use = "a call only describes a task: add it with `d.add(…)`"]
pub struct Call<'d, R> {
    pub(crate) draft: Box<Draft>,
    brand: Brand<'d, R>,
}

pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) config: Value,
    pub(crate) doc: String,
    pub(crate) defined: Location,
    pub(crate) inputs: Vec<DraftInput>,
    pub(crate) after: Vec<usize>,
    pub(crate) when: Vec<DraftCondition>,
    pub(crate) inlets: Vec<AssetRef>,
    pub(crate) outlets: Vec<AssetRef>,
    pub(crate) role: Role,
    pub(crate) options: Options,
    pub(crate) callbacks: Callbacks,
    pub(crate) output_type: &'static str,
    pub(crate) body: TaskFn,
}

pub(crate) struct DraftInput {
    pub(crate) name: Cow<'static, str>,
    pub(crate) type_name: &'static str,
    pub(crate) optional: bool,
    pub(crate) is_field: bool,
    pub(crate) wire: Wire,
}

pub(crate) struct DraftCondition {
    pub(crate) node: Node,
    pub(crate) equals: Vec<Result<Value, String>>,
}

/// Converts an `R` to JSON. `#[task]` creates it at the return type, so a missing derive is reported there.
pub struct Json<R> {
    store: fn(R) -> TaskResult<Value>,
    check: fn(&Value) -> Result<(), String>,
}

impl<R> Json<R> {
    // The bound is on the function and not on the impl, so that the compiler prints our `on_unimplemented` message.
    pub fn of() -> Self
    where
        R: Data,
    {
        Json {
            // Fatal, because every attempt of the same code fails here in the same way.
            store: |output| serde_json::to_value(output).map_err(|e| fatal(format!("the output is not JSON: {e}"))),
            check: |value| R::deserialize(value).map(drop).map_err(|e| e.to_string()),
        }
    }
}

impl<R: 'static> Json<R> {
    /// Used by `#[task]`.
    pub fn task(
        self,
        definition: Definition,
        inputs: Vec<Input<'_>>,
        body: fn(Ctx, StoredInputs) -> BoxFuture<TaskResult<R>>,
    ) -> Call<'_, R> {
        Call::new("rust", definition, inputs, self.body(body))
    }

    /// Used by `#[sensor]`.
    pub fn sensor(
        self,
        definition: Definition,
        inputs: Vec<Input<'_>>,
        body: fn(Ctx, StoredInputs) -> BoxFuture<TaskResult<Option<R>>>,
    ) -> Call<'_, R> {
        let run = move |ctx, values| -> BoxFuture<Result<Option<Value>, TaskError>> {
            let running = body(ctx, StoredInputs::new(values));
            Box::pin(async move { Ok(running.await?.map(self.store).transpose()?) })
        };
        Call::new("sensor", definition, inputs, TaskFn { run: Arc::new(run), check_output: self.check })
    }

    fn body<F>(self, body: F) -> TaskFn
    where
        F: Fn(Ctx, StoredInputs) -> BoxFuture<TaskResult<R>> + Send + Sync + 'static,
    {
        let run = move |ctx, values| -> BoxFuture<Result<Option<Value>, TaskError>> {
            let running = body(ctx, StoredInputs::new(values));
            Box::pin(async move { Ok(Some((self.store)(running.await?)?)) })
        };
        TaskFn { run: Arc::new(run), check_output: self.check }
    }
}

impl<'d, R> Call<'d, R> {
    /// Creates a call of a custom kind. `config` is data (shown in the UI, hashed into the version); `body` runs it.
    #[track_caller]
    pub fn of_kind<F>(kind: &str, id: &str, config: Value, inputs: Vec<Input<'d>>, body: F) -> Self
    where
        R: Data,
        F: Fn(Ctx, StoredInputs) -> BoxFuture<TaskResult<R>> + Send + Sync + 'static,
    {
        let at = std::panic::Location::caller();
        let definition = Definition { name: "", doc: "", file: at.file(), line: at.line() };
        let mut call = Call::new(kind, definition, inputs, Json::<R>::of().body(body));
        (call.draft.id, call.draft.config) = (id.into(), config);
        call
    }

    fn new(kind: &str, definition: Definition, inputs: Vec<Input<'d>>, body: TaskFn) -> Self {
        let inputs = inputs.into_iter().map(|Input { name, type_name, optional, is_field, wire, .. }| DraftInput {
            name,
            type_name,
            optional,
            is_field,
            wire,
        });
        let draft = Draft {
            id: definition.name.into(),
            kind: kind.into(),
            config: Value::Null,
            doc: without_indent(definition.doc),
            defined: Location { file: definition.file.into(), line: definition.line },
            inputs: inputs.collect(),
            after: Vec::new(),
            when: Vec::new(),
            inlets: Vec::new(),
            outlets: Vec::new(),
            role: Role::Work,
            options: Options::default(),
            callbacks: Callbacks::default(),
            output_type: std::any::type_name::<R>(),
            body,
        };
        Call { draft: Box::new(draft), brand: PhantomData }
    }

    pub(crate) fn kind(mut self, kind: &str) -> Self {
        self.draft.kind = kind.into();
        self
    }

    /// Sets the task id. Default: the function's name.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.draft.id = id.into();
        self
    }

    /// Waits for these tasks without taking their outputs.
    pub fn after(mut self, upstream: impl Upstream<'d>) -> Self {
        upstream.nodes(&mut self.draft.after);
        self
    }

    /// Runs the task only if `upstream` returned `value`, else skips it. Several `when` conditions must all hold.
    pub fn when<T: Data>(self, upstream: Output<'d, T>, value: T) -> Self {
        self.when_in(upstream, [value])
    }

    /// Runs the task only if `upstream` returned one of `values`, else skips it.
    pub fn when_in<T: Data>(mut self, upstream: Output<'d, T>, values: impl IntoIterator<Item = T>) -> Self {
        let equals = values.into_iter().map(|v| serde_json::to_value(v).map_err(|e| e.to_string())).collect();
        self.draft.when.push(DraftCondition { node: upstream.node, equals });
        self
    }

    /// Declares that the task reads this asset, or the assets of this alias. Shown as lineage.
    pub fn inlet(mut self, asset: impl Into<AssetRef>) -> Self {
        self.draft.inlets.push(asset.into());
        self
    }

    /// Declares that the task updates this asset when it succeeds. With an alias, the task names the assets while it
    /// runs.
    pub fn outlet(mut self, asset: impl Into<AssetRef>) -> Self {
        self.draft.outlets.push(asset.into());
        self
    }

    /// Sends a notification when the task succeeds.
    pub fn on_success(mut self, whom: Notify) -> Self {
        self.draft.callbacks.on_success.push(whom.spec);
        self
    }

    /// Sends a notification when the task fails and is not retried.
    pub fn on_failure(mut self, whom: Notify) -> Self {
        self.draft.callbacks.on_failure.push(whom.spec);
        self
    }

    /// Sends a notification when an attempt fails and is retried.
    pub fn on_retry(mut self, whom: Notify) -> Self {
        self.draft.callbacks.on_retry.push(whom.spec);
        self
    }

    /// Sends a notification when the task skips itself.
    pub fn on_skipped(mut self, whom: Notify) -> Self {
        self.draft.callbacks.on_skipped.push(whom.spec);
        self
    }

    /// Sends a notification when the task starts to wait for a response from a user.
    pub fn on_awaiting_input(mut self, whom: Notify) -> Self {
        self.draft.callbacks.on_awaiting_input.push(whom.spec);
        self
    }

    /// Runs the task function in this process, with the same JSON conversion as in a worker. Intended for unit tests.
    ///
    /// # Errors
    /// Returns the error of the task, or a fatal error if an input is an upstream instead of a constant.
    pub async fn run_alone(self, ctx: Ctx) -> Result<R, TaskError>
    where
        R: Data,
    {
        let values = self.draft.inputs.iter().map(|DraftInput { name, wire, .. }| match wire {
            Wire::Value(value) => value.clone().map_err(fatal),
            _ => Err(fatal(format!("input `{name}` is an upstream: give a plain value to run a task alone"))),
        });
        let values = values.collect::<Result<_, _>>()?;
        let value = self.draft.body.call(ctx, values).await?.ok_or_else(|| skip("not yet"))?;
        serde_json::from_value(value).map_err(|e| fatal(format!("the output does not read back: {e}")).into())
    }
}

/// Removes the space that the compiler keeps from `/// text`. Deeper indents (lists, code) are kept.
fn without_indent(doc: &str) -> String {
    let lines: Vec<&str> = doc.trim_end().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim_start_matches('\n').into()
}

/// The inputs of one attempt as JSON, taken in the order of the parameters.
pub struct StoredInputs {
    values: std::vec::IntoIter<Value>,
    position: usize,
}

impl StoredInputs {
    pub fn new(values: Vec<Value>) -> Self {
        StoredInputs { values: values.into_iter(), position: 0 }
    }

    /// Returns the inputs that were not taken yet.
    pub(crate) fn into_values(self) -> Vec<Value> {
        self.values.collect()
    }

    /// Returns the next input.
    ///
    /// # Errors
    /// Returns a fatal error if the stored JSON is not a `T`, for example because another version of the code wrote
    /// it.
    pub fn take<T: Data>(&mut self) -> TaskResult<T> {
        self.position += 1;
        let value = self.values.next().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|e| fatal(format!("input {} is not a `{}`: {e}", self.position, std::any::type_name::<T>())))
    }
}
