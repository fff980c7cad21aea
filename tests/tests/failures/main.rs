//! Plays every story of `src/failures/` shortly, and checks that the page about failures lists exactly these.
//!
//! `cfg(test)` is always true here; it tells clippy that these modules are test code, which may unwrap.

#[cfg(test)]
mod page;
#[cfg(test)]
mod played;
