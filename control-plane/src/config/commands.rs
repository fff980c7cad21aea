//! What the commands beside `serve` need of the configuration.
//!
//! They use secrets that a server has made up, but never make any up themselves.

use clap::Args;
use curfew_core::Mistakes;

use super::DataArgs;
use super::access::AccessArgs;
use super::database::{AdoptFromArgs, DatabaseArgs};
use super::environment::Environment;
use super::generated::{GENERATED_FILE, Generated};
use super::tokens::{TokenArgs, Tokens};
use crate::secret::{AppCredentials, Secret};
use crate::store::Database;

/// What commands that call a running server need of the configuration.
#[derive(Debug, Args)]
pub struct ClientArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    access: AccessArgs,
}

impl ClientArgs {
    /// The internal secret, configured or made up by a server with the same data directory.
    ///
    /// # Errors
    ///
    /// What is wrong or missing.
    pub fn internal_secret(&self, environment: &Environment) -> Result<Secret, Mistakes> {
        internal_secret(&self.data, &self.access, environment)
    }

    /// The application's credentials, configured or made up likewise.
    ///
    /// # Errors
    ///
    /// What is wrong or missing.
    pub fn app(&self, environment: &Environment) -> Result<AppCredentials, Mistakes> {
        let mut mistakes = Mistakes::default();
        let access = self.access.resolve(environment, &mut mistakes);
        let generated = existing(&self.data, access.missing_app(), &mut mistakes);
        access.app(generated.as_ref()).filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }
}

/// What commands that make or judge tokens need of the configuration.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    tokens: TokenArgs,
}

impl PolicyArgs {
    /// The same tokens that a server with the same settings and data directory accepts.
    ///
    /// # Errors
    ///
    /// What is wrong or missing.
    pub fn resolve(&self, environment: &Environment) -> Result<Tokens, Mistakes> {
        tokens(&self.data, &self.tokens, environment)
    }

    /// The internal secret of that server.
    ///
    /// # Errors
    ///
    /// What is wrong or missing.
    pub fn internal_secret(&self, access: &AccessArgs, environment: &Environment) -> Result<Secret, Mistakes> {
        internal_secret(&self.data, access, environment)
    }
}

fn internal_secret(data: &DataArgs, access: &AccessArgs, environment: &Environment) -> Result<Secret, Mistakes> {
    let mut mistakes = Mistakes::default();
    let access = access.resolve(environment, &mut mistakes);
    let generated = existing(data, access.missing_internal_secret(), &mut mistakes);
    access.internal_secret(generated.as_ref()).filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

/// What commands that work on the database alone need of the configuration.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    database: DatabaseArgs,
}

impl MigrateArgs {
    /// The database.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn resolve(&self) -> Result<Database, Mistakes> {
        database(&self.data, &self.database)
    }
}

/// What `curfew adopt` needs: both databases, and which tokens are accepted.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    #[command(flatten)]
    from: AdoptFromArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    tokens: TokenArgs,
}

/// The resolved settings of `curfew adopt`.
#[derive(Debug)]
pub struct Adoption {
    /// The application's database.
    pub from: Database,
    /// Curfew's own database.
    pub own: Database,
    /// The same tokens that a server with the same settings and data directory accepts.
    pub tokens: Tokens,
}

impl AdoptArgs {
    /// Resolves the settings. The data directory is made only if something is to be written.
    ///
    /// # Errors
    ///
    /// Everything that is wrong or missing.
    pub fn resolve(&self, writes: bool, environment: &Environment) -> Result<Adoption, Mistakes> {
        let mut mistakes = Mistakes::default();
        let from = self.from.resolve(&mut mistakes);
        let own = match writes {
            true => self.database.resolve(&self.data.data_dir, &mut mistakes),
            false => self.database.named(&self.data.data_dir, &mut mistakes),
        };
        let tokens = resolved_tokens(&self.data, &self.tokens, environment, &mut mistakes);
        match (from, own, tokens) {
            (Some(from), Some(own), Some(tokens)) if mistakes.is_empty() => Ok(Adoption { from, own, tokens }),
            _ => Err(mistakes),
        }
    }
}

fn database(data: &DataArgs, database: &DatabaseArgs) -> Result<Database, Mistakes> {
    let mut mistakes = Mistakes::default();
    let database = database.resolve(&data.data_dir, &mut mistakes);
    database.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

fn tokens(data: &DataArgs, tokens: &TokenArgs, environment: &Environment) -> Result<Tokens, Mistakes> {
    let mut mistakes = Mistakes::default();
    let tokens = resolved_tokens(data, tokens, environment, &mut mistakes);
    tokens.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

fn resolved_tokens(
    data: &DataArgs,
    tokens: &TokenArgs,
    environment: &Environment,
    mistakes: &mut Mistakes,
) -> Option<Tokens> {
    let keys = tokens.keys(environment, mistakes);
    let generated = existing(data, keys.missing(), mistakes);
    tokens.resolve(keys, generated.as_ref(), mistakes)
}

/// The secrets that a server has made up, if `missing` names one that is needed.
fn existing(data: &DataArgs, missing: Option<&str>, mistakes: &mut Mistakes) -> Option<Generated> {
    let name = missing?;
    match Generated::load(&data.data_dir) {
        Ok(Some(generated)) => Some(generated),
        Ok(None) => {
            let path = data.data_dir.join(GENERATED_FILE);
            mistakes.add(name, format!("is not set, and no server has generated secrets in {}", path.display()));
            None
        }
        Err(problem) => {
            mistakes.add("CURFEW_DATA_DIR", problem);
            None
        }
    }
}
