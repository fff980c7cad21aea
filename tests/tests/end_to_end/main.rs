//! Stories through a real Envoy with two worker threads, the real control plane and a real upstream.
//!
//! Most of them share one stack, which differs from the shipped configuration in four things: it also trusts an issuer
//! with keys of every algorithm, verdicts are good for one second only, `/public/` needs no token, and failed logouts
//! are not limited. Stories in which parts fail have stacks of their own. A story waits for events, with generous
//! limits; the only time that is asserted is the promise itself.
//!
//! `cfg(test)` is always true here; it tells clippy that these modules are test code, which may unwrap.

#[cfg(test)]
mod access_log;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod coming_from;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod issuers;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kids;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod logouts;
#[cfg(test)]
mod long_tokens;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod preflights;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod redirects;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod timeless;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod traps;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod users;
#[cfg(test)]
mod websockets;
