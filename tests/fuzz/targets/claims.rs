#![no_main]
//! See `curfew_testbed::fuzz::claims`.

use curfew_testbed::fuzz::claims::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(property) = check(input) {
        panic!("{property:#}");
    }
});
