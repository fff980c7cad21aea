#![no_main]
//! See `curfew_testbed::fuzz::wire`.

use curfew_testbed::fuzz::wire::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(property) = check(input) {
        panic!("{property:#}");
    }
});
