//! What keeps failed logouts from costing others anything: limits, lanes, and one line in the log.
//!
//! A logout endpoint is open to every client, and a check of an RSA or ECDSA signature costs a hundred times the rest
//! of a request. Each rule below is here for an attack that a simpler set of rules would let through; none of them ever
//! refuses a good token or the right key of an application.
//!
//! | rule | what it prevents | without it | shown by |
//! |---|---|---|---|
//! | signatures wait for threads of their own ([`lanes`]) | forged tokens take the threads that answer the filter's checks | a flood at the public listener delays every request that asks | `limited::a_logout_whose_turn_does_not_come_is_told_that_nothing_has_happened` |
//! | a second lane for suspect sources | a source that keeps sending forged tokens makes logouts from elsewhere wait | all logouts queue behind the flood | `limited::a_source_that_has_failed_too_often_waits_in_a_lane_of_its_own`, `limited::a_crowd_at_one_source_is_served_one_after_the_other` |
//! | a share of each lane for a source | a burst fills the first lane before any of it has failed: a source becomes suspect only by what was checked | 4096 forged tokens sent at once all go ahead of the next real logout | `lanes::a_burst_from_one_source_leaves_the_first_lane_to_the_others` |
//! | suspicion lasts a minute ([`limit`]) | a source is back in the first lane each time GCRA forgives one failure, which is every second | the flood keeps a part of the first lane; besides, GCRA cannot be asked without counting | `limit::suspicion_lasts_a_minute_from_the_last_failure_over_the_limit` |
//! | a caller that hangs up during the check has failed | a flood hangs up early, is never counted and never suspect | the second lane stays empty, and the flood in the first | `limited::a_client_that_hangs_up_while_the_signature_is_checked_has_failed` |
//! | the same limits for a /48 ([`source`]) | one customer of an IPv6 provider has 65,536 networks of 64 bits, each a source with a limit and a share of its own | that customer fills the first lane and is never suspect | `attempts::many_networks_of_one_customer_are_counted_together_too`, `source_limit::a_network_with_many_sources_gets_no_more_than_four_of_them` |
//! | 429 by source ([`attempts`]) | the key of an application is guessed, or tokens are tried, at the speed of the network with an answer to each guess | only the strength of the key stands in the way | `limited::a_source_that_fails_too_often_is_told_so_and_when_to_come_again`, `limited::wrong_credentials_of_an_application_are_limited_and_right_ones_are_not` |
//! | 429 by token | clients in many places that retry one dead token in a loop, or attackers that try signatures for it, look like many small failures | no answer tells such a client to slow down, and no metric names the cause | `limited::failed_attempts_with_a_token_do_not_lock_its_owner_out` |
//!
//! The stories are in `control-plane/tests/stories`, the others beside the code. All counts live in a fixed number of
//! [`cells`], so that no flood makes the memory grow.

pub mod attempts;
mod cells;
mod counters;
pub mod lanes;
mod limit;
pub mod source;
mod source_limit;
pub mod summary;

pub use counters::{Counters, LaneLabels, LimitLabels, VerificationLabels};
