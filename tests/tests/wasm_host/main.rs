//! Stories about the shipped module, in a host whose clocks and control plane follow the story.
//!
//! The host itself enforces the rules of all stories: no trap, and exactly one resume or reply for each paused request.
//!
//! `cfg(test)` is always true here; it tells clippy that these modules are test code, which may unwrap.

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
mod handed_out;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_feed;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod scheduler;
#[cfg(test)]
mod scheduler_plugins;
#[cfg(test)]
mod scheduler_strict;
#[cfg(test)]
mod served;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod strict;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod unavailable;
