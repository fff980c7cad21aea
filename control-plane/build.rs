//! A new migration is a new file, which `sqlx::migrate!` does not notice by itself.

fn main() {
    for database in ["sqlite", "postgres", "mysql"] {
        println!("cargo:rerun-if-changed=../migrations/{database}");
    }
}
