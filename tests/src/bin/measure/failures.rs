//! What clients see when a part fails, for every story of `tests/src/failures/`, and that no logout is lost.

use anyhow::{Result, bail, ensure};
use curfew_testbed::failures::{Conditions, PAGE, Report, inserted, rendered, stories};
use curfew_testbed::measure::description;
use curfew_testbed::workspace;
use serde_json::{Value, json};

/// Plays all stories, or those whose names contain `wanted`, prints the table, and with `write` writes it into its
/// page.
pub(crate) fn measure(rounds: u32, write: bool, wanted: Option<&str>) -> Result<Value> {
    ensure!(!write || wanted.is_none(), "the page has all stories: leave the name out");
    let conditions = Conditions { rounds, ..Conditions::LONG };
    let before = description();
    let chosen = stories().into_iter().filter(|story| wanted.is_none_or(|wanted| story.name.contains(wanted)));
    let mut reports = Vec::new();
    for story in chosen {
        workspace::progress(&format!("{} ...", story.name));
        let report = story.play(conditions)?;
        println!("{}\n", serde_json::to_string_pretty(&report.json())?);
        reports.push(report);
    }
    ensure!(!reports.is_empty(), "there is no such story: {}", names());
    let table = rendered(&reports, conditions);
    println!("{table}");
    let broken: Vec<&Report> = reports.iter().filter(|report| !report.broken().is_empty()).collect();
    if !broken.is_empty() {
        let broken = broken.iter().map(|report| format!("{}: {}", report.name, report.broken().join("; ")));
        bail!("claims do not hold:\n{}", broken.collect::<Vec<_>>().join("\n"));
    }
    if write {
        let page = workspace::root().join(PAGE);
        std::fs::write(&page, inserted(&std::fs::read_to_string(&page)?, &table)?)?;
    }
    Ok(json!({
        "command": format!("cargo measure failures --rounds {rounds}"), "machine_before": before,
        "machine_after": description(), "stories": reports.iter().map(Report::json).collect::<Vec<_>>(),
    }))
}

fn names() -> String {
    stories().iter().map(|story| story.name).collect::<Vec<_>>().join(", ")
}
