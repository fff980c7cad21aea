//! The figures as tables for people and JSON for comparing.

use curfew_testbed::envoy;
use curfew_testbed::measure::{Bench, Cost, Variant, date};
use serde_json::{Value, json};

use super::Arguments;

/// Pairs whose ratio is of interest: a variant of Curfew, and the variant that it would replace.
const PAIRS: [(&str, &str); 7] = [
    ("curfew_warm", "jwt_authn_cached"),
    ("curfew_warm", "ext_authz"),
    ("curfew_cold_rs256", "jwt_authn_rs256"),
    ("curfew_cold_es256", "jwt_authn_es256"),
    ("curfew_cold_eddsa", "jwt_authn_eddsa"),
    ("curfew_cold_hs256", "jwt_authn_hs256"),
    ("curfew_bad_rs256", "jwt_authn_bad_rs256"),
];

/// The cost of each variant, as one object each.
pub(super) fn table(bench: &Bench) -> Vec<Value> {
    println!(
        "{:<34}{:>8}{:>9}{:>8}{:>14}{:>7}{:>10}",
        "", "cpu us", "added us", "ratio", "(p25 - p75)", "busy", "requests"
    );
    let row = |(variant, cost): (&Variant, Cost)| {
        let Cost { microseconds, added, ratio, requests, busy } = cost;
        let (name, total, more, times) = (&variant.name, microseconds.median, added.median, ratio.median);
        let quartiles = format!("({:.2} - {:.2})", ratio.low, ratio.high);
        println!("{name:<34}{total:>8.1}{more:>9.1}{times:>8.2}{quartiles:>14}{:>5.0} %{requests:>10}", busy * 100.0);
        json!({
            "variant": name, "cpu_us": rounded(total), "added_us": rounded(more), "ratio_to_bare": rounded(times),
            "requests": requests, "busy": rounded(busy),
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

/// The tables in the page of measurements: the cost of each variant, and its ratio to Envoy's own filters.
pub(super) fn page(
    table: &[Value],
    compared: &[Value],
    latencies: &[Value],
    arguments: &Arguments,
    machine: &Value,
) -> String {
    let mut text = "| | CPU, µs | added, µs | × bare (middle half) | worker busy |".to_owned();
    text += if latencies.is_empty() {
        "\n|---|---|---|---|---|"
    } else {
        " p50, µs | p99, µs |\n|---|---|---|---|---|---|---|"
    };
    for row in table {
        let of = |place: &str| row.pointer(place).and_then(Value::as_f64).unwrap_or_default();
        let name = row.get("variant").and_then(Value::as_str).unwrap_or_default();
        let (low, high) = (of("/spread/ratio_to_bare/p25"), of("/spread/ratio_to_bare/p75"));
        let (total, added, times) = (of("/cpu_us"), of("/added_us"), of("/ratio_to_bare"));
        text += &format!(
            "\n| `{name}` | {total:.1} | {added:.1} | {times:.2} ({low:.2} to {high:.2}) | {:.0} % |",
            of("/busy") * 100.0
        );
        if !latencies.is_empty() {
            let own = latencies.iter().find(|own| own.get("variant") == row.get("variant"));
            let at = |name| own.and_then(|own| own.get(name)).and_then(Value::as_f64);
            let cell = |name| at(name).map_or(String::new(), |number| format!("{number:.0}"));
            text += &format!(" {} | {} |", cell("p50_us"), cell("p99_us"));
        }
    }
    text += "\n\n| ratio within a round | | middle half |\n|---|---|---|";
    for pair in compared {
        let of = |place: &str| pair.pointer(place).and_then(Value::as_f64).unwrap_or_default();
        let name = |place: &str| pair.get(place).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (low, high) = (of("/spread/p25"), of("/spread/p75"));
        let (one, other) = (name("variant"), name("beside"));
        text += &format!("\n| `{one}` / `{other}` | {:.2} | {low:.2} to {high:.2} |", of("/ratio"));
    }
    let rate = arguments.rate.map_or(String::new(), |rate| format!("; latencies at {rate} requests a second"));
    let processor = machine.get("processor").and_then(Value::as_str).unwrap_or("?");
    let load = machine.get("load_average").and_then(|load| load.get(0)).cloned().unwrap_or_default();
    text + &format!(
        "\n\nEnvoy {}, {}, {processor}, load {load} before; medians of {} bursts{rate}; {} revocations.",
        envoy::VERSION,
        date(),
        arguments.rounds,
        arguments.revocations
    )
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
