//! Stories over the real routers, the real writer and a real SQLite file, and some over the real binary.

#[cfg(test)]
mod adopt;
#[cfg(test)]
mod barrier;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod check;
#[cfg(test)]
mod clocks;
#[cfg(test)]
mod closed;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod crowded;
#[cfg(test)]
mod early;
#[cfg(test)]
mod entrances;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod hangups;
#[cfg(test)]
mod key_planes;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod lgt_all;
#[cfg(test)]
mod limited;
#[cfg(test)]
mod logout;
#[cfg(test)]
mod logout_all;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod openapi;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod outage_log;
#[cfg(test)]
mod plane;
#[cfg(test)]
mod planes;
#[cfg(test)]
mod purge;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod register;
#[cfg(test)]
mod required;
#[cfg(test)]
mod resets;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod start;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod told;
#[cfg(test)]
mod worker;
