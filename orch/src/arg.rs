//! Handles, and the trait `Arg`, which defines the handles that fit an input. The messages of compile errors are in
//! this file.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;

/// Values that can be passed between tasks. They are stored as JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between tasks",
    label = "cannot be stored as JSON",
    note = "give it `#[derive(Serialize, Deserialize)]`; connections and open files are made inside the task that uses them"
)]
pub trait Data: Serialize + DeserializeOwned + Send + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Data for T {}

/// Ties a handle to its DAG. Handles are covariant in `'d`, but `Scope` is invariant, so a scope cannot shrink to a
/// lifetime that two DAGs share.
pub(crate) type Brand<'d, T> = PhantomData<(&'d (), fn() -> T)>;

/// The future output of a task. Cheap to copy; valid only inside the `build` closure that created it.
pub struct Output<'d, T> {
    pub(crate) node: Node,
    brand: Brand<'d, T>,
}

/// The future outputs of a mapped task, one `T` per element. Fits an input of type `Vec<T>`.
pub struct Mapped<'d, T> {
    pub(crate) task: usize,
    brand: Brand<'d, T>,
}

/// The parameters of the run. They are checked against their schema before the run is created.
pub struct Params<'d, P> {
    brand: Brand<'d, P>,
}

/// The target of an `Output`: a task, the complete list of a mapped task, or one element of the map that is being
/// described.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    Task(usize),
    Collected(usize),
    Element { map: usize, part: Option<usize> },
}

/// Placeholder for something that is not a task of a map. The start-up check reports it.
pub(crate) const NO_TASK: usize = usize::MAX;

/// An input whose tasks and maps are still numbers, not names.
#[derive(Debug, Clone)]
pub enum Wire {
    #[doc(hidden)]
    Value(Result<Value, String>),
    #[doc(hidden)]
    Params,
    #[doc(hidden)]
    Task(usize),
    #[doc(hidden)]
    Tasks(usize),
    #[doc(hidden)]
    Collected(usize),
    #[doc(hidden)]
    Element { map: usize, part: Option<usize> },
    #[doc(hidden)]
    List(Vec<Wire>),
}

/// A source of a `T`: an upstream output, the params, a mapped element or a constant.
#[diagnostic::on_unimplemented(
    message = "this input takes `{T}`, but `{Self}` does not give one",
    label = "gives no `{T}`",
    note = "`Output<T>` gives `T` or `Option<T>`; `Mapped<T>` and `[Output<T>; N]` give `Vec<T>`; a plain value gives itself",
    note = "to run a task once for each element of a list, write `d.map(list, |element| …)`",
    note = "a `Call` gives nothing until it is in the DAG: `d.add(call)` gives its `Output`"
)]
pub trait Arg<'d, T> {
    #[doc(hidden)]
    const OPTIONAL: bool = false;
    #[doc(hidden)]
    fn wire(self) -> Wire;
}

#[diagnostic::do_not_recommend]
impl<'d, T> Arg<'d, T> for Output<'d, T> {
    fn wire(self) -> Wire {
        self.node.wire()
    }
}

/// An element of `d.map(["a", "b"], …)` fits an input of type `String`.
#[diagnostic::do_not_recommend]
impl<'d> Arg<'d, String> for Output<'d, &'static str> {
    fn wire(self) -> Wire {
        self.node.wire()
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T> Arg<'d, Option<T>> for Output<'d, T> {
    const OPTIONAL: bool = true;
    fn wire(self) -> Wire {
        self.node.wire()
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T> Arg<'d, Vec<T>> for Mapped<'d, T> {
    fn wire(self) -> Wire {
        Wire::Tasks(self.task)
    }
}

/// Skipped and failed elements are `None`.
#[diagnostic::do_not_recommend]
impl<'d, T> Arg<'d, Vec<Option<T>>> for Mapped<'d, T> {
    const OPTIONAL: bool = true;
    fn wire(self) -> Wire {
        Wire::Tasks(self.task)
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T, const N: usize> Arg<'d, Vec<T>> for [Output<'d, T>; N] {
    fn wire(self) -> Wire {
        Wire::List(self.map(|o| o.node.wire()).into())
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T, const N: usize> Arg<'d, Vec<Option<T>>> for [Output<'d, T>; N] {
    const OPTIONAL: bool = true;
    fn wire(self) -> Wire {
        Wire::List(self.map(|o| o.node.wire()).into())
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T> Arg<'d, Vec<T>> for Vec<Output<'d, T>> {
    fn wire(self) -> Wire {
        Wire::List(self.into_iter().map(|o| o.node.wire()).collect())
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T> Arg<'d, Vec<Option<T>>> for Vec<Output<'d, T>> {
    const OPTIONAL: bool = true;
    fn wire(self) -> Wire {
        Wire::List(self.into_iter().map(|o| o.node.wire()).collect())
    }
}

#[diagnostic::do_not_recommend]
impl<'d, P> Arg<'d, P> for Params<'d, P> {
    fn wire(self) -> Wire {
        Wire::Params
    }
}

#[diagnostic::do_not_recommend]
impl<T: Data> Arg<'_, T> for T {
    fn wire(self) -> Wire {
        Wire::Value(serde_json::to_value(self).map_err(|e| e.to_string()))
    }
}

#[diagnostic::do_not_recommend]
impl Arg<'_, String> for &str {
    fn wire(self) -> Wire {
        Wire::Value(Ok(self.into()))
    }
}

/// One named input of a call. `#[task]` generates these.
pub struct Input<'d> {
    pub(crate) name: Cow<'static, str>,
    pub(crate) type_name: &'static str,
    pub(crate) optional: bool,
    /// True if the input is a field of an operator. The field is null if the upstream task returned nothing and the
    /// trigger rule allows that.
    pub(crate) is_field: bool,
    pub(crate) wire: Wire,
    brand: Brand<'d, ()>,
}

impl<'d> Input<'d> {
    pub fn new<T>(name: &'static str, arg: impl Arg<'d, T>) -> Self {
        fn optional<'d, T, A: Arg<'d, T>>(_: &A) -> bool {
            A::OPTIONAL
        }
        let optional = optional::<T, _>(&arg);
        let type_name = std::any::type_name::<T>();
        Input { name: name.into(), type_name, optional, is_field: false, wire: arg.wire(), brand: PhantomData }
    }

    /// Returns the input for a field of an operator. `name` is the JSON pointer of the field without its first slash.
    pub(crate) fn of_field<T>(name: String, arg: impl Arg<'d, T>) -> Self {
        let type_name = std::any::type_name::<T>();
        Input { name: name.into(), type_name, optional: false, is_field: true, wire: arg.wire(), brand: PhantomData }
    }
}

/// Tasks to wait for: `.after(a)`, `.after((a, b))`, `.after([a, b])`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task of this DAG",
    label = "not a task handle",
    note = "`.after(…)` takes what `d.add`, `d.map` or `d.group` gave: a handle, an array or a tuple of handles"
)]
pub trait Upstream<'d> {
    #[doc(hidden)]
    fn nodes(self, into: &mut Vec<usize>);
}

#[diagnostic::do_not_recommend]
impl<'d, T> Upstream<'d> for Output<'d, T> {
    fn nodes(self, into: &mut Vec<usize>) {
        into.push(match self.node {
            Node::Task(task) | Node::Collected(task) => task,
            Node::Element { .. } => NO_TASK,
        });
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T> Upstream<'d> for Mapped<'d, T> {
    fn nodes(self, into: &mut Vec<usize>) {
        into.push(self.task);
    }
}

#[diagnostic::do_not_recommend]
impl<'d, U: Upstream<'d>, const N: usize> Upstream<'d> for [U; N] {
    fn nodes(self, into: &mut Vec<usize>) {
        for upstream in self {
            upstream.nodes(into);
        }
    }
}

#[diagnostic::do_not_recommend]
impl<'d, U: Upstream<'d>> Upstream<'d> for Vec<U> {
    fn nodes(self, into: &mut Vec<usize>) {
        for upstream in self {
            upstream.nodes(into);
        }
    }
}

macro_rules! upstream_tuples {
    ($(($($name:ident)+))+) => {$(
        #[diagnostic::do_not_recommend]
        impl<'d, $($name: Upstream<'d>),+> Upstream<'d> for ($($name,)+) {
            #[expect(non_snake_case, reason = "the types' names serve for the values too")]
            fn nodes(self, into: &mut Vec<usize>) {
                let ($($name,)+) = self;
                $($name.nodes(into);)+
            }
        }
    )+};
}
upstream_tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

impl Node {
    pub(crate) fn wire(self) -> Wire {
        match self {
            Node::Task(task) => Wire::Task(task),
            Node::Collected(task) => Wire::Collected(task),
            Node::Element { map, part } => Wire::Element { map, part },
        }
    }
}

impl<T> Output<'_, T> {
    pub(crate) fn new(node: Node) -> Self {
        Output { node, brand: PhantomData }
    }
}

impl<'d, T> Mapped<'d, T> {
    pub(crate) fn new(task: usize) -> Self {
        Mapped { task, brand: PhantomData }
    }

    /// Returns all outputs as one list. A map over this list waits for all of them; a map over the `Mapped` itself
    /// starts each element as soon as its own upstream element has finished.
    pub fn collect(self) -> Output<'d, Vec<T>> {
        Output::new(Node::Collected(self.task))
    }
}

impl<P> Params<'_, P> {
    pub(crate) fn new() -> Self {
        Params { brand: PhantomData }
    }
}

// Derived `Clone` and `Copy` would require `T: Clone` and `T: Copy`.
impl<T> Clone for Output<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Output<'_, T> {}
impl<T> Clone for Mapped<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Mapped<'_, T> {}
impl<P> Clone for Params<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P> Copy for Params<'_, P> {}
