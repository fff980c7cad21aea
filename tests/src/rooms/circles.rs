//! Circles between the modules in one module.

use std::collections::BTreeMap;

use super::package::{Package, Use};

/// For each module its first use of each other one.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Use>>;

/// A message for each circle among the children of `parent`; an empty path is the root of the package.
pub(super) fn among_children(package: &Package, parent: &[&str]) -> Vec<String> {
    let graph = graph(package, parent);
    let mut messages = Vec::new();
    for start in graph.keys() {
        // Each circle is reported at the first of its modules.
        if let Some(circle) = shortest_way_back(&graph, start)
            && circle.iter().all(|used| child(&used.module, parent) >= Some(start))
        {
            messages.push(told(package, parent, start, &circle));
        }
    }
    messages
}

fn graph<'a>(package: &'a Package, parent: &[&str]) -> Graph<'a> {
    let mut graph = Graph::new();
    for used in &package.uses {
        if let (Some(from), Some(to)) = (child(&used.by, parent), child(&used.module, parent))
            && from != to
        {
            graph.entry(from).or_default().entry(to).or_insert(used);
        }
    }
    graph
}

/// The child of `parent` that a module is in.
fn child<'a>(module: &'a [String], parent: &[&str]) -> Option<&'a str> {
    let (above, below) = module.split_at_checked(parent.len())?;
    if above != parent { None } else { below.first().map(String::as_str) }
}

/// The uses that lead from a module back to it, as few as possible.
fn shortest_way_back<'a>(graph: &Graph<'a>, start: &str) -> Option<Vec<&'a Use>> {
    let mut ways: Vec<(&str, Vec<&Use>)> = vec![(start, Vec::new())];
    let (mut next, mut seen) = (0, Vec::new());
    while let Some((module, way)) = ways.get(next).cloned() {
        next += 1;
        for (other, used) in graph.get(module).into_iter().flatten() {
            let longer = [way.as_slice(), &[*used]].concat();
            if *other == start {
                return Some(longer);
            }
            if !seen.contains(other) {
                seen.push(other);
                ways.push((other, longer));
            }
        }
    }
    None
}

fn told(package: &Package, parent: &[&str], start: &str, circle: &[&Use]) -> String {
    let names: Vec<&str> = circle.iter().filter_map(|used| child(&used.module, parent)).collect();
    let place = [&[package.name.as_str()], parent].concat().join("/");
    let places: String = circle.iter().map(|used| format!("\n  {used}")).collect();
    format!("{place}: modules use each other in a circle: {start} -> {}{places}", names.join(" -> "))
}

#[cfg(test)]
mod tests {
    use super::super::package;
    use super::*;

    #[test]
    fn a_circle_is_found_with_the_places_that_make_it() {
        let package = package(&[
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;\nuse crate::d;"),
            ("c/mod.rs", "mod deep;"),
            ("c/deep.rs", "\nuse crate::a::A;"),
            ("d.rs", ""),
        ]);
        let message = "p: modules use each other in a circle: a -> b -> c -> a\n  \
            p/src/a.rs:1 uses crate::b::B\n  p/src/b.rs:1 uses crate::c::C\n  p/src/c/deep.rs:2 uses crate::a::A";
        assert_eq!(among_children(&package, &[]), [message]);
    }

    #[test]
    fn a_name_that_the_parent_passes_on_counts_for_its_module() {
        let package = package(&[
            ("store/mod.rs", "mod sql;"),
            ("store/sql/mod.rs", "mod link; mod row; pub(crate) use link::Link;\npub use row::{Row};"),
            ("store/sql/link.rs", "use super::Row;"),
            ("store/sql/row.rs", "fn f(link: super::Link) {}"),
        ]);
        assert_eq!(among_children(&package, &["store", "sql"]).len(), 1);
        assert_eq!(among_children(&package, &["store"]), [""; 0]);
    }

    #[test]
    fn a_module_and_its_children_are_no_circle() {
        let package = package(&[("a/mod.rs", "mod b; use b::B; pub struct A;"), ("a/b.rs", "use super::A;")]);
        assert_eq!(among_children(&package, &[]), [""; 0]);
    }
}
