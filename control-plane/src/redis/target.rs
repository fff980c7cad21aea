//! `REDIS_URL`: one server, a Sentinel group or a Cluster. Pure.
//!
//! The form for one server is the usual one. For Sentinel and Cluster there is no standard. These forms are the ones
//! that most clients with such a form understand.

use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::secret::{NOT_ENCODED, is_not_encoded};

/// The default port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;

/// What to connect to, with user, password and database.
#[derive(Clone)]
pub enum Target {
    /// `redis://`, `rediss://` (TLS) or `unix://`.
    One(ConnectionInfo),
    /// `redis+sentinel://user:password@host1,host2/service/db`; user, password and database are Redis' own.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<ConnectionInfo>,
        /// The Sentinels' name for the group.
        service: String,
        /// How to log in to the server that they name. The address in it is that of the first Sentinel, and is not
        /// used.
        redis: ConnectionInfo,
    },
    /// `redis+cluster://user:password@host1,host2`.
    Cluster(Vec<ConnectionInfo>),
}

const FORMS: &str = "must be redis://HOST, rediss://HOST, unix:///SOCKET, redis+sentinel://HOST,HOST/SERVICE or \
                     redis+cluster://HOST,HOST, with user:password@ before the host where Redis asks for it";

impl Target {
    /// Reads the URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without any of its text: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or(FORMS)?;
        if is_not_encoded(url) && !scheme.ends_with("unix") {
            return Err(NOT_ENCODED.to_owned());
        }
        match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix" | "valkey+unix" => {
                Ok(Self::One(parsed(url)?))
            }
            "redis+sentinel" | "rediss+sentinel" => sentinel(plain(scheme), rest),
            "redis+cluster" | "rediss+cluster" => cluster(plain(scheme), rest),
            _ => Err(FORMS.to_owned()),
        }
    }

    /// True if the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        let first = match self {
            Self::One(info) => Some(info),
            Self::Sentinel { redis, .. } => Some(redis),
            Self::Cluster(nodes) => nodes.first(),
        };
        first.is_some_and(|info| matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }))
    }

    /// For the log: the kind and the hosts, without user and password.
    pub fn describe(&self) -> String {
        let hosts =
            |nodes: &[ConnectionInfo]| nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(",");
        match self {
            Self::One(info) => info.addr().to_string(),
            Self::Sentinel { sentinels, service, .. } => format!("{service} of the Sentinels {}", hosts(sentinels)),
            Self::Cluster(nodes) => format!("the Cluster of {}", hosts(nodes)),
        }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Target({})", self.describe())
    }
}

fn plain(scheme: &str) -> &'static str {
    if scheme.starts_with("rediss") { "rediss" } else { "redis" }
}

fn sentinel(scheme: &str, rest: &str) -> Result<Target, String> {
    let (login, hosts, path) = parts(rest)?;
    let mut path = path.splitn(2, '/');
    let service =
        path.next().filter(|service| !service.is_empty()).ok_or("must name the service: HOST,HOST/SERVICE")?;
    let database = path.next().unwrap_or("");
    let hosts: Vec<String> = hosts.iter().map(|host| with_port(host, SENTINEL_PORT)).collect();
    let sentinels = hosts.iter().map(|host| parsed(&format!("{scheme}://{host}"))).collect::<Result<Vec<_>, _>>()?;
    let first = hosts.first().ok_or(FORMS)?;
    let redis = parsed(&format!("{scheme}://{login}{first}/{database}"))?;
    Ok(Target::Sentinel { sentinels, service: service.to_owned(), redis })
}

fn cluster(scheme: &str, rest: &str) -> Result<Target, String> {
    let (login, hosts, path) = parts(rest)?;
    if !path.is_empty() {
        return Err("names a database, but a Cluster has only one".to_owned());
    }
    let nodes = hosts.iter().map(|host| parsed(&format!("{scheme}://{login}{host}"))).collect::<Result<_, _>>()?;
    Ok(Target::Cluster(nodes))
}

/// `user:password@` or nothing, the hosts, and what follows the first slash after them.
fn parts(rest: &str) -> Result<(&str, Vec<&str>, &str), String> {
    if rest.contains(['?', '#']) {
        return Err("has parameters, and none is known for this form".to_owned());
    }
    // An @ or a slash in a password is written %40 or %2F, as in every URL.
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let at = authority.rfind('@').map_or(0, |at| at + 1);
    let (login, hosts) = authority.split_at(at);
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.iter().any(|host| host.is_empty()) {
        return Err(FORMS.to_owned());
    }
    Ok((login, hosts, path.trim_end_matches('/')))
}

fn with_port(host: &str, port: u16) -> String {
    let name_ends = host.rfind(']').unwrap_or(0);
    let has_port = host.get(name_ends..).is_some_and(|rest| rest.contains(':'));
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

fn parsed(url: &str) -> Result<ConnectionInfo, String> {
    // The crate's own error may repeat the URL.
    let info = url.into_connection_info().map_err(|_| FORMS.to_owned())?;
    if info.redis_settings().db() < 0 {
        return Err("must name a database of 0 or more".to_owned());
    }
    if url.contains("#insecure") {
        return Err("must not say #insecure: give CURFEW_REDIS_CA_FILE instead".to_owned());
    }
    Ok(info.set_tcp_settings(at_once()))
}

/// Many commands are under way on one connection. Without `TCP_NODELAY` each would wait until the server has
/// acknowledged the one before, which takes up to 40 ms.
pub(super) fn at_once() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(url: &str) -> String {
        Target::parse(url).unwrap().describe()
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(described("redis://cache.example.com/3"), "cache.example.com:6379");
        assert_eq!(described("unix:///run/redis.sock"), "/run/redis.sock");
        assert_eq!(
            described("redis+sentinel://:hunter2@a.example.com,b.example.com:7/curfew/2"),
            "curfew of the Sentinels a.example.com:26379,b.example.com:7"
        );
        assert_eq!(
            described("redis+cluster://u:hunter2@a.example.com,[::1]:7"),
            "the Cluster of a.example.com:6379,::1:7"
        );
    }

    #[test]
    fn user_password_and_database_go_to_redis_and_not_to_the_sentinels() {
        let url = "rediss+sentinel://user:p%40ss@a.example.com/curfew/2";
        let Target::Sentinel { sentinels, service, redis } = Target::parse(url).unwrap() else { panic!() };
        let settings = redis.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("user"), Some("p@ss"), 2));
        assert_eq!(sentinels[0].redis_settings().password(), None);
        assert_eq!(service, "curfew");
    }

    #[test]
    fn encryption_is_known_in_every_form() {
        for (url, encrypted) in [
            ("redis://a.example.com", false),
            ("rediss://a.example.com", true),
            ("redis+cluster://a.example.com", false),
            ("rediss+cluster://a.example.com", true),
            ("rediss+sentinel://a.example.com/s", true),
        ] {
            assert_eq!(Target::parse(url).unwrap().is_encrypted(), encrypted, "{url}");
        }
    }

    #[test]
    fn a_password_that_is_not_encoded_is_named_as_the_mistake() {
        for url in [
            "redis://:hun/ter2@a.example.com",
            "rediss://user:hun#ter2@a.example.com/1",
            "redis://user:hun?ter2@a.example.com",
            // This one would be taken, with the user as the host.
            "redis://user:12?hunter2@a.example.com",
            "redis+sentinel://:hun/ter2@a.example.com/s",
            "redis+cluster://:hun#ter2@a.example.com",
        ] {
            assert_eq!(Target::parse(url).expect_err(url), NOT_ENCODED);
        }
        Target::parse("redis://:p%2Fw%23@a.example.com").unwrap();
        Target::parse("unix:///run/redis.sock?pass=p@ss").unwrap();
    }

    #[test]
    fn no_command_is_held_back_until_an_earlier_one_is_acknowledged() {
        for url in ["redis://a.example.com", "rediss+sentinel://a.example.com,b.example.com/s", "redis+cluster://a,b"] {
            let all = match Target::parse(url).unwrap() {
                Target::One(info) => vec![info],
                Target::Sentinel { sentinels, redis, .. } => [sentinels, vec![redis]].concat(),
                Target::Cluster(nodes) => nodes,
            };
            assert!(all.iter().all(|info| info.tcp_settings().nodelay()), "{url}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_redis_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "hunter2",
            "http://hunter2@a.example.com",
            "redis://",
            "redis://a.example.com/hunter2",
            "redis://a.example.com/-1",
            "rediss://a.example.com/#insecure",
            "redis+sentinel://a.example.com",
            "redis+sentinel://a.example.com/s/hunter2",
            "redis+sentinel:///s",
            "redis+cluster://a.example.com,",
            "redis+cluster://a.example.com/1",
            "redis+cluster://a.example.com?password=hunter2",
        ] {
            let problem = Target::parse(url).expect_err(url);
            assert!(!problem.contains("hunter2"), "{url}: {problem}");
        }
    }
}
