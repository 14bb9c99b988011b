//! Human-in-the-loop tasks: `approval`, `input` and `choice`. They wait for a response without occupying a slot.

use super::operator::Operator;
use crate::{BoxFuture, Call, Ctx, Data, Deferral, OnTimeout, TaskResult, defer, fatal};
use chrono::{DateTime, Utc};
use orch_sdk::task::Awaited;
use orch_spec::approval::{ANSWER, Answer, Question, REJECT};
use orch_spec::params::of_rust_type;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// A question that is approved or rejected. A rejection skips the direct downstream tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Approval {
    question: Question,
}

/// Asks for approval: `d.add(approval("Publish the report?").timeout(hours(48)).default(orch::REJECT).call())`.
pub fn approval(subject: &str) -> Approval {
    Approval { question: Question { options: Vec::new(), ..Question::approval(subject) } }
}

/// A form, or a choice of options. `F` is the type of the form's input.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct Form<F> {
    question: Question,
    #[serde(skip)]
    typed: PhantomData<fn() -> F>,
}

/// Asks for an `F`: its fields, with their defaults and limits, become the fields of the form.
pub fn input<F: Data + JsonSchema>(subject: &str) -> Form<F> {
    let params = of_rust_type(schemars::schema_for!(F).to_value());
    let question = Question { options: Vec::new(), params, ..Question::approval(subject) };
    Form { question, typed: PhantomData }
}

/// Asks for one or several of these options. With [`Form::follow`] it is a branch.
pub fn choice<O: Into<String>>(subject: &str, options: impl IntoIterator<Item = O>) -> Form<Value> {
    let options = options.into_iter().map(Into::into).collect();
    Form { question: Question { options, ..Question::approval(subject) }, typed: PhantomData }
}

/// The response to a form: the chosen options and the input, with its user and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response<F> {
    pub chosen_options: Vec<String>,
    #[serde(rename = "params_input")]
    pub input: F,
    pub responded_at: DateTime<Utc>,
    /// `None` if no user responded and the defaults were used after the timeout.
    pub responded_by_user: Option<String>,
    pub timed_out: bool,
}

impl<F> Clone for Form<F> {
    fn clone(&self) -> Self {
        Form { question: self.question.clone(), typed: PhantomData }
    }
}

impl<F> fmt::Debug for Form<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Form").field(&self.question).finish()
    }
}

macro_rules! asking {
    ($($of:tt)*) => {
        impl $($of)* {
            /// Sets the text below the subject. It can have several lines.
            #[must_use]
            pub fn body(mut self, text: &str) -> Self {
                self.question.body = Some(text.into());
                self
            }

            /// Allows only these users to respond. Default: all users who may start runs.
            #[must_use]
            pub fn ask<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
                self.question.assigned_users = users.into_iter().map(Into::into).collect();
                self
            }

            /// Sets the timeout for a response. After it the default is used; without a default the task fails.
            #[must_use]
            pub fn timeout(mut self, limit: Duration) -> Self {
                self.question.timeout_ms = Some(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
                self
            }

            /// Sets the option that is used after the timeout.
            #[must_use]
            pub fn default(mut self, option: &str) -> Self {
                self.question.defaults.get_or_insert_default().push(option.into());
                self
            }
        }
    };
}
asking!(Approval);
asking!(<F> Form<F>);

impl Approval {
    /// Adds a form to the question.
    #[must_use]
    pub fn with_form<F: JsonSchema>(mut self) -> Approval {
        self.question.params = of_rust_type(schemars::schema_for!(F).to_value());
        self
    }

    /// Makes a rejection fail the task.
    #[must_use]
    pub fn fail_on_reject(mut self) -> Approval {
        self.question.fail_on_reject = true;
        self
    }

    /// Makes a rejection skip everything downstream, regardless of trigger rules.
    #[must_use]
    pub fn ignore_downstream_trigger_rules(mut self) -> Approval {
        self.question.ignore_downstream_trigger_rules = true;
        self
    }

    /// Returns the call of the question, to be added to a DAG.
    #[track_caller]
    pub fn call<'d>(self) -> Call<'d, Answer> {
        Operator::call(self)
    }
}

impl<F: Data> Form<F> {
    /// Sets the options to choose from. Default: a single button `OK`.
    #[must_use]
    pub fn options<O: Into<String>>(mut self, options: impl IntoIterator<Item = O>) -> Form<F> {
        self.question.options = options.into_iter().map(Into::into).collect();
        self
    }

    /// Allows several options to be chosen.
    #[must_use]
    pub fn multiple(mut self) -> Form<F> {
        self.question.multiple = true;
        self
    }

    /// Turns the form into a branch: of the direct downstream tasks, only chosen ones run. `option` selects
    /// `task_id`; every other option selects the task with the option's name.
    #[must_use]
    pub fn follow(mut self, option: &str, task_id: &str) -> Form<F> {
        self.question.follow.get_or_insert_default().insert(option.into(), task_id.into());
        self
    }

    /// Returns the call of the form, to be added to a DAG.
    #[track_caller]
    pub fn call<'d>(self) -> Call<'d, Response<F>> {
        Operator::call(self)
    }
}

/// Defers a task until a question is answered. Tasks of any kind can use it: `return Err(defer(ask(question)))`.
pub fn ask(question: &Question) -> Deferral {
    let on_timeout = if question.fallback().is_some() { OnTimeout::Resume } else { OnTimeout::Fail };
    Deferral { timeout_ms: question.timeout_ms, on_timeout, ..Deferral::from(Awaited::new(ANSWER, question)) }
}

impl Operator for Approval {
    const KIND: &'static str = "approval";
    type Output = Answer;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Answer>> {
        Box::pin(async move {
            let question = self.question.approved_or_rejected();
            let Some(resumed) = ctx.resumed() else { return Err(defer(ask(&question))) };
            let answer: Answer = resumed.value_as()?;
            ctx.info(in_words(&answer.chosen_options, answer.responded_by_user.as_deref()));
            if question.fail_on_reject && answer.chose(REJECT) {
                return Err(fatal("it was rejected"));
            }
            Ok(answer)
        })
    }
}

impl<F: Data> Operator for Form<F> {
    const KIND: &'static str = "input";
    type Output = Response<F>;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Response<F>>> {
        Box::pin(async move {
            let Some(resumed) = ctx.resumed() else { return Err(defer(ask(&self.question.sent()))) };
            let response: Response<F> = resumed.value_as()?;
            ctx.info(in_words(&response.chosen_options, response.responded_by_user.as_deref()));
            Ok(response)
        })
    }
}

fn in_words(chosen: &[String], by: Option<&str>) -> String {
    let chosen = chosen.join(", ");
    match by {
        Some(user) => format!("{user} answered: {chosen}"),
        None => format!("no answer in time: {chosen}"),
    }
}
