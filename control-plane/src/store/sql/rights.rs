//! Checks that the account has all rights that Curfew needs.

use sqlx::Error;

use super::batch::Batch;
use super::driver::values;

impl Batch<'_> {
    /// Runs every kind of statement that is needed later on every table, but on no row of it. So a start fails if a
    /// right is missing.
    pub(crate) async fn try_rights(&mut self) -> Result<(), Error> {
        const STATEMENTS: [&str; 22] = [
            "INSERT INTO user_token_logs SELECT * FROM user_token_logs WHERE 1 = 0",
            "UPDATE user_token_logs SET is_block = 1 WHERE 1 = 0",
            "DELETE FROM user_token_logs WHERE 1 = 0",
            "INSERT INTO revocations SELECT * FROM revocations WHERE 1 = 0",
            "UPDATE revocations SET seq = 1 WHERE 1 = 0",
            "DELETE FROM revocations WHERE 1 = 0",
            "UPDATE feed_head SET seq = 1, keys_seq = 1, epoch = epoch, identity = identity WHERE 1 = 0",
            "INSERT INTO subject_keyspaces SELECT * FROM subject_keyspaces WHERE 1 = 0",
            "UPDATE subject_keyspaces SET live_until = 0 WHERE 1 = 0",
            "DELETE FROM subject_keyspaces WHERE 1 = 0",
            "INSERT INTO replicas SELECT * FROM replicas WHERE 1 = 0",
            "UPDATE replicas SET beat = 1 WHERE 1 = 0",
            "DELETE FROM replicas WHERE 1 = 0",
            "INSERT INTO key_sets SELECT * FROM key_sets WHERE 1 = 0",
            "UPDATE key_sets SET seq = 1 WHERE 1 = 0",
            "DELETE FROM key_sets WHERE 1 = 0",
            "INSERT INTO key_fetches SELECT * FROM key_fetches WHERE 1 = 0",
            "UPDATE key_fetches SET failures = 1 WHERE 1 = 0",
            "DELETE FROM key_fetches WHERE 1 = 0",
            "UPDATE retention_kept SET subject_life = 0, token_rest = 0 WHERE 1 = 0",
            "UPDATE clock_mark SET marked_at = 0, accepted = 0 WHERE 1 = 0",
            // This one writes to a row, so that a start also fails on a full disk.
            "UPDATE feed_head SET seq = seq WHERE id = 1",
        ];
        for statement in STATEMENTS {
            self.link.execute(statement, values![]).await?;
        }
        Ok(())
    }
}
