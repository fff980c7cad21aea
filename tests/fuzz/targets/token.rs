#![no_main]
//! See `curfew_testbed::fuzz::token`.

use curfew_testbed::fuzz::token::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(property) = check(input) {
        panic!("{property:#}");
    }
});
