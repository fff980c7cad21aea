//! The table in the page of measurements.

use serde_json::Value;

use super::{CURFEW, JWT_AUTHN, JWT_AUTHN_CACHE};

const HEAD: &str = "\
| request | Curfew | `jwt_authn` | `jwt_authn` with its cache |\n\
|---|---|---|---|\n";

/// A line for each kind of request, from the rows of the figures, without the bare listener.
pub(super) fn markdown(rows: &[Value]) -> String {
    let lines = rows.iter().filter(|row| row["guard"] == CURFEW).map(|row| {
        let others = [CURFEW, JWT_AUTHN, JWT_AUTHN_CACHE].map(|guard| cell(rows, &row["variant"], guard));
        format!("| {} | {} |\n", row["variant"].as_str().unwrap_or_default(), others.join(" | "))
    });
    format!("{HEAD}{}", lines.collect::<String>())
}

/// Microseconds and ratio. `jwt_authn` admits every request that it does not refuse.
fn cell(rows: &[Value], variant: &Value, guard: &str) -> String {
    let Some(row) = rows.iter().find(|row| row["variant"] == *variant && row["guard"] == guard) else {
        return "admitted".to_owned();
    };
    let median = |name: &str| row.get(name).and_then(|spread| spread["median"].as_f64()).unwrap_or_default();
    format!("{:.0} ({:.1} ×)", median("cpu_us"), median("ratio_to_bare"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_a_line_with_every_guard() {
        let row = |variant: &str, guard: &str, cpu: f64, ratio: f64| json!({"variant": variant, "guard": guard, "cpu_us": {"median": cpu}, "ratio_to_bare": {"median": ratio}});
        let rows = [
            row("a good token", "bare", 30.0, 1.0),
            row("no token", CURFEW, 55.4, 1.72),
            row("no token", JWT_AUTHN, 36.0, 1.1),
            row("no token", JWT_AUTHN_CACHE, 36.5, 1.14),
            row("logged out", CURFEW, 60.0, 2.0),
        ];
        let lines =
            "| no token | 55 (1.7 ×) | 36 (1.1 ×) | 36 (1.1 ×) |\n| logged out | 60 (2.0 ×) | admitted | admitted |\n";
        assert_eq!(markdown(&rows), format!("{HEAD}{lines}"));
    }
}
