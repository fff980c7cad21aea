//! The documentation: its links lead somewhere, the README stays short, and every line that operators may find in a log is
//! explained.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use curfew_testbed::workspace;

/// Directories that hold none of our documentation.
const OTHERS: [&str; 3] = ["target", "curfew-data", "node_modules"];

/// In a longer README, readers do not find what they look for.
const LONGEST_README: usize = 200;

/// All files below a directory whose names end in `end`. Hidden directories are left out, except `.github`.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().into_string().unwrap())).unwrap();
        let hidden = name.starts_with('.') && name != ".github";
        if path.is_dir() && !hidden && !OTHERS.contains(&&*name) {
            found.extend(files(&path, end));
        } else if name.ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file's name as an editor opens it from the root of the repository.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}

/// The lines outside fenced blocks of code, numbered from 1.
fn prose(page: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let lines = page.lines().enumerate().filter(|(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.map(|(number, line)| (number + 1, line)).collect()
}

/// A line without what stands between backticks, where nothing is a link.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The targets of the links in a line.
fn links(line: &str) -> Vec<String> {
    let line = without_code(line);
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchor that a forge makes of a heading: in lower case, with hyphens for blanks, without punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// All anchors of a page; a heading that stands twice gets a number the second time.
fn anchors(page: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = prose(page).into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchors = headings.map(|(_, line)| {
        let anchor = anchor(line.trim_start_matches('#'));
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    });
    anchors.collect()
}

/// What is wrong with a link, if it leads to nothing.
fn mistake(page: &Path, link: &str) -> Option<String> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(file) };
    if !target.exists() {
        return Some(format!("there is no {file}"));
    }
    let anchor = anchor?;
    let found = target.is_file() && anchors(&read(&target)).iter().any(|known| known == anchor);
    (!found).then(|| format!("{} has no heading for #{anchor}", shown(&target)))
}

#[test]
fn every_link_leads_somewhere() {
    let pages = files(&workspace::root(), ".md");
    assert!(pages.iter().any(|page| page.ends_with("docs/README.md")), "{pages:?}");
    let mut mistakes = Vec::new();
    for page in &pages {
        let text = read(page);
        for (number, line) in prose(&text) {
            let wrong = links(line).into_iter().filter_map(|link| mistake(page, &link));
            mistakes.extend(wrong.map(|wrong| format!("{}:{number}: {wrong}", shown(page))));
        }
    }
    assert!(mistakes.is_empty(), "\n{}", mistakes.join("\n"));
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let docs = workspace::root().join("docs");
    let contents = read(&docs.join("README.md"));
    for page in files(&docs, ".md").iter().filter(|page| !page.ends_with("README.md")) {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(contents.contains(&format!("]({name})")), "docs/README.md: there is no link to {name}");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read(&workspace::root().join("README.md")).lines().count();
    assert!(lines <= LONGEST_README, "README.md: {lines} lines, and {LONGEST_README} are the most: move some to docs/");
}

/// A text of the source as it is logged: lines that are continued are one.
fn joined(literal: &str) -> String {
    literal.split("\\\n").map(str::trim_start).collect::<String>().replace("\\\"", "\"")
}

/// The messages of warnings and errors in a file, up to the first value that is put into them.
fn messages(source: &str) -> Vec<String> {
    let calls = ["warn!(", "error!("].into_iter().flat_map(|call| source.split(call).skip(1));
    let messages = calls.filter_map(|rest| {
        let literal = rest.split_once('"')?.1;
        let end = literal
            .match_indices('"')
            .find(|(place, _)| !literal.get(..*place).is_some_and(|text| text.ends_with('\\')))?
            .0;
        let message = joined(literal.get(..end)?);
        Some(message.split('{').next().unwrap_or_default().trim().to_owned())
    });
    messages.filter(|message| !message.is_empty()).collect()
}

#[test]
fn every_warning_and_error_is_explained() {
    let page = read(&workspace::root().join("docs/troubleshooting.md"));
    let mut missing = Vec::new();
    let mut checked = 0;
    for part in ["control-plane/src", "filter/src"] {
        for file in files(&workspace::root().join(part), ".rs") {
            for message in messages(&read(&file)) {
                checked += 1;
                if !page.contains(&message) {
                    missing.push(format!("{}: {message:?}", shown(&file)));
                }
            }
        }
    }
    assert!(checked > 25, "{checked} messages were found");
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain:\n{}", missing.join("\n"));
}

/// The names under which metrics are registered in a file, without prefix and unit.
fn metrics(source: &str) -> Vec<String> {
    let calls = ["registry.register(", "registry.register_with_unit("];
    let calls = calls.into_iter().flat_map(|call| source.split(call).skip(1));
    calls.filter_map(|rest| Some(rest.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
}

/// A counter with labels shows only once it has counted, so that a story cannot see them all.
#[test]
fn exactly_the_existing_metrics_of_the_control_plane_are_explained() {
    let sources = files(&workspace::root().join("control-plane/src"), ".rs");
    let known: BTreeSet<String> = sources.iter().flat_map(|file| metrics(&read(file))).collect();
    let page = read(&workspace::root().join("docs/metrics.md"));
    let table = page.split_once("\n## The control plane\n").unwrap().1;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `curfew_")?.split_once('`'));
    let names = rows.map(|(name, _)| name.strip_prefix("redis_").unwrap_or(name));
    let told: BTreeSet<String> = names.map(|name| name.strip_suffix("_seconds").unwrap_or(name).to_owned()).collect();
    assert_eq!(told, known, "docs/metrics.md");
}

#[test]
fn every_reason_for_refusing_a_token_is_explained() {
    let page = read(&workspace::root().join("docs/troubleshooting.md"));
    let source = read(&workspace::root().join("core/src/error.rs"));
    let reasons: Vec<&str> = source
        .lines()
        .filter_map(|line| line.split_once("=> \"")?.1.split_once("\",").map(|(reason, _)| reason))
        .collect();
    assert!(reasons.len() > 10, "{reasons:?}");
    // An expired token has a code of its own.
    for reason in reasons.into_iter().filter(|reason| *reason != "expired") {
        assert!(page.contains(&format!("| `{reason}` |")), "docs/troubleshooting.md: {reason} is not explained");
    }
}

#[test]
fn the_checks_see_what_they_look_for() {
    let page = "# One `two` (three)\n\ntext [a](#one-two-three), `[b](c)` and [d](e.md)\n```\n[f](g)\n```\n# One `two` (three)\n";
    assert_eq!(anchors(page), ["one-two-three", "one-two-three-1"]);
    let found: Vec<String> = prose(page).into_iter().flat_map(|(_, line)| links(line)).collect();
    assert_eq!(found, ["#one-two-three", "e.md"]);
    let here = workspace::root().join("README.md");
    assert_eq!(mistake(&here, "docs/README.md#start"), None);
    assert_eq!(mistake(&here, "docs/nowhere.md").unwrap(), "there is no docs/nowhere.md");
    assert_eq!(mistake(&here, "docs/README.md#nowhere").unwrap(), "docs/README.md has no heading for #nowhere");
    let source =
        "warn!(?error, \"a text that \\\n    goes on: {}\", 1); error!(a = %b, \"another\"); warn!(\"{told}\");";
    assert_eq!(messages(source), ["a text that goes on:", "another"]);
}
