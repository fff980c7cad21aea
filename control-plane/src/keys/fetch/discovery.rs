//! Finds the URL of an issuer's keys in the document that the provider publishes about itself.
//!
//! The document is asked for by the rules of OpenID Connect Discovery 1.0, and where it is not there, by those of RFC 8414.
//! It must name the issuer that it was asked for: otherwise anybody whose document is read could sign that issuer's
//! tokens (RFC 8414 section 3.3).

use serde_json::Value;

use super::client::{Answer, Client};
use super::failure::{Cause, Document, FetchFailure, shown};
use crate::keys::source::{Discovery, KeyUrl};

const OPENID: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// Finds the URL of the issuer's keys.
pub(super) async fn find(client: &Client<'_>, discovery: &Discovery) -> Result<KeyUrl, FetchFailure> {
    let mut absent: Option<FetchFailure> = None;
    for (document, url) in documents(&discovery.at) {
        let failure = match ask(client, document, &url, &discovery.issuer).await {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        let may_be_elsewhere = failure.cause().is_absence();
        let failure = absent.into_iter().fold(failure, FetchFailure::after);
        if !may_be_elsewhere {
            return Err(failure);
        }
        absent = Some(failure);
    }
    let nothing = Cause::NoKeysUrl("is nowhere");
    Err(absent.unwrap_or_else(|| FetchFailure::new(Document::OpenidConfiguration, &discovery.at, nothing)))
}

async fn ask(client: &Client<'_>, document: Document, url: &KeyUrl, issuer: &str) -> Result<KeyUrl, FetchFailure> {
    let failed = |cause| FetchFailure::new(document, url, cause);
    match client.get(document, url, None).await? {
        Answer::Body { bytes, .. } => read(&bytes, issuer).map_err(failed),
        Answer::NotModified { .. } => Err(failed(Cause::Status { status: 304, retry_after: None })),
    }
}

/// The places of the documents, in the order in which they are asked for.
fn documents(at: &KeyUrl) -> Vec<(Document, KeyUrl)> {
    let path = at.path().trim_end_matches('/');
    if path.contains("/.well-known/") {
        return vec![(Document::OpenidConfiguration, at.clone())];
    }
    vec![
        // OpenID Connect Discovery 1.0 section 4: after the path.
        (Document::OpenidConfiguration, at.with_path(&format!("{path}{OPENID}"))),
        // RFC 8414 section 3.1: between the host and the path.
        (Document::AuthorizationServer, at.with_path(&format!("{OAUTH}{path}"))),
    ]
}

fn read(document: &[u8], issuer: &str) -> Result<KeyUrl, Cause> {
    let document = curfew_core::read_document(document).map_err(Cause::NotJson)?;
    let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if named != issuer {
        let is_template = named.contains(['{', '}']);
        return Err(if is_template { Cause::TemplateIssuer } else { Cause::WrongIssuer(shown(named)) });
    }
    let url = document.get("jwks_uri").and_then(Value::as_str).ok_or(Cause::NoKeysUrl("is missing"))?;
    KeyUrl::parse(url).map_err(Cause::NoKeysUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_where_the_standards_say() {
        let table = [
            (
                "https://login.example.com",
                "https://login.example.com/.well-known/openid-configuration",
                "https://login.example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://login.example.com/",
                "https://login.example.com/.well-known/openid-configuration",
                "https://login.example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://login.example.com/realms/main",
                "https://login.example.com/realms/main/.well-known/openid-configuration",
                "https://login.example.com/.well-known/oauth-authorization-server/realms/main",
            ),
            (
                "https://login.example.com:8443/oauth2/default/",
                "https://login.example.com:8443/oauth2/default/.well-known/openid-configuration",
                "https://login.example.com:8443/.well-known/oauth-authorization-server/oauth2/default",
            ),
        ];
        for (issuer, openid, oauth) in table {
            let places: Vec<_> =
                documents(&KeyUrl::parse(issuer).unwrap()).iter().map(|(_, url)| url.whole().to_owned()).collect();
            assert_eq!(places, [openid, oauth], "{issuer}");
        }
        let own = KeyUrl::parse("https://login.example.com/a/.well-known/openid-configuration?p=policy").unwrap();
        assert_eq!(documents(&own), [(Document::OpenidConfiguration, own)]);
    }

    #[test]
    fn a_document_counts_only_for_the_issuer_that_it_names() {
        let read = |text: &str| read(text.as_bytes(), "https://login.example.com/a").map(|url| url.place());
        let keys = r#""jwks_uri": "https://login.example.com/keys""#;
        let code = |text: &str| read(text).unwrap_err().code();
        assert_eq!(
            read(&format!(r#"{{"issuer": "https://login.example.com/a", {keys}}}"#)),
            Ok("https://login.example.com/keys".to_owned())
        );
        for other in ["https://login.example.com/a/", "https://login.example.com", "HTTPS://login.example.com/a", ""] {
            assert_eq!(code(&format!(r#"{{"issuer": "{other}", {keys}}}"#)), "wrong_issuer", "{other}");
        }
        assert_eq!(code(&format!("{{{keys}}}")), "wrong_issuer");
        let template = format!(r#"{{"issuer": "https://login.example.com/{{tenantid}}/v2.0", {keys}}}"#);
        assert_eq!(read(&template), Err(Cause::TemplateIssuer));
        let twice = r#"{"issuer": "https://other.example.com", "issuer": "https://login.example.com/a"}"#;
        assert_eq!(code(twice), "not_json");
        assert_eq!(code("<html>"), "not_json");
    }

    #[test]
    fn a_document_must_say_where_the_keys_are() {
        let read = |rest: &str| read(format!(r#"{{"issuer": "i"{rest}}}"#).as_bytes(), "i");
        assert_eq!(read(""), Err(Cause::NoKeysUrl("is missing")));
        assert_eq!(
            read(r#", "jwks_uri": "/keys""#),
            Err(Cause::NoKeysUrl("must be a URL such as https://login.example.com/keys"))
        );
        assert_eq!(
            read(r#", "jwks_uri": "https://u:p@login.example.com/""#),
            Err(Cause::NoKeysUrl("must have no user and no password in it"))
        );
    }
}
