//! Holds the direction of dependencies between the rooms of a package, which the compiler does not.
//!
//! A room is a module at the root of a package: `src/store/` or `src/clock.rs`. The rooms of the control plane and of the
//! filter stand in an order, and a room may use only rooms before it. In core and inside `store/sql` no order is written down,
//! but modules may not use each other in a circle. Code that is compiled only for tests may use everything.

mod circles;
mod package;
mod paths;

use anyhow::{Result, bail};

use crate::workspace;
use package::Package;

/// The rooms of the control plane. A room may use the rooms in the lines above its own. Rooms in one line do not know each
/// other.
const CONTROL_PLANE: &[&[&str]] = &[
    &["clock", "secret", "log_throttle"],
    &["log"],
    &["store", "redis"],
    &["redis_copy", "leases"],
    &["logout", "keys", "abuse", "adopt", "explain"],
    &["config"],
    &["http", "cli"],
    &["app"],
];

/// The modules of the filter, as its `lib.rs` lists them.
const FILTER: &[&[&str]] = &[
    &["now", "ids", "names", "paths", "request", "claim_path"],
    &["requirement"],
    &["header_map", "host_signature", "protobuf_struct", "metrics", "outage", "cache"],
    &["copy"],
    &["feed"],
    &["sources"],
    &["redirects"],
    &["preflight"],
    &["rules", "identity"],
    &["proofs"],
    &["permit"],
    &["config"],
    &["held_keys", "knowledge"],
    &["gate"],
    &["rehearsal"],
    &["host"],
    &["trap"],
    &["glue"],
];

/// Modules whose parts may not use each other in a circle: the package, and the path of the module in it.
const WITHOUT_CIRCLES: &[(&str, &[&str])] = &[("control-plane", &["store", "sql"]), ("core", &[])];

/// Checks the packages that ship.
///
/// # Errors
/// If a room uses one that it must not know; the message lists each place. If a file cannot be read.
pub fn check() -> Result<()> {
    let root = workspace::root();
    let mut mistakes = against_order(&Package::read(&root, "control-plane")?, CONTROL_PLANE);
    mistakes.extend(against_order(&Package::read(&root, "filter")?, FILTER));
    for (name, module) in WITHOUT_CIRCLES {
        mistakes.extend(circles::among_children(&Package::read(&root, name)?, module));
    }
    if !mistakes.is_empty() {
        bail!("{}\nThe rules and the order of the rooms are in tests/src/rooms.rs.", mistakes.join("\n"));
    }
    Ok(())
}

/// A message for each place where the package breaks this order of its rooms.
fn against_order(package: &Package, order: &[&[&str]]) -> Vec<String> {
    let line_of = |room: &str| order.iter().position(|line| line.contains(&room));
    let mut mistakes: Vec<String> = package
        .rooms()
        .filter(|room| line_of(room).is_none())
        .map(|room| format!("{}: the order of the rooms does not name `{room}`", package.name))
        .collect();
    for used in &package.uses {
        let (Some(own), Some(other)) = (used.by.first(), used.module.first()) else { continue };
        let allowed = own == other || line_of(other) < line_of(own) || line_of(other).is_none();
        if !allowed {
            mistakes.push(format!("{used}: `{own}` may not use `{other}`, only the rooms in the lines above its own"));
        }
    }
    mistakes
}

/// A package whose files are given, for the tests of this module.
#[cfg(test)]
fn package(files: &[(&str, &str)]) -> Package {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = directory.path().join("p/src").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Package::read(directory.path(), "p").unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &[&[&str]] = &[&["ground"], &["left", "right"], &["top"]];

    fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
        against_order(&package(files), ORDER)
    }

    #[test]
    fn a_room_may_use_those_before_it_and_itself() {
        let files = [
            ("lib.rs", "mod ground; mod left; mod top; use crate::top::T;"),
            ("ground.rs", "pub struct G;"),
            ("left/mod.rs", "mod inner; use crate::ground::G;"),
            ("left/inner.rs", "use super::other; use crate::left::x; fn f() { crate::ground::g(); }"),
            ("top.rs", "use crate::{ground::G, left::{self, L}};"),
        ];
        assert_eq!(mistakes(&files), [""; 0]);
    }

    #[test]
    fn a_room_that_uses_one_above_it_is_found_with_its_place() {
        let files = [("ground.rs", "//! Words.\nuse std::fmt;\nuse crate::top::T;\n"), ("top.rs", "")];
        let rule = "`ground` may not use `top`, only the rooms in the lines above its own";
        assert_eq!(mistakes(&files), [format!("p/src/ground.rs:3 uses crate::top::T: {rule}")]);
    }

    #[test]
    fn rooms_of_one_line_do_not_know_each_other() {
        let files = [("left/mod.rs", ""), ("left/deep.rs", "fn f() { super::super::right::g() }"), ("right.rs", "")];
        let rule = "`left` may not use `right`, only the rooms in the lines above its own";
        assert_eq!(mistakes(&files), [format!("p/src/left/deep.rs:1 uses super::super::right::g: {rule}")]);
    }

    #[test]
    fn a_name_that_the_root_passes_on_counts_for_its_room() {
        let files = [("lib.rs", "pub use top::{T as Renamed};"), ("ground.rs", "use crate::Renamed;"), ("top.rs", "")];
        assert_eq!(mistakes(&files).len(), 1);
    }

    #[test]
    fn tests_may_use_everything() {
        let files = [
            ("ground.rs", "#[cfg(test)]\nmod tests { use crate::top::T; }\n#[cfg(test)]\nuse crate::top::U;"),
            ("left/mod.rs", "#[cfg(test)]\nmod checks;"),
            ("left/checks.rs", "use crate::top::T;"),
            ("top.rs", ""),
        ];
        assert_eq!(mistakes(&files), [""; 0]);
    }

    #[test]
    fn words_in_comments_and_strings_are_no_uses() {
        let files =
            [("ground.rs", "//! [`crate::top`]\nconst S: &str = \"crate::top::T\"; // crate::top"), ("top.rs", "")];
        assert_eq!(mistakes(&files), [""; 0]);
    }

    #[test]
    fn a_room_without_a_place_in_the_order_is_found() {
        let files = [("attic.rs", ""), ("main.rs", "")];
        assert_eq!(mistakes(&files), ["p: the order of the rooms does not name `attic`"]);
    }
}
