//! The harness's own servers: they start, answer, are killed, and come back with all that was durable.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use curfew_testbed::link::{Direction, Link};
use curfew_testbed::ports::loopback;
use curfew_testbed::servers::{Authority, Cluster, Mariadb, Postgres, Redis, Sentinel};

fn connects(port: u16) -> bool {
    TcpStream::connect(loopback(port)).is_ok()
}

#[test]
fn postgres_keeps_what_was_committed_over_a_kill() {
    let mut postgres = Postgres::start().unwrap();
    assert!(postgres.fresh_database("first").unwrap().ends_with("/first"));
    postgres.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    postgres.server().kill().unwrap();
    assert!(!connects(postgres.port()));
    postgres.server().restart().unwrap();
    postgres.execute("DO $$ BEGIN ASSERT (SELECT n FROM kept) = 7; END $$").unwrap();
}

#[test]
fn mariadb_keeps_what_was_committed_over_a_kill() {
    let mut mariadb = Mariadb::start().unwrap();
    let url = mariadb.fresh_database("first").unwrap();
    assert!(url.ends_with("/first"));
    mariadb.execute("CREATE TABLE first.kept (n int primary key); INSERT INTO first.kept VALUES (7)").unwrap();
    mariadb.server().kill().unwrap();
    assert!(!connects(mariadb.port()));
    mariadb.server().restart().unwrap();
    let again = mariadb.execute("INSERT INTO first.kept VALUES (7)").unwrap_err();
    assert!(format!("{again:#}").contains("Duplicate entry"), "{again:#}");
}

#[test]
fn a_database_of_the_same_name_is_made_anew() {
    let postgres = Postgres::start_with(&["max_connections=7"], None).unwrap();
    postgres.fresh_database("twice").unwrap();
    postgres.fresh_database("twice").unwrap();
    postgres.execute("DO $$ BEGIN ASSERT current_setting('max_connections') = '7'; END $$").unwrap();
}

#[test]
fn a_frozen_redis_accepts_and_says_nothing_until_it_thaws() {
    let mut redis = Redis::start().unwrap();
    redis.command(&["SET", "a", "1"]).unwrap();
    redis.server().freeze();
    assert!(connects(redis.port()));
    let asked = Instant::now();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| redis.command(&["GET", "a"]));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!answer.is_finished());
    });
    assert!(asked.elapsed() > Duration::from_millis(300));
    redis.server().thaw();
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), redis::Value::BulkString(b"1".to_vec()));
}

#[test]
fn a_redis_without_persistence_comes_back_empty_on_its_port() {
    let mut redis = Redis::start_with(&["requirepass secret"], None).unwrap();
    let url = format!("redis://:secret@127.0.0.1:{}/0", redis.port());
    assert_eq!(redis.url(), url);
    redis.command(&["SET", "a", "1"]).unwrap();
    redis.server().kill().unwrap();
    assert!(!connects(redis.port()));
    redis.server().restart().unwrap();
    assert_eq!(redis.url(), url);
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), redis::Value::Nil);
    redis.command(&["SET", "a", "1"]).unwrap();
    redis.wipe().unwrap();
    assert_eq!(redis.command(&["GET", "a"]).unwrap(), redis::Value::Nil);
}

#[test]
fn a_valkey_takes_the_place_of_redis() {
    let valkey = Redis::start_valkey().unwrap();
    let info = valkey.command(&["INFO", "server"]).unwrap();
    assert!(redis::from_redis_value::<String>(info).unwrap().contains("valkey_version:"));
}

#[test]
fn servers_with_tls_show_the_certificate_that_the_authority_signed() {
    let authority = Authority::new().unwrap();
    let redis = Redis::start_with(&[], Some(&authority)).unwrap();
    let postgres = Postgres::start_with(&[], Some(&authority)).unwrap();
    let mariadb = Mariadb::start_with(&[], Some(&authority)).unwrap();
    for (protocol, port) in [("", redis.port()), ("postgres", postgres.port()), ("mysql", mariadb.port())] {
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["s_client", "-verify_return_error", "-brief", "-connect", &format!("127.0.0.1:{port}")]);
        openssl.arg("-CAfile").arg(authority.file()).stdin(std::process::Stdio::null());
        if !protocol.is_empty() {
            openssl.args(["-starttls", protocol]);
        }
        let output = openssl.output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && shown.contains("Verification: OK"), "{protocol}: {shown}");
    }
}

#[test]
fn sentinels_make_the_replica_primary_when_the_primary_dies() {
    let mut sentinel = Sentinel::start(3).unwrap();
    sentinel.first().command(&["SET", "a", "1"]).unwrap();
    sentinel.first().command(&["WAIT", "1", "5000"]).unwrap();
    sentinel.first().server().kill().unwrap();
    sentinel.wait_for_failover().unwrap();
    let kept = sentinel.second().command(&["GET", "a"]).unwrap();
    assert_eq!(kept, redis::Value::BulkString(b"1".to_vec()));
}

#[test]
fn a_cluster_shares_its_keys_out() {
    let mut cluster = Cluster::start().unwrap();
    let taken: Vec<bool> = cluster.nodes().iter().map(|node| node.command(&["SET", "a", "1"]).is_ok()).collect();
    assert_eq!(taken, [false, false, true]);
}

#[test]
fn a_network_is_slow_one_way_then_cut_then_mended() {
    let redis = Redis::start().unwrap();
    let link = Link::to(loopback(redis.port())).unwrap();
    let client = redis::Client::open(format!("redis://{}", link.address())).unwrap();
    let ping = |connection: &mut redis::Connection| redis::cmd("PING").query::<String>(connection);
    let mut connection = client.get_connection().unwrap();
    link.delay(Direction::Answers, Duration::from_millis(400));
    let asked = Instant::now();
    ping(&mut connection).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(400));
    link.cut();
    assert!(ping(&mut connection).is_err());
    assert!(client.get_connection().is_err());
    link.mend();
    let mut connection = client.get_connection().unwrap();
    link.hold(Direction::Requests);
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(ping(&mut connection).is_err());
    link.mend();
    ping(&mut client.get_connection().unwrap()).unwrap();
}
