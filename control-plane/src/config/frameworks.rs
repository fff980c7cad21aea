//! Hints for environments that were made for an application: frameworks name the parts of an address, and Curfew reads URLs.
//!
//! Only names of hosts and ports are repeated, and only if they look like such: a value in the wrong variable may be a
//! password. Pure.

use super::environment::Environment;

/// Variables of Laravel, Django, Spring, Rails, the official images and libpq, that say where a database is.
const DATABASE: [&str; 14] = [
    "DB_CONNECTION",
    "DB_ENGINE",
    "DB_URL",
    "DB_HOST",
    "DB_DATABASE",
    "DB_NAME",
    "DATABASE_HOST",
    "SPRING_DATASOURCE_URL",
    "PGHOST",
    "PGDATABASE",
    "POSTGRES_HOST",
    "MYSQL_HOST",
    "MYSQL_DATABASE",
    "MARIADB_HOST",
];

const DATABASE_HOSTS: [&str; 6] = ["DB_HOST", "DATABASE_HOST", "PGHOST", "POSTGRES_HOST", "MYSQL_HOST", "MARIADB_HOST"];
const DATABASE_PORTS: [&str; 6] = ["DB_PORT", "DATABASE_PORT", "PGPORT", "POSTGRES_PORT", "MYSQL_PORT", "MARIADB_PORT"];

/// The same for Redis. `REDIS_PORT` counts only with a number in it: Kubernetes puts a URL into a variable of that name for
/// every pod beside a service `redis`.
const REDIS: [&str; 5] = ["REDIS_HOST", "SPRING_REDIS_HOST", "SPRING_DATA_REDIS_HOST", "REDIS_PASSWORD", "REDIS_PORT"];

const REDIS_HOSTS: [&str; 3] = ["REDIS_HOST", "SPRING_REDIS_HOST", "SPRING_DATA_REDIS_HOST"];
const REDIS_PORTS: [&str; 3] = ["REDIS_PORT", "SPRING_REDIS_PORT", "SPRING_DATA_REDIS_PORT"];

/// The hint for an environment without `DATABASE_URL` that names a database server for another program.
pub(super) fn database_hint(environment: &Environment) -> Option<String> {
    let given = given(environment, &DATABASE);
    let kind = kind(environment, &given);
    if given.is_empty() || kind == Some("sqlite") {
        return None;
    }
    let host = first(environment, &DATABASE_HOSTS, is_host).unwrap_or("HOST");
    let port = first(environment, &DATABASE_PORTS, is_port).map(|port| format!(":{port}")).unwrap_or_default();
    let either = if kind.is_none() { " (or mysql:// for MySQL and MariaDB)" } else { "" };
    let scheme = kind.unwrap_or("postgres");
    Some(format!(
        "DATABASE_URL is not set, and {}: Curfew reads DATABASE_URL alone, and takes curfew.db in its data directory without \
         it. For that server, set DATABASE_URL={scheme}://USER:PASSWORD@{host}{port}/curfew{either}, with USER and PASSWORD \
         percent-encoded, and with a database of Curfew's own",
        are_set(&given)
    ))
}

/// The hint for an environment without `REDIS_URL` that names a Redis for another program.
pub(super) fn redis_hint(environment: &Environment) -> Option<String> {
    let mut given = given(environment, &REDIS);
    given.retain(|name| *name != "REDIS_PORT" || environment.get(name).is_some_and(is_port));
    if given.is_empty() {
        return None;
    }
    let host = first(environment, &REDIS_HOSTS, is_host).unwrap_or("HOST");
    let port = first(environment, &REDIS_PORTS, is_port).map(|port| format!(":{port}")).unwrap_or_default();
    let (login, encoded) = match given.contains(&"REDIS_PASSWORD") {
        true => (":PASSWORD@", ", with PASSWORD percent-encoded"),
        false => ("", ""),
    };
    Some(format!(
        "REDIS_URL is not set, and {}: Curfew reads REDIS_URL alone, and uses no Redis without it. For that server, set \
         REDIS_URL=redis://{login}{host}{port}{encoded}",
        are_set(&given)
    ))
}

/// Those of the variables that say something. Laravel writes `null` for a password that there is not.
fn given(environment: &Environment, names: &[&'static str]) -> Vec<&'static str> {
    let says = |name: &&&str| environment.get(name).is_some_and(|value| !["", "null"].contains(&value));
    names.iter().filter(says).copied().collect()
}

fn are_set(names: &[&str]) -> String {
    match names {
        [name] => format!("{name} is"),
        names => format!("{} are", names.join(", ")),
    }
}

/// The scheme for the database, as far as the variables tell.
fn kind(environment: &Environment, given: &[&str]) -> Option<&'static str> {
    let named = ["DB_CONNECTION", "DB_ENGINE", "DB_URL", "SPRING_DATASOURCE_URL"].map(|name| environment.get(name));
    let value = named.into_iter().flatten().collect::<String>().to_ascii_lowercase();
    let says =
        |text: &str| value.contains(text) || given.iter().any(|name| name.to_ascii_lowercase().starts_with(text));
    if ["pgsql", "postgres", "pg"].into_iter().any(says) {
        return Some("postgres");
    }
    if ["mysql", "mariadb"].into_iter().any(says) {
        return Some("mysql");
    }
    says("sqlite").then_some("sqlite")
}

fn first<'e>(environment: &'e Environment, names: &[&str], fits: impl Fn(&str) -> bool) -> Option<&'e str> {
    names.iter().filter_map(|name| environment.get(name)).find(|value| fits(value))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    }

    #[test]
    fn the_variables_of_a_framework_become_a_url_in_words_without_a_password() {
        let laravel = environment(&[
            ("DB_CONNECTION", "pgsql"),
            ("DB_HOST", "db.example.com"),
            ("DB_PORT", "5432"),
            ("DB_DATABASE", "shop"),
            ("DB_PASSWORD", "hunter2"),
            ("REDIS_HOST", "cache.example.com"),
            ("REDIS_PORT", "6379"),
            ("REDIS_PASSWORD", "hunter2"),
        ]);
        let database = database_hint(&laravel).unwrap();
        assert_eq!(
            database,
            "DATABASE_URL is not set, and DB_CONNECTION, DB_HOST, DB_DATABASE are: Curfew reads DATABASE_URL alone, and takes \
             curfew.db in its data directory without it. For that server, set \
             DATABASE_URL=postgres://USER:PASSWORD@db.example.com:5432/curfew, with USER and PASSWORD percent-encoded, and with \
             a database of Curfew's own"
        );
        let redis = redis_hint(&laravel).unwrap();
        assert_eq!(
            redis,
            "REDIS_URL is not set, and REDIS_HOST, REDIS_PASSWORD, REDIS_PORT are: Curfew reads REDIS_URL alone, and uses no \
             Redis without it. For that server, set REDIS_URL=redis://:PASSWORD@cache.example.com:6379, with PASSWORD \
             percent-encoded"
        );
    }

    #[test]
    fn other_frameworks_are_understood_too() {
        for (variables, url) in [
            (vec![("MYSQL_HOST", "db")], "=mysql://USER:PASSWORD@db/curfew,"),
            (vec![("PGHOST", "db"), ("PGPORT", "6432")], "=postgres://USER:PASSWORD@db:6432/curfew,"),
            (
                vec![("DB_ENGINE", "django.db.backends.mysql"), ("DB_NAME", "shop")],
                "=mysql://USER:PASSWORD@HOST/curfew,",
            ),
            (vec![("SPRING_DATASOURCE_URL", "jdbc:mariadb://a:hunter2@db/x")], "=mysql://USER:PASSWORD@HOST/curfew,"),
            (vec![("DB_HOST", "db")], "=postgres://USER:PASSWORD@db/curfew (or mysql:// for MySQL and MariaDB),"),
            (vec![("DB_HOST", "a:hunter2@db")], "=postgres://USER:PASSWORD@HOST/curfew (or "),
        ] {
            let hint = database_hint(&environment(&variables)).unwrap();
            assert!(hint.contains(url) && !hint.contains("hunter2"), "{variables:?}: {hint}");
        }
        let hint = redis_hint(&environment(&[("SPRING_DATA_REDIS_HOST", "cache")])).unwrap();
        assert!(hint.ends_with("set REDIS_URL=redis://cache"), "{hint}");
    }

    #[test]
    fn nothing_is_hinted_where_no_server_is_named() {
        for variables in [
            vec![],
            vec![("DB_CONNECTION", "sqlite"), ("DB_DATABASE", "/srv/shop.sqlite")],
            vec![("DB_PASSWORD", "hunter2")],
            vec![("DB_HOST", "")],
        ] {
            assert_eq!(database_hint(&environment(&variables)), None, "{variables:?}");
        }
        // What Kubernetes sets for a service of that name, and what Laravel sets without a password.
        for variables in [vec![], vec![("REDIS_PORT", "tcp://10.0.0.7:6379")], vec![("REDIS_PASSWORD", "null")]] {
            assert_eq!(redis_hint(&environment(&variables)), None, "{variables:?}");
        }
    }
}
