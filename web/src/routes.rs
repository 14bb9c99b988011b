//! Every route, with who may use it: one list (`routes/list.rs`), of which the router, the rules and the description of the
//! API are made. A route without a rule cannot be written down.

mod list;

use crate::api::bulk::{BulkBody, BulkResponse, entities};
use crate::api::kept;
use crate::auth::Role;
use crate::base_path::{below, put_before};
use crate::compress::compress;
use crate::guard::{Gate, gate, guard};
use crate::openapi::kept::{BodyOf, PageOf, PatchOf, ViewOf};
use crate::openapi::{Shape, document};
use crate::pages::{self, Asked};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use futures::future::BoxFuture;
use list::routes;
use orch_deeds::Kept;
use schemars::JsonSchema;
use serde_json::Value;
use std::sync::Arc;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: design's list of open routes, and nothing else.
    Open,
    /// Whoever is logged in with at least this role.
    Login(Role),
}

/// How a caller shows who it is, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A token in a header; JSON.
    Api,
    /// A session in a cookie; pages, and a way to log in.
    Page,
}

/// Who may send what where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub door: Door,
    /// What bodies that delete ask for, where a route does several things.
    pub deletes: Option<Role>,
}

/// The server without a network.
pub fn router(app: &App) -> Router {
    let routes = routes(app);
    let inner = routes
        .router
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.config.base_path.clone(), put_before))
        .layer(from_fn(compress))
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app.clone());
    below(&app.config.base_path, inner)
}

/// `/openapi.json`.
pub(crate) fn description(app: &App) -> Value {
    let Routes { rules, shapes, .. } = routes(app);
    document(&rules.into_iter().zip(shapes).collect::<Vec<_>>())
}

/// Who may use which route.
pub fn rules(app: &App) -> Vec<Rule> {
    routes(app).rules
}

async fn no_such_route(State(app): State<App>, request: Request) -> Response {
    if request.uri().path().starts_with("/api/v2") {
        return Refusal::NoSuchRoute.into_response();
    }
    let refusal = Refusal::not_found("Not Found");
    if !pages::wants_html(request.headers()) {
        return refusal.into_response();
    }
    let session = app.auth.session(&app.hot, request.headers(), app.config.cookie()).await.ok();
    pages::readable(&app, &Asked::of(&request, session), refusal.into_response()).await
}

async fn wrong_method() -> Refusal {
    Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

struct Routes {
    app: App,
    router: Router<App>,
    rules: Vec<Rule>,
    /// Of the same routes.
    shapes: Vec<Shape>,
}

impl Routes {
    fn new(app: &App) -> Routes {
        Routes { app: app.clone(), router: Router::new(), rules: Vec::new(), shapes: Vec::new() }
    }

    fn get<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::GET, MethodFilter::GET), path, (access, Door::Api), handler)
    }

    fn post<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::POST, MethodFilter::POST), path, (access, Door::Api), handler)
    }

    /// Something to look at.
    fn page<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::GET, MethodFilter::GET), path, (access, Door::Page), handler)
    }

    /// What a page sends back.
    fn form<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::POST, MethodFilter::POST), path, (access, Door::Page), handler)
    }

    fn patch<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::PATCH, MethodFilter::PATCH), path, (access, Door::Api), handler)
    }

    fn put<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::PUT, MethodFilter::PUT), path, (access, Door::Api), handler)
    }

    /// Many things changed by one request; what its body deletes asks for a role of its own, of which the handler hears by
    /// `MayDelete`.
    fn bulk<H: Handler<T, App>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        deletes: Role,
        handler: H,
    ) -> Routes {
        let rule = Rule { method: Method::PATCH, path, access, door: Door::Api, deletes: Some(deletes) };
        self.add_rule(rule, MethodFilter::PATCH, AnyHandler::new(handler))
    }

    /// Named things that people keep: read by everyone who is logged in, changed by operators.
    fn kept<K: Kept>(self) -> Routes {
        let (viewer, op) = (Access::Login(Role::Viewer), Access::Login(Role::Op));
        let (all, one) = (K::NOUN.path, K::NOUN.path_of_one);
        self.get(all, viewer, kept::list::<K>)
            .gives::<PageOf<K>>()
            .post(all, op, kept::create::<K>)
            .takes::<BodyOf<K>>()
            .creates::<ViewOf<K>>()
            .bulk(all, op, Role::Op, entities::<K>)
            .takes::<BulkBody<BodyOf<K>>>()
            .gives::<BulkResponse>()
            .get(one, viewer, kept::get::<K>)
            .gives::<ViewOf<K>>()
            .patch(one, op, kept::patch::<K>)
            .takes::<PatchOf<K>>()
            .gives::<ViewOf<K>>()
            .delete(one, op, kept::delete::<K>)
            .gives_nothing()
    }

    fn delete<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add((Method::DELETE, MethodFilter::DELETE), path, (access, Door::Api), handler)
    }

    /// What the body of the last route holds.
    fn takes<T: JsonSchema>(self) -> Routes {
        self.shape(Shape::takes::<T>)
    }

    /// What the last route answers with.
    fn gives<T: JsonSchema>(self) -> Routes {
        self.shape(Shape::gives::<T>)
    }

    fn creates<T: JsonSchema>(self) -> Routes {
        self.shape(Shape::creates::<T>)
    }

    fn gives_nothing(self) -> Routes {
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
        self.add_rule(Rule { method, path, access, door, deletes: None }, filter, AnyHandler::new(handler))
    }

    fn add_rule(mut self, rule: Rule, filter: MethodFilter, handler: AnyHandler) -> Routes {
        let path = rule.path;
        let gate_of_route = Gate { app: self.app.clone(), rule: rule.clone() };
        let handler = on(filter, handler).route_layer(from_fn_with_state(gate_of_route, gate));
        self.router = self.router.route(path, handler);
        self.rules.push(rule);
        self.shapes.push(Shape::default());
        self
    }
}

/// A handler whose own types are hidden: what axum wraps around handlers is then compiled once and not for each of three hundred
/// routes, which took half of the time of this crate.
#[derive(Clone)]
struct AnyHandler(Arc<dyn Fn(Request, App) -> BoxFuture<'static, Response> + Send + Sync>);

impl AnyHandler {
    fn new<H: Handler<T, App>, T: 'static>(handler: H) -> AnyHandler {
        AnyHandler(Arc::new(move |request, app| Box::pin(handler.clone().call(request, app))))
    }
}

impl Handler<(), App> for AnyHandler {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, app: App) -> Self::Future {
        (self.0)(request, app)
    }
}
