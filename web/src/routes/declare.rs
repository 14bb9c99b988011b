//! How a route is declared: method, path, who may, by which door, and with what body and answer.

use super::{Access, Door, Rule};
use crate::auth::Role;
use crate::guard::{Gate, gate};
use crate::openapi::Shape;
use crate::state::App;
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use schemars::JsonSchema;

/// Routes as they are declared, one after the other.
pub(super) struct Routes {
    app: App,
    pub(super) router: Router<App>,
    pub(super) rules: Vec<Rule>,
    /// Of the same routes.
    pub(super) shapes: Vec<Shape>,
}

impl Routes {
    pub(super) fn new(app: &App) -> Routes {
        Routes { app: app.clone(), router: Router::new(), rules: Vec::new(), shapes: Vec::new() }
    }

    pub(super) fn get<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::GET, MethodFilter::GET), path, (access, Door::Api), handler)
    }

    pub(super) fn post<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::POST, MethodFilter::POST), path, (access, Door::Api), handler)
    }

    /// Something to look at.
    pub(super) fn page<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::GET, MethodFilter::GET), path, (access, Door::Page), handler)
    }

    /// What a page sends back.
    pub(super) fn form<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::POST, MethodFilter::POST), path, (access, Door::Page), handler)
    }

    pub(super) fn patch<H: Handler<T, App>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Routes {
        self.add((Method::PATCH, MethodFilter::PATCH), path, (access, Door::Api), handler)
    }

    pub(super) fn put<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::PUT, MethodFilter::PUT), path, (access, Door::Api), handler)
    }

    /// Many things changed by one request; what its body deletes asks for a role of its own, of which the handler hears by
    /// `MayDelete`.
    pub(super) fn bulk<H: Handler<T, App>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        deletes: Role,
        handler: H,
    ) -> Routes {
        let rule = Rule { method: Method::PATCH, path, access, door: Door::Api, deletes: Some(deletes) };
        self.add_rule(rule, MethodFilter::PATCH, handler)
    }

    pub(super) fn delete<H: Handler<T, App>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Routes {
        self.add((Method::DELETE, MethodFilter::DELETE), path, (access, Door::Api), handler)
    }

    /// What the body of the last route holds.
    pub(super) fn takes<T: JsonSchema>(self) -> Routes {
        self.shape(Shape::takes::<T>)
    }

    /// What the last route answers with.
    pub(super) fn gives<T: JsonSchema>(self) -> Routes {
        self.shape(Shape::gives::<T>)
    }

    pub(super) fn creates<T: JsonSchema>(self) -> Routes {
        self.shape(Shape::creates::<T>)
    }

    pub(super) fn gives_nothing(self) -> Routes {
        self.shape(Shape::gives_nothing)
    }

    fn shape(mut self, say: impl FnOnce(&mut Shape)) -> Routes {
        if let Some(shape) = self.shapes.last_mut() {
            say(shape);
        }
        self
    }

    fn add<H: Handler<T, App>, T: 'static>(
        self,
        (method, filter): (Method, MethodFilter),
        path: &'static str,
        (access, door): (Access, Door),
        handler: H,
    ) -> Routes {
        self.add_rule(Rule { method, path, access, door, deletes: None }, filter, handler)
    }

    fn add_rule<H: Handler<T, App>, T: 'static>(mut self, rule: Rule, filter: MethodFilter, handler: H) -> Routes {
        let path = rule.path;
        let gate_of_route = Gate { app: self.app.clone(), rule: rule.clone() };
        let handler = on(filter, handler).route_layer(from_fn_with_state(gate_of_route, gate));
        self.router = self.router.route(path, handler);
        self.rules.push(rule);
        self.shapes.push(Shape::default());
        self
    }
}
