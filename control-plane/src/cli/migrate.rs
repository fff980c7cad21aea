//! `curfew migrate`: brings the schema up to date.

use std::io::Write;

use super::Failure;
use crate::config::MigrateArgs;
use crate::store;

pub(super) async fn migrate(args: &MigrateArgs) -> Result<(), Failure> {
    let applied = store::migrate(&args.resolve()?).await?;
    let mut stdout = std::io::stdout().lock();
    for migration in &applied {
        writeln!(stdout, "applied {:04} {}", migration.version, migration.description)?;
    }
    if applied.is_empty() {
        writeln!(stdout, "nothing to apply")?;
    }
    Ok(())
}
