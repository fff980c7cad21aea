//! Every story of `src/failures/`, shortly; and that docs/under-failure.md tells exactly them.
//!
//! `cfg(test)` is always true here; it tells clippy that what these modules hold is test code, which may unwrap.

#[cfg(test)]
mod page;
#[cfg(test)]
mod played;
