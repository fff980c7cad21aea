//! Every row of `src/attacks/`, three ways: natively, at the logout endpoint, and through a real Envoy.
//!
//! All stories of this binary share one stack. `cfg(test)` is always true here; it tells clippy that these modules are
//! test code, which may unwrap.

#[cfg(test)]
mod control_plane;
#[cfg(test)]
mod filter;
#[cfg(test)]
mod native;
#[cfg(test)]
mod page;
#[cfg(test)]
mod shared;
