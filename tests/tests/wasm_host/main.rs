//! Stories about the shipped module, told by a host whose clocks and control plane do what the story says.
//!
//! The host itself enforces what holds in all of them: no trap, and exactly one resume or reply for each paused request.
//!
//! `cfg(test)` is always true here; it tells clippy that what these modules hold is test code, which may unwrap.

#[cfg(test)]
mod asking;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod ed25519;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod floods;
#[cfg(test)]
mod fuel;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_feed;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod scheduler;
#[cfg(test)]
mod scheduler_strict;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod unavailable;
