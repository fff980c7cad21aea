//! A service that serves another path than Envoy was asked for, because of a header: gunicorn, which cuts `SCRIPT_NAME`
//! off the path.

use anyhow::{Context as _, Result};
use curfew_testbed::gunicorn::Gunicorn;
use curfew_testbed::http::Request;
use curfew_testbed::stack::{Plan, Stack};
use curfew_testbed::tokens::{Signer, claims};
use serde_json::{Value, json};

use crate::shared::told;

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The demo with `/public` open, in front of this gunicorn.
fn plan(gunicorn: &Gunicorn) -> Result<Plan> {
    let mut plan = Plan::shipped()?.change_filter(|filter| {
        if let Some(rules) = filter["rules"].as_array_mut() {
            rules.push(json!({"prefix": "/public", "action": "skip"}));
        }
    })?;
    plan.bootstrap.add_cluster("gunicorn", gunicorn.address())?;
    let mut config = plan.bootstrap.at(&format!("{MANAGER}/route_config"))?.clone();
    let routes = config.pointer_mut("/virtual_hosts/0/routes").and_then(Value::as_array_mut).context("the routes")?;
    for route in routes.iter_mut().filter(|route| route["route"]["cluster"] == "upstream") {
        route["route"]["cluster"] = "gunicorn".into();
    }
    plan.bootstrap.set_connection_manager("route_config", config)?;
    Ok(plan)
}

/// Envoy as it is by default: it keeps headers with underscores.
fn with_underscores(mut plan: Plan) -> Result<Plan> {
    let kept = json!({"headers_with_underscores_action": "ALLOW"});
    plan.bootstrap.set_connection_manager("common_http_protocol_options", kept)?;
    Ok(plan)
}

/// The path that gunicorn served.
fn served(stack: &Stack, request: &Request) -> String {
    let answer = stack.send(request).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

#[test]
fn a_prefix_that_gunicorn_cuts_off_the_path_opens_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let gunicorn = Gunicorn::start(directory.path()).unwrap();
    let stack = with_underscores(plan(&gunicorn).unwrap()).unwrap().start().unwrap();
    let token = Signer::from_secret(stack.settings.required("JWT_SECRET").unwrap()).sign(&claims("alice")).unwrap();
    assert_eq!(served(&stack, &Request::get("/public/page")), "/public/page");
    assert_eq!(told(&stack.send(&Request::get("/admin")).unwrap()), (401, "token_missing".into()));
    for (path, name, prefix) in [
        ("/public/admin", "SCRIPT_NAME", "/public"),
        ("/public/admin", "script_name", "/public"),
        ("/public/admin", "X-Script-Name", "/public"),
        ("/public", "SCRIPT_NAME", "/public"),
    ] {
        let request = Request::get(path).header(name, prefix);
        assert_eq!(told(&stack.send(&request).unwrap()), (401, "token_missing".into()), "{name}");
        // The header is refused for what gunicorn makes of it.
        let inside = path.strip_prefix(prefix).unwrap();
        assert_eq!(served(&stack, &request.bearer(&token)), inside, "{name}");
    }
}

#[test]
fn the_shipped_envoy_drops_headers_with_underscores() {
    let directory = tempfile::tempdir().unwrap();
    let gunicorn = Gunicorn::start(directory.path()).unwrap();
    let stack = plan(&gunicorn).unwrap().start().unwrap();
    let request = Request::get("/public/admin").header("SCRIPT_NAME", "/public");
    assert_eq!(served(&stack, &request), "/public/admin");
}
