//! The key sets that the control plane hands out, so that filters need no keys in their configuration.
//!
//! A change of keys has a place in the log, `keys_seq`, which pages of the feed and answers to checks carry. A filter
//! whose keys are older asks for them here.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Epoch;

/// The path of a [`KeysRequest`].
pub const KEYS_PATH: &str = "/internal/v1/keys";

/// The largest [`KeysAnswer`], in bytes. A filter copies it into its memory, which never shrinks.
pub const MAX_KEYS_BYTES: usize = 512 << 10;

/// Asks for the key sets of some issuers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysRequest {
    /// The issuers, as both configurations name them; "" is the issuer without a name.
    pub issuers: Vec<String>,
    /// A token of this issuer, which is one of `issuers`, may be signed with a key that the filter does not have. The
    /// control plane asks the issuer for its keys first, unless it has just done so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<String>,
}

/// The key sets, as of one reading of the store that began after the request had arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAnswer {
    /// The history that `keys_seq` counts in.
    pub epoch: Epoch,
    /// The newest change of keys that is included; 0 for none.
    pub keys_seq: u64,
    /// One for each issuer of the request that the control plane knows, in the order of the request.
    pub sets: Vec<IssuerKeys>,
}

/// The keys of one issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKeys {
    /// The issuer.
    pub issuer: String,
    /// Its JWK Set (RFC 7517 section 5), public members only. An empty set says that the issuer has no key on purpose.
    /// `None`: no keys are known yet, or the issuer signs with a secret, which is never handed out.
    pub jwks: Option<Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_pinned() {
        let request = KeysRequest { issuers: vec!["https://issuer.example.com".into(), String::new()], refresh: None };
        let json = r#"{"issuers":["https://issuer.example.com",""]}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        assert_eq!(serde_json::from_str::<KeysRequest>(json).unwrap(), request);
        let refresh = KeysRequest { issuers: vec![String::new()], refresh: Some(String::new()) };
        let json = r#"{"issuers":[""],"refresh":""}"#;
        assert_eq!(serde_json::to_string(&refresh).unwrap(), json);
        assert_eq!(serde_json::from_str::<KeysRequest>(json).unwrap(), refresh);
        assert!(serde_json::from_str::<KeysRequest>(r#"{"issuers":[],"force":true}"#).is_err());
    }

    #[test]
    fn an_answer_is_pinned_and_may_gain_members() {
        let answer = KeysAnswer {
            epoch: Epoch::from_bytes([0xcc; 16]),
            keys_seq: 8,
            sets: vec![
                IssuerKeys { issuer: "a".into(), jwks: Some(json!({"keys": []})) },
                IssuerKeys { issuer: "b".into(), jwks: None },
            ],
        };
        let json = concat!(
            r#"{"epoch":"cccccccccccccccccccccccccccccccc","keys_seq":8,"sets":["#,
            r#"{"issuer":"a","jwks":{"keys":[]}},{"issuer":"b","jwks":null}]}"#
        );
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        let grown = json.replace(r#""keys_seq":8"#, r#""keys_seq":8,"new":1"#);
        assert_eq!(serde_json::from_str::<KeysAnswer>(&grown).unwrap(), answer);
    }
}
