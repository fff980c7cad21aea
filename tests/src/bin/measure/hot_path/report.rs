//! The figures as tables for people and JSON for comparing.

use curfew_testbed::measure::{Bench, Cost, Variant};
use serde_json::{Value, json};

/// Pairs whose ratio is of interest: what Curfew does, and what it would replace.
const PAIRS: [(&str, &str); 7] = [
    ("curfew_warm", "jwt_authn_cached"),
    ("curfew_warm", "ext_authz"),
    ("curfew_cold_rs256", "jwt_authn_rs256"),
    ("curfew_cold_es256", "jwt_authn_es256"),
    ("curfew_cold_eddsa", "jwt_authn_eddsa"),
    ("curfew_cold_hs256", "jwt_authn_hs256"),
    ("curfew_bad_rs256", "jwt_authn_bad_rs256"),
];

/// Each variant's cost; one object for each.
pub(super) fn table(bench: &Bench) -> Vec<Value> {
    println!("{:<34}{:>8}{:>9}{:>8}{:>14}{:>10}", "", "cpu us", "added us", "ratio", "(p25 - p75)", "requests");
    let row = |(variant, cost): (&Variant, Cost)| {
        let Cost { microseconds, added, ratio, requests } = cost;
        let (name, total, more, times) = (&variant.name, microseconds.median, added.median, ratio.median);
        let quartiles = format!("({:.2} - {:.2})", ratio.low, ratio.high);
        println!("{name:<34}{total:>8.1}{more:>9.1}{times:>8.2}{quartiles:>14}{requests:>10}");
        json!({
            "variant": name, "cpu_us": rounded(total), "added_us": rounded(more), "ratio_to_bare": rounded(times),
            "requests": requests,
            "spread": {"cpu_us": microseconds.json(), "added_us": added.json(), "ratio_to_bare": ratio.json()},
        })
    };
    bench.costs().into_iter().map(row).collect()
}

/// The ratios of [`PAIRS`], each taken within a round.
pub(super) fn compared(bench: &Bench) -> Vec<Value> {
    println!();
    let measured = PAIRS.iter().filter_map(|(one, other)| Some((one, other, bench.times(one, other)?)));
    let row = |(one, other, times): (&&str, &&str, curfew_testbed::measure::Spread)| {
        let pair = format!("{one} / {other}");
        println!("{pair:<50}{:>8.2}  ({:.2} - {:.2})", times.median, times.low, times.high);
        json!({"variant": one, "beside": other, "ratio": rounded(times.median), "spread": times.json()})
    };
    measured.map(row).collect()
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
