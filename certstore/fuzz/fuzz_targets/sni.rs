//! A text that is accepted as a pattern is written as it is read.
#![no_main]

use certstore::SniPattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(pattern) = SniPattern::try_from(text) {
        assert_eq!(SniPattern::try_from(pattern.to_string().as_str()), Ok(pattern));
    }
});
