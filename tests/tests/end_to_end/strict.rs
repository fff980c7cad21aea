//! `consistency: strict` in a real Envoy.

mod scripted;
