//! The part of JSON Schema (2020-12) that the schema uses. A keyword beyond it fails the test.

use serde_json::Value;

/// The first thing that is wrong with the value by the schema, which stands in the document `root`.
pub(crate) fn problem(root: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    schema.as_object().unwrap().iter().find_map(|(keyword, wanted)| {
        let inner = |schema: &Value| problem(root, schema, value, place);
        match keyword.as_str() {
            "$ref" => inner(root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap()),
            "allOf" => wanted.as_array().unwrap().iter().find_map(inner),
            "if" => inner(schema.get(if inner(wanted).is_none() { "then" } else { "else" })?),
            "items" => {
                let mut members = value.as_array()?.iter().enumerate();
                members.find_map(|(at, member)| problem(root, wanted, member, &format!("{place}[{at}]")))
            }
            "properties" | "additionalProperties" => members(root, schema, value, place),
            "then" | "else" => None,
            keyword => {
                let met = |one: &&Value| inner(one).is_none();
                let holds = match keyword {
                    "not" => !met(&wanted),
                    "anyOf" => wanted.as_array().unwrap().iter().any(|one| met(&one)),
                    "oneOf" => wanted.as_array().unwrap().iter().filter(met).count() == 1,
                    _ => holds(keyword, wanted, value),
                };
                (!holds).then(|| format!("{place}: {keyword} {wanted}"))
            }
        }
    })
}

fn members(root: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    value.as_object()?.iter().find_map(|(name, member)| {
        let known = schema.get("properties").and_then(|properties| properties.get(name));
        let wanted = known.or_else(|| schema.get("additionalProperties"))?;
        if *wanted == Value::Bool(false) {
            return Some(format!("{place}.{name}: is unknown"));
        }
        problem(root, wanted, member, &format!("{place}.{name}"))
    })
}

/// A keyword about the value alone. Those about another type than the value's say nothing.
fn holds(keyword: &str, wanted: &Value, value: &Value) -> bool {
    let at_least = |size: Option<usize>| size.is_none_or(|size| size as u64 >= wanted.as_u64().unwrap());
    let has = |names: &Value| {
        let names = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        names.into_iter().all(|name| value.get(name).is_some())
    };
    match keyword {
        "$schema" | "$id" | "$defs" | "title" | "description" | "default" => true,
        "type" => match wanted {
            Value::Array(types) => types.iter().any(|wanted| is_a(value, wanted)),
            wanted => is_a(value, wanted),
        },
        "enum" => wanted.as_array().unwrap().contains(value),
        "const" => wanted == value,
        "minLength" => at_least(value.as_str().map(|text| text.chars().count())),
        "minItems" => at_least(value.as_array().map(Vec::len)),
        "minProperties" => at_least(value.as_object().map(|object| object.len())),
        "minimum" => value.as_f64().is_none_or(|value| value >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|value| value <= wanted.as_f64().unwrap()),
        "required" => !value.is_object() || has(wanted),
        "dependentRequired" => {
            let dependent = wanted.as_object().unwrap();
            dependent.iter().all(|(name, others)| value.get(name).is_none() || has(others))
        }
        other => panic!("this test does not know the keyword {other}"),
    }
}

/// A number without a fraction is an integer, however it is written.
fn is_a(value: &Value, wanted: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("unknown type {other}"),
    }
}
