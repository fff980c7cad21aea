//! A new migration is a new file, which `sqlx::migrate!` does not notice by itself.

fn main() {
    println!("cargo:rerun-if-changed=../migrations/sqlite");
}
