//! All routes with their access rules, in one list (`routes/list.rs`). The router, the rules and the OpenAPI
//! description are generated from it. A route without a rule cannot be declared.

mod list;

use crate::api::bulk::{BulkBody, BulkResponse, entities};
use crate::api::kept;
use crate::api::mask::MaskParams;
use crate::auth::Role;
use crate::base_path::{below, put_before};
use crate::compress::compress;
use crate::extract::QueryParams;
use crate::guard::{Gate, gate, guard};
use crate::openapi::kept::{BodyOf, PageOf, PatchOf, ViewOf};
use crate::openapi::kinds::{Param, QueryParamType, param};
use crate::openapi::queries::{listed, narrowed};
use crate::openapi::{ResponseShape, Shape};
use crate::pages::{self, PageRequest};
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
use orch_store::list::Column;
use schemars::{JsonSchema, SchemaGenerator};
use std::borrow::Cow;
use std::sync::Arc;

/// Access rule of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Accessible without a login. Only for the documented open routes.
    Open,
    /// Requires a login with at least this role.
    Login(Role),
}

/// How callers of a route authenticate, and the format of its responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Token in a header; JSON responses.
    Api,
    /// Session cookie; HTML responses and redirects to the login page.
    Page,
}

/// The access rule of a method and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub door: Door,
    /// The role that a bulk body needs for deletions.
    pub deletes: Option<Role>,
}

/// Returns the server's router, without a network.
pub fn router(app: &App) -> Router {
    let mut inner: Router<App> = Router::new();
    for Route { rule, handler, shape } in routes().routes {
        let filter = MethodFilter::try_from(rule.method.clone()).expect("axum knows the methods of the list");
        let path = rule.path;
        let gate_of_route = Gate { app: app.clone(), rule, query: (!shape.reads_anything).then(|| shape.query.into()) };
        inner = inner.route(path, on(filter, handler).route_layer(from_fn_with_state(gate_of_route, gate)));
    }
    let inner = inner
        .fallback(no_such_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.config.base_path.clone(), put_before))
        .layer(from_fn(compress))
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app.clone());
    below(&app.config.base_path, inner)
}

/// Returns all routes in the order of the list.
pub(crate) fn described() -> Vec<(Rule, Shape)> {
    routes().routes.into_iter().map(|route| (route.rule, route.shape)).collect()
}

pub fn rules() -> Vec<Rule> {
    routes().routes.into_iter().map(|route| route.rule).collect()
}

async fn no_such_route(State(app): State<App>, request: Request) -> Response {
    if request.uri().path().starts_with("/api/v2") {
        return Refusal::NoSuchRoute.into_response();
    }
    let refusal = Refusal::not_found("Not Found");
    if !pages::wants_html(request.headers()) {
        return refusal.into_response();
    }
    // No rate limit applies here, so an unknown cookie is not looked up.
    let session = match app.auth.knows_session(request.headers(), app.config.cookie()) {
        Some(true) => app.auth.session(&app.hot, request.headers(), app.config.cookie()).await.ok(),
        _ => None,
    };
    pages::readable(&app, &PageRequest::of(&request, session), refusal.into_response()).await
}

async fn wrong_method() -> Refusal {
    Refusal::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

struct Route {
    rule: Rule,
    handler: AnyHandler,
    shape: Shape,
}

#[derive(Default)]
struct Routes {
    routes: Vec<Route>,
    /// Heading of the routes that are added next.
    group: &'static str,
}

impl Routes {
    /// Sets the heading of the following routes in `/docs`.
    fn group(self, group: &'static str) -> Routes {
        Routes { group, ..self }
    }

    fn get<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::GET, path, (access, Door::Api), handler)
    }

    fn post<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::POST, path, (access, Door::Api), handler)
    }

    fn page<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::GET, path, (access, Door::Page), handler)
    }

    fn form<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::POST, path, (access, Door::Page), handler)
    }

    fn patch<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::PATCH, path, (access, Door::Api), handler)
    }

    fn put<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::PUT, path, (access, Door::Api), handler)
    }

    /// Adds a bulk change. Deletions in its body require a separate role, which the handler checks with `MayDelete`.
    fn bulk<H: Handler<T, App>, T: 'static>(
        self,
        path: &'static str,
        access: Access,
        deletes: Role,
        handler: H,
    ) -> Routes {
        let rule = Rule { method: Method::PATCH, path, access, door: Door::Api, deletes: Some(deletes) };
        self.add_rule(rule, AnyHandler::new(handler))
    }

    /// Adds the routes of a kind of named objects. All users who are logged in may read them, and operators may change
    /// them.
    fn kept<K: Kept>(self) -> Routes {
        let (viewer, op) = (Access::Login(Role::Viewer), Access::Login(Role::Op));
        let (all, one) = (K::NOUN.path, K::NOUN.path_of_one);
        let does = |method: &str, path: &str| K::NOUN.line(method, path).unwrap_or_default();
        self.get(all, viewer, kept::list::<K>)
            .does(does("GET", all))
            .asks(listed(K::COLUMNS))
            .gives::<PageOf<K>>()
            .post(all, op, kept::create::<K>)
            .does(does("POST", all))
            .takes::<BodyOf<K>>()
            .creates::<ViewOf<K>>()
            .bulk(all, op, Role::Op, entities::<K>)
            .does(does("PATCH", all))
            .takes::<BulkBody<BodyOf<K>>>()
            .gives::<BulkResponse>()
            .get(one, viewer, kept::get::<K>)
            .does(does("GET", one))
            .gives::<ViewOf<K>>()
            .patch(one, op, kept::patch::<K>)
            .does(does("PATCH", one))
            .asks_for::<MaskParams<PatchOf<K>>>()
            .takes::<PatchOf<K>>()
            .gives::<ViewOf<K>>()
            .delete(one, op, kept::delete::<K>)
            .does(does("DELETE", one))
            .gives_nothing()
    }

    fn delete<H: Handler<T, App>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Routes {
        self.add(Method::DELETE, path, (access, Door::Api), handler)
    }

    /// Sets the one-line description of the last route.
    fn does(self, line: impl Into<Cow<'static, str>>) -> Routes {
        self.shape(|shape| shape.line = line.into())
    }

    /// Adds query parameters to the last route. Other parameters are rejected.
    fn asks(self, params: impl IntoIterator<Item = Param>) -> Routes {
        self.shape(|shape| shape.query.extend(params))
    }

    /// Adds query parameters that `query_params!` declares.
    fn asks_for<P: QueryParams>(self) -> Routes {
        self.asks(P::params())
    }

    /// Adds query parameters of a page by name. Pages are not described.
    fn reads(self, names: &[&'static str]) -> Routes {
        self.asks(names.iter().map(|name| param(*name, QueryParamType::Text, "")))
    }

    /// Adds integer query parameters of a page.
    fn numbers(self, names: &[&'static str]) -> Routes {
        self.asks(names.iter().map(|name| param(*name, QueryParamType::Index, "")))
    }

    /// Adds a query parameter that accepts only these values.
    fn one_of(self, name: &'static str, words: impl IntoIterator<Item = &'static str>) -> Routes {
        let words: Vec<&'static str> = words.into_iter().collect();
        self.asks([param(name, QueryParamType::Words(words.into()), "")])
    }

    /// Adds the filters and sort orders of a list with these columns. `own` are columns that the page reads itself.
    fn narrows(self, columns: &'static [Column], own: &[&str]) -> Routes {
        self.asks(narrowed(columns, own))
    }

    /// Accepts any query parameter: the last route passes the query on, checks it itself, or serves probes, which may
    /// add parameters.
    fn reads_anything(self) -> Routes {
        self.shape(|shape| shape.reads_anything = true)
    }

    /// Sets the type of the body of the last route.
    fn takes<T: JsonSchema>(self) -> Routes {
        self.shape(|shape| shape.body = Some(SchemaGenerator::subschema_for::<T>))
    }

    /// Declares that the last route accepts the header `Idempotency-Key`.
    fn with_key(self) -> Routes {
        self.shape(|shape| shape.has_key = true)
    }

    /// Sets the type of the response of the last route.
    fn gives<T: JsonSchema>(self) -> Routes {
        self.shape(|shape| shape.answer = ResponseShape::Json(SchemaGenerator::subschema_for::<T>))
    }

    fn creates<T: JsonSchema>(self) -> Routes {
        self.shape(|shape| shape.answer = ResponseShape::Created(SchemaGenerator::subschema_for::<T>))
    }

    /// Declares that the last route returns 204.
    fn gives_nothing(self) -> Routes {
        self.shape(|shape| shape.answer = ResponseShape::Nothing)
    }

    /// Declares that the last route returns 307.
    fn leads_elsewhere(self) -> Routes {
        self.shape(|shape| shape.answer = ResponseShape::Elsewhere)
    }

    fn gives_events(self) -> Routes {
        self.shape(|shape| shape.answer = ResponseShape::Events)
    }

    /// Declares that the last route can also return plain text if the client accepts it.
    fn or_text(self) -> Routes {
        self.shape(|shape| shape.also = Some("text/plain"))
    }

    /// Declares that the last route can also return lines of JSON.
    fn or_lines(self) -> Routes {
        self.shape(|shape| shape.also = Some("application/x-ndjson"))
    }

    /// Declares that the last route may return 202 before the work is finished.
    fn or_later(self) -> Routes {
        self.shape(|shape| shape.may_be_late = true)
    }

    fn shape(mut self, say: impl FnOnce(&mut Shape)) -> Routes {
        if let Some(route) = self.routes.last_mut() {
            say(&mut route.shape);
        }
        self
    }

    fn add<H: Handler<T, App>, T: 'static>(
        self,
        method: Method,
        path: &'static str,
        (access, door): (Access, Door),
        handler: H,
    ) -> Routes {
        self.add_rule(Rule { method, path, access, door, deletes: None }, AnyHandler::new(handler))
    }

    fn add_rule(mut self, rule: Rule, handler: AnyHandler) -> Routes {
        self.routes.push(Route { rule, handler, shape: Shape::of(self.group) });
        self
    }
}

/// A type-erased handler. Axum's wrappers around handlers are then compiled once instead of for each of three hundred
/// routes, which took half of the compile time of this crate.
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
