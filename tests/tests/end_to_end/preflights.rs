//! Preflights of browsers, without and with Envoy's own `cors` filter before the filter.

use anyhow::{Context as _, Result};
use curfew_testbed::http::{Answer, Request};
use curfew_testbed::stack::Plan;
use curfew_testbed::tokens::{Signer, claims};
use serde_json::json;

use crate::shared::told;

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const PAGE: &str = "https://shop.example.com";

fn options(target: &str) -> Request {
    let mut request = Request::get(target);
    request.method = "OPTIONS".to_owned();
    request
}

fn preflight(target: &str, origin: &str) -> Request {
    options(target).header("Origin", origin).header("Access-Control-Request-Method", "DELETE")
}

#[test]
fn preflights_reach_the_upstream_on_every_path_and_nothing_else_does() {
    let stack = Plan::shipped().unwrap().start().unwrap();
    for target in ["/api/users/j%40e.com", "/orders", "/orders?page=2"] {
        let answer = stack.send(&preflight(target, PAGE)).unwrap();
        assert_eq!((answer.status, answer.json()["method"].as_str()), (200, Some("OPTIONS")), "{target}");
    }
    let seen = stack.upstream.requests_seen();
    let missing = (401, "token_missing".to_owned());
    let mut disguised = preflight("/orders", PAGE);
    disguised.method = "DELETE".to_owned();
    for request in [
        disguised,
        options("/orders"),
        options("/orders").header("Origin", PAGE),
        options("/orders").header("Access-Control-Request-Method", "DELETE"),
        preflight("/orders", PAGE).header("X-HTTP-Method-Override", "DELETE"),
        preflight("/orders?_method=DELETE", PAGE),
    ] {
        assert_eq!(told(&stack.send(&request).unwrap()), missing, "{request:?}");
    }
    assert_eq!(stack.upstream.requests_seen(), seen);
    assert_eq!(stack.envoy.metric("curfew_requests_preflight").unwrap(), Some(3));
}

#[test]
fn preflights_need_a_token_unless_the_configuration_says_otherwise() {
    let without = |filter: &mut serde_json::Value| {
        filter.as_object_mut().unwrap().remove("cors_preflight").unwrap();
    };
    let stack = Plan::shipped().unwrap().change_filter(without).unwrap().start().unwrap();
    assert_eq!(told(&stack.send(&preflight("/orders", PAGE)).unwrap()), (401, "token_missing".into()));
}

/// The shipped demo with Envoy's `cors` filter before `curfew`.
fn behind_cors() -> Result<Plan> {
    let mut plan = Plan::shipped()?;
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.http.cors.v3.{name}");
    let mut filters = plan.bootstrap.at(&format!("{MANAGER}/http_filters"))?.clone();
    let cors = json!({"name": "envoy.filters.http.cors", "typed_config": {"@type": kind("Cors")}});
    filters.as_array_mut().context("the filters")?.insert(0, cors);
    plan.bootstrap.set_connection_manager("http_filters", filters)?;
    let mut routes = plan.bootstrap.at(&format!("{MANAGER}/route_config"))?.clone();
    let host = routes.pointer_mut("/virtual_hosts/0").context("the host")?;
    host["typed_per_filter_config"] = json!({"envoy.filters.http.cors": {
        "@type": kind("CorsPolicy"),
        "allow_origin_string_match": [{"exact": PAGE}],
        "allow_methods": "GET, DELETE",
        "allow_headers": "authorization",
        "expose_headers": "WWW-Authenticate, Retry-After",
    }});
    plan.bootstrap.set_connection_manager("route_config", routes)?;
    Ok(plan)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.header(name)
}

#[test]
fn a_page_of_another_origin_can_read_a_refusal_behind_envoys_cors_filter() {
    let stack = behind_cors().unwrap().start().unwrap();
    let answer = stack.send(&preflight("/orders", PAGE)).unwrap();
    assert_eq!((answer.status, header(&answer, "access-control-allow-methods")), (200, Some("GET, DELETE")));
    assert_eq!(stack.upstream.requests_seen(), 0, "the cors filter answers it");

    let answer = stack.send(&Request::get("/orders").header("Origin", PAGE)).unwrap();
    assert_eq!(told(&answer), (401, "token_missing".into()));
    assert_eq!(header(&answer, "access-control-allow-origin"), Some(PAGE));
    assert_eq!(header(&answer, "access-control-expose-headers"), Some("WWW-Authenticate, Retry-After"));

    let token = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap()).sign(&claims("alice")).unwrap();
    let logout = stack.send(&Request::post("/api/v2/logout").bearer(&token).header("Origin", PAGE)).unwrap();
    assert_eq!((logout.status, header(&logout, "access-control-allow-origin")), (200, Some(PAGE)));
    let dead = stack.send(&Request::get("/orders").bearer(&token).header("Origin", PAGE)).unwrap();
    assert_eq!(told(&dead), (401, "token_revoked".into()));
    assert_eq!(header(&dead, "access-control-allow-origin"), Some(PAGE));

    let other = stack.send(&Request::get("/orders").header("Origin", "https://other.example.com")).unwrap();
    assert_eq!((other.status, header(&other, "access-control-allow-origin")), (401, None));
}
