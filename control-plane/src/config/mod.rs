//! Configuration: from flags and environment to values that cannot be wrong.
//!
//! Every mistake is collected and named by its setting, so that an operator can correct all of them at once. Secrets
//! come from the environment or from files and never from flags: a flag shows in the list of processes.

mod access;
mod browsers;
mod commands;
mod database;
mod default_scope;
mod environment;
mod frameworks;
mod generated;
mod key_source;
mod limits;
mod listen;
mod log;
mod names;
mod operation;
mod redis;
mod serve;
mod signer;
mod strength;
mod tokens;

use std::path::PathBuf;

use clap::Args;

pub use access::AccessArgs;
pub use browsers::{BrowserArgs, ClearSiteData};
pub use commands::{AdoptArgs, Adoption, ClientArgs, MigrateArgs, PolicyArgs};
pub use database::DatabaseArgs;
pub use default_scope::DefaultScope;
pub use environment::Environment;
pub use generated::GENERATED_FILE;
pub use key_source::KeySourceArgs;
pub use limits::{LimitArgs, Limits};
pub use listen::{Listen, ListenArgs};
pub use log::{LogArgs, LogFormat, LogSettings};
pub use operation::OperationArgs;
pub use redis::RedisArgs;
pub use serve::{Config, InUse, ServeArgs};
pub use signer::{IssuerSecret, Signer, SigningSecret};
pub use tokens::{TokenArgs, Tokens};

#[cfg(test)]
pub(crate) use names::is_setting;

/// Where the data directory is, and with it the generated secrets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Directory of the embedded database and of generated secrets
    #[arg(long, env = "CURFEW_DATA_DIR", value_name = "DIR", default_value = "./curfew-data", hide_env_values = true)]
    pub data_dir: PathBuf,
}
