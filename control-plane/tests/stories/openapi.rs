//! `openapi.json` and the route table say the same.

use std::collections::BTreeSet;

use curfew_control_plane::http::{Access, Body, Listener, OPENAPI, ROUTES, Route};
use serde_json::{Value, json};

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn operation<'d>(document: &'d Value, route: &Route) -> &'d Value {
    &document["paths"][route.path][route.method.as_str().to_lowercase()]
}

fn named(route: &Route) -> String {
    format!("{} {}", route.method.as_str(), route.path)
}

#[test]
fn the_document_names_exactly_the_routes_of_the_table() {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |method| (path, method)))
        .map(|(path, method)| format!("{} {path}", method.to_uppercase()))
        .collect();
    let offered: Vec<_> = ROUTES.iter().map(named).collect();
    assert_eq!(offered.len(), offered.iter().collect::<BTreeSet<_>>().len(), "a route is there twice: {offered:?}");
    assert_eq!(described, offered.into_iter().collect());
}

#[test]
fn each_route_is_described_with_its_listener_and_its_access() {
    let document = document();
    for route in &ROUTES {
        let operation = operation(&document, route);
        let listener = match route.listener {
            Listener::Public => "public",
            Listener::Internal => "internal",
        };
        assert_eq!(operation["tags"], json!([listener]), "{}", named(route));
        let security = match route.access {
            Access::Token => json!([{"token": []}]),
            Access::InternalSecret => json!([{"internalSecret": []}]),
            // No credential, or one in the body, for which OpenAPI has no scheme.
            Access::Application | Access::Open => json!([]),
        };
        assert_eq!(operation["security"], security, "{}", named(route));
    }
}

#[test]
fn each_security_scheme_and_tag_that_is_named_is_defined() {
    let document = document();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let tags: BTreeSet<_> =
        document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).map(Value::to_string).collect();
    let mut used = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            for alternative in operation["security"].as_array().unwrap() {
                used.extend(alternative.as_object().unwrap().keys());
            }
            let named = operation["tags"].as_array().unwrap();
            assert!(named.iter().all(|tag| tags.contains(&tag.to_string())), "{named:?}");
        }
    }
    assert_eq!(used, schemes.keys().collect());
}

#[test]
fn each_reference_leads_somewhere() {
    fn walk(document: &Value, value: &Value, seen: &mut usize) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
                    *seen += 1;
                }
                members.values().for_each(|value| walk(document, value, seen));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(document, value, seen)),
            _ => {}
        }
    }
    let (document, mut seen) = (document(), 0);
    walk(&document, &document, &mut seen);
    assert!(seen > 20, "{seen}");
}

#[test]
fn each_route_is_described_with_the_body_that_it_takes_and_what_bounds_lead_to() {
    let document = document();
    for route in &ROUTES {
        let operation = operation(&document, route);
        let taken = operation["requestBody"]["content"].as_object().map(|types| types.keys().cloned().collect());
        let expected = route.body.media_type().map(|media_type| vec![media_type.to_owned()]);
        assert_eq!(taken, expected, "{}", named(route));
        let must_be_of_a_type = matches!(route.body, Body::Json { .. });
        for (status, expected) in
            [("408", route.body != Body::Unread), ("413", route.body != Body::Unread), ("415", must_be_of_a_type)]
        {
            let described = operation["responses"].get(status).is_some();
            assert_eq!(described, expected, "{} {status}", named(route));
        }
        let answers: &[&str] = if route.entrance().is_some() { &["200", "202", "401", "429", "503"] } else { &["200"] };
        for status in answers {
            assert!(operation["responses"].get(status).is_some(), "{} {status}", named(route));
        }
    }
}
