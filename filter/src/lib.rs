//! Curfew's filter: refuses logged-out tokens inside Envoy.
//!
//! The decision is in the modules that know no proxy: [`gate`] leads through them. `host` is the only one that speaks
//! to the host, and `glue` turns the host's callbacks into facts and the gate's steps into host calls; neither decides
//! anything.
//!
//! The order of the modules, from the lowest to the highest. A module uses only modules that stand before it; `cargo verify`
//! holds that:
//!
//! ```text
//! now, ids, names, paths, request, claim_path, requirement
//! header_map, host_signature, protobuf_struct, metrics, outage, cache
//! copy, feed                    # the copy of the log, and the polls and leases that keep it true
//! sources, preflight, rules, identity      # what a request shows, what it needs, what the upstream is told
//! proofs, permit                # what was proven, and the right to go on
//! config                        # the plugin configuration
//! held_keys                     # the keys that the control plane hands out
//! knowledge                     # what is known of revocations
//! gate                          # the decision
//! rehearsal                     # the decision without a proxy, for people
//! host, trap, glue              # the proxy
//! ```

mod cache;
pub mod claim_path;
pub mod config;
pub mod copy;
pub mod feed;
pub mod gate;
pub mod header_map;
pub mod held_keys;
pub mod host_signature;
pub mod identity;
pub mod ids;
pub mod knowledge;
pub mod metrics;
mod names;
pub mod now;
pub mod outage;
mod paths;
pub mod permit;
mod preflight;
pub mod proofs;
pub mod protobuf_struct;
mod redirects;
pub mod rehearsal;
pub mod request;
mod requirement;
pub mod rules;
pub mod sources;

mod glue;
mod host;
#[cfg(feature = "trap")]
mod trap;
