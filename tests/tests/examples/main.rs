//! The files in `envoy/examples/`, which docs/deploying-on-envoy.md leads through: Envoy and the control plane accept them,
//! they fit together, and what they share with the files of the demo is the same.
//!
//! `cfg(test)` is always true here; it tells clippy that these modules are test code, which may unwrap.

#[cfg(test)]
mod files;
#[cfg(test)]
mod fitting;
#[cfg(test)]
mod running;
#[cfg(test)]
mod valid;
