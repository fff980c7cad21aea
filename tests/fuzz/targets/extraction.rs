#![no_main]
//! See `curfew_testbed::fuzz::extraction`.

use curfew_testbed::fuzz::extraction::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(property) = check(input) {
        panic!("{property:#}");
    }
});
