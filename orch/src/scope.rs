//! The scope of a DAG that is being described: adds calls, maps and groups.

use crate::arg::{Data, Mapped, Node, Output, Params};
use crate::call::{Call, Draft};
use crate::each::{Each, Lift, Over};
use crate::graph::{Graph, MapNumber};
use crate::options::Group;
use orch_spec::params::of_rust_type;
use orch_spec::{Location, Options, Role, TriggerRule};
use std::{cell::RefCell, marker::PhantomData, rc::Rc};

/// The scope in which tasks are added: the DAG, or a group in it. `'d` prevents handles from being used in another
/// DAG.
pub struct Scope<'d> {
    graph: Rc<RefCell<Graph>>,
    group: Option<usize>,
    defaults: Options,
    brand: PhantomData<fn(&'d ()) -> &'d ()>,
}

impl<'d> Scope<'d> {
    pub(crate) fn root(graph: Rc<RefCell<Graph>>, defaults: Options) -> Self {
        Scope { graph, group: None, defaults, brand: PhantomData }
    }

    /// Adds a task and returns the handle of its output.
    #[track_caller]
    pub fn add<R>(&self, call: Call<'d, R>) -> Output<'d, R> {
        Output::new(Node::Task(self.insert(*call.draft, None, Location::caller())))
    }

    /// Adds a task that runs once for each element. The closure describes the call for one element. Over a `Mapped`,
    /// each element starts as soon as its own upstream element has finished.
    #[track_caller]
    pub fn map<I, R>(&self, over: impl Each<'d, I>, call: impl FnOnce(I) -> Call<'d, R>) -> Mapped<'d, R> {
        fn element<'d, I, E: Each<'d, I>>(_: &E, map: usize) -> I {
            E::element(map, None)
        }
        let map = self.graph.borrow_mut().number_map(None);
        let draft = *call(element(&over, map)).draft;
        Mapped::new(self.insert(draft, Some((map, over.over())), Location::caller()))
    }

    /// Adds tasks under a name, which is the prefix of their ids and one box in the graph view. A group can have its
    /// own options: `d.group(group("silver").pool("spark").retries(2), |g| …)`.
    #[track_caller]
    pub fn group<T>(&self, name: impl Into<Group>, tasks: impl FnOnce(&Scope<'d>) -> T) -> T {
        tasks(&self.open_group(name.into(), None, Location::caller()))
    }

    /// Adds a group that runs once for each element. Inside, outputs are those of the same element; outside they are
    /// `Mapped`.
    #[track_caller]
    pub fn map_group<I, E: Each<'d, I>, T: Lift<'d>>(
        &self,
        name: impl Into<Group>,
        over: E,
        tasks: impl FnOnce(&Scope<'d>, I) -> T,
    ) -> T::Lifted {
        let scope = self.open_group(name.into(), Some(over.over()), Location::caller());
        let map = self.graph.borrow_mut().number_map(scope.group);
        tasks(&scope, E::element(map, None)).lift()
    }

    /// Adds `setup`, then the tasks of the closure, then `teardown`, which runs even if the tasks failed.
    #[track_caller]
    pub fn with<S, R, T>(
        &self,
        setup: Call<'d, S>,
        teardown: impl FnOnce(Output<'d, S>) -> Call<'d, R>,
        tasks: impl FnOnce(&Scope<'d>, Output<'d, S>) -> T,
    ) -> T {
        let at = Location::caller();
        let mut setup = *setup.draft;
        setup.role = Role::Setup;
        let setup = self.insert(setup, None, at.clone());
        let given = tasks(self, Output::new(Node::Task(setup)));
        let end = {
            let mut graph = self.graph.borrow_mut();
            graph.hang_under(setup);
            graph.tasks.len()
        };
        let mut teardown = *teardown(Output::new(Node::Task(setup))).draft;
        teardown.role = Role::Teardown;
        teardown.options.trigger_rule.get_or_insert(TriggerRule::AllDoneSetupSuccess);
        // Also depends on the setup itself, because the trigger rule checks whether the setup succeeded.
        teardown.after.push(setup);
        teardown.after.extend(self.graph.borrow().leaves(setup + 1, end));
        self.insert(teardown, None, at);
        given
    }

    /// Declares the parameters of the run. Their JSON schema defines the trigger form and validates the run's conf.
    #[track_caller]
    pub fn params<P: Data + schemars::JsonSchema>(&self) -> Params<'d, P> {
        let schema = of_rust_type(schemars::schema_for!(P).to_value());
        self.graph.borrow_mut().set_params(std::any::type_name::<P>(), schema, Location::caller());
        Params::new()
    }

    fn open_group(&self, group: Group, over: Option<Over>, at: Location) -> Scope<'d> {
        let defaults = group.options.clone().or(&self.defaults);
        let number = self.graph.borrow_mut().open_group(group, self.group, over, at);
        Scope { graph: self.graph.clone(), group: Some(number), defaults, brand: PhantomData }
    }

    fn insert(&self, mut draft: Draft, over: Option<(MapNumber, Over)>, at: Location) -> usize {
        draft.options = draft.options.or(&self.defaults);
        self.graph.borrow_mut().insert(draft, self.group, over, at)
    }
}
