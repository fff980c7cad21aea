//! The real binary trusts a provider's certificate by the authorities of the system.

use std::process::Stdio;

use curfew_testbed::servers::Authority;
use tempfile::TempDir;

use super::provider::{Answer, Provider, set};
use super::scene::until;

/// `SSL_CERT_FILE` stands for the system's authorities, as for every program that looks for them.
#[tokio::test]
async fn the_authorities_of_the_system_are_trusted_and_no_others() {
    let authority = Authority::new().unwrap();
    let provider = Provider::encrypted(&authority, |_, _| Answer::json(&set())).await;
    let stranger = Authority::new().unwrap();
    for (trusted, told) in
        [(&authority, "the keys of an issuer have changed"), (&stranger, "an issuer does not give its keys")]
    {
        let directory = TempDir::new().unwrap();
        let log = directory.path().join("log");
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_curfew"))
            .args(["serve", "--public-listen", "127.0.0.1:0", "--internal-listen", "127.0.0.1:0"])
            .env_clear()
            .env("JWKS_URL", provider.url("/"))
            .env("SSL_CERT_FILE", trusted.file())
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let lines = || std::fs::read_to_string(&log).unwrap();
        until(told, async || lines().contains("an issuer does not") || lines().contains("of an issuer have changed"))
            .await;
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(lines().contains(told), "{}", lines());
        assert!(
            lines().contains("the certificate or the encryption is not accepted") == std::ptr::eq(trusted, &stranger),
            "{}",
            lines()
        );
    }
    assert_eq!(provider.asked().iter().filter(|head| head.starts_with("GET / ")).count(), 1);
}
