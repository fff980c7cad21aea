//! The cost of a request inside the module is committed, so that a change that raises or lowers it has to say so.

use curfew_testbed::{fuel, wasm};

#[test]
fn requests_take_the_instructions_that_are_committed() {
    let figures = fuel::measure().unwrap();
    let compiler = wasm::compiler();
    let told = fuel::compare(&fuel::read().unwrap(), compiler.as_deref(), &figures);
    assert!(
        told.is_empty(),
        "not as in tests/measure/fuel.json (module built by {compiler:?}):\n  {}\n\
         If that is meant, run `cargo measure wasm --write`, commit the file, and say in the message what it buys.",
        told.join("\n  ")
    );
}
