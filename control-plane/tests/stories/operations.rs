//! The endpoints for operators.

use std::collections::BTreeSet;

use axum::http::Request;
use curfew_control_plane::http::{Listener, OPENAPI, ROUTES};
use serde_json::Value;

use crate::plane::{Plane, ask};
use crate::tokens::token_of;

#[tokio::test]
async fn a_plane_that_works_is_alive_and_ready_and_its_answers_are_not_cached() {
    let plane = Plane::start().await;
    let parts = r#"{"parts":{"database":{"status":"ok"}},"status":"ok"}"#;
    for (path, body) in [("/livez", r#"{"status":"ok"}"#), ("/readyz", parts)] {
        assert_eq!(
            ask(plane.internal(), Request::get(path)).await.whole(),
            format!("200\ncache-control: no-store\ncontent-type: application/json\n\n{body}")
        );
    }
}

#[tokio::test]
async fn metrics_count_without_naming_users() {
    let plane = Plane::start().await;
    let token = token_of("alice-the-user", "jti-of-hers");
    plane.register(&[&token]).await;
    plane.logout(&token).await;
    plane.verdict(&token).await;
    let answer = ask(plane.internal(), Request::get("/metrics")).await;
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\n"));
    for line in [
        r#"curfew_logouts_total{endpoint="logout",outcome="ok"} 1"#,
        r#"curfew_checks_total{verdict="revoked"} 1"#,
        r#"curfew_http_requests_total{route="/api/v2/logout",status="2xx"} 1"#,
        "curfew_tokens_registered_total 1",
        "curfew_feed_seq 1",
        "curfew_writer_queue 0",
        "curfew_writer_batch_size_count 2",
        "curfew_writer_commit_seconds_count 2",
        "# UNIT curfew_writer_commit_seconds seconds",
    ] {
        assert!(answer.body.lines().any(|found| found == line), "{line} in\n{}", answer.body);
    }
    for secret in ["alice", "jti-of-hers", &token] {
        assert!(!answer.body.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn each_route_answers_as_it_is_described() {
    let plane = Plane::start().await;
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    for route in &ROUTES {
        let router = if route.listener == Listener::Public { plane.public() } else { plane.internal() };
        let request = Request::builder().method(route.method.as_str()).uri(route.path.replace("{id}", "alice"));
        let status = ask(router, request).await.status.to_string();
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert!(operation["responses"].get(&status).is_some(), "{} answers {status}", route.path);
    }
    let served = ask(plane.internal(), Request::get("/openapi.json")).await;
    assert_eq!(serde_json::from_str::<Value>(&served.body).unwrap(), document);
}

fn page(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The names in the first column of a page's tables.
fn rows(page: &str) -> BTreeSet<&str> {
    page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn every_metric_is_explained() {
    let plane = Plane::start().await;
    let answer = ask(plane.internal(), Request::get("/metrics")).await;
    let page = page("metrics.md");
    let explained = rows(page.split_once("\n## The control plane\n").unwrap().1);
    let shown: Vec<_> =
        answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(shown.len() > 15, "{shown:?}");
    for name in shown {
        assert!(explained.contains(name), "{name} is not in docs/metrics.md");
    }
}

#[test]
fn every_code_is_explained_and_says_what_to_do() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap().clone();
    let codes: BTreeSet<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
    for (name, heading) in [("api.md", "## Errors"), ("troubleshooting.md", "## Error codes")] {
        let page = page(name);
        let section = page.split_once(&format!("\n{heading}\n")).unwrap().1;
        let section = section.split("\n##").next().unwrap();
        assert_eq!(rows(section), codes, "{name}");
    }
}
