//! Envoy chooses the route anew after the filter has changed headers. What that means for routes that look at a header.

use anyhow::{Context as _, Result};
use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use curfew_testbed::upstream::echoed_header;
use serde_json::{Value, json};

use crate::shared::told;

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// Enough requests to meet both workers, with a lease and without.
const SOME: usize = 8;

/// The shipped demo with one more route before the others. It is for requests whose `x-user-id` is `alice`.
fn plan(settings: Value) -> Result<Plan> {
    let mut plan = Plan::shipped()?.change_filter(|filter| filter["control_plane"]["timeout"] = "2s".into())?;
    let header = json!({"name": "x-user-id", "string_match": {"exact": "alice"}});
    let mut route = json!({"match": {"prefix": "/", "headers": [header]}, "route": {"cluster": "upstream"}});
    if let (Some(route), Value::Object(settings)) = (route.as_object_mut(), settings) {
        route.extend(settings);
    }
    let mut config = plan.bootstrap.at(&format!("{MANAGER}/route_config"))?.clone();
    let routes = config.pointer_mut("/virtual_hosts/0/routes").and_then(Value::as_array_mut);
    routes.context("the routes")?.insert(0, route);
    plan.bootstrap.set_connection_manager("route_config", config)?;
    Ok(plan)
}

/// Puts a filter behind `curfew` that does what the route tells it.
fn followed_by_mutation(mut plan: Plan) -> Result<Plan> {
    let mut filters = plan.bootstrap.at(&format!("{MANAGER}/http_filters"))?.clone();
    let kind = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation";
    let filter = json!({"name": "mutation", "typed_config": {"@type": kind}});
    filters.as_array_mut().context("the filters")?.insert(1, filter);
    plan.bootstrap.set_connection_manager("http_filters", filters)?;
    Ok(plan)
}

/// Which of the route's two marks the upstream sees, and the user.
fn seen(stack: &Stack, request: &Request) -> [Option<String>; 3] {
    let answer = stack.send(request).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    ["x-by-route", "x-by-filter", "x-user-id"].map(|name| echoed_header(&answer.json(), name))
}

#[test]
fn the_route_and_the_filters_behind_are_those_of_the_user_in_the_token() {
    let kind = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute";
    let mark = |name: &str| json!({"header": {"key": name, "value": "alice"}});
    let plan = plan(json!({
        "request_headers_to_add": [mark("x-by-route")],
        "typed_per_filter_config": {
            "mutation": {"@type": kind, "mutations": {"request_mutations": [{"append": mark("x-by-filter")}]}},
        },
    }));
    let stack = followed_by_mutation(plan.unwrap()).unwrap().start().unwrap();
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let alice = Some("alice".to_owned());
    for _ in 0..SOME {
        let [hers, his] = ["alice", "bob"].map(|user| signer.sign(&claims(user)).unwrap());
        let request = Request::get("/orders").bearer(&hers);
        assert_eq!(seen(&stack, &request), [alice.clone(), alice.clone(), alice.clone()]);
        // A client's header chooses the first route, and no more.
        assert_eq!(seen(&stack, &request.header("x-user-id", "bob")), [alice.clone(), alice.clone(), alice.clone()]);
        let request = Request::get("/orders").bearer(&his).header("x-user-id", "alice");
        assert_eq!(seen(&stack, &request), [None, None, Some("bob".to_owned())]);
    }
}

/// Why the documentation forbids this: the filter is left out before it could judge the header.
#[test]
fn a_route_that_disables_the_filter_is_chosen_by_the_header_that_the_client_sends() {
    let disabled = json!({"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true});
    let stack = plan(json!({"typed_per_filter_config": {"curfew": disabled}})).unwrap().start().unwrap();
    let request = Request::get("/orders");
    assert_eq!(told(&stack.send(&request).unwrap()), (401, "token_missing".into()));
    let answer = stack.send(&request.header("x-user-id", "alice")).unwrap();
    assert_eq!((answer.status, echoed_header(&answer.json(), "x-user-id")), (200, Some("alice".to_owned())));
    // Her token alone does not choose that route before the filter has run.
    let signer = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap());
    let token = signer.sign(&claims("alice")).unwrap();
    let logout = Request::post("/api/v2/logout").bearer(&token);
    assert_eq!(stack.send(&logout).unwrap().status, 200);
    let answer = stack.send(&Request::get("/orders").bearer(&token)).unwrap();
    assert_eq!(told(&answer), (401, "token_revoked".into()));
}
