//! The JSON between the filter, the services and the control plane's internal listener.
//!
//! Filter and control plane are rolled out one after the other, so these bytes are a contract, and tests pin them. A
//! request with a member that the receiver does not know is refused, because an answer to half of a question is wrong.
//! Answers may gain members.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::{Keyspace, ProvenToken, RevocationKey};

mod feed;
mod keys;

pub use feed::{FEED_PATH, FeedAnswer, FeedRequest, FeedRevocation, PAGE_REVOCATIONS, POLLS_FULL_CODE};
pub use keys::{IssuerKeys, KEYS_PATH, KeysAnswer, KeysRequest, MAX_KEYS_BYTES};

/// The path of a [`CheckRequest`].
pub const CHECK_PATH: &str = "/internal/v1/check";

/// The path of a [`RegisterRequest`].
pub const TOKENS_PATH: &str = "/internal/v1/tokens";

/// Asks whether a token with these keys is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The rule by which the keys were computed. A control plane that does not know it refuses the question.
    pub keyspace: Keyspace,
    /// The token id.
    pub token: RevocationKey,
    /// The key of `jti`, if the token has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<RevocationKey>,
    /// The key of `sid`, if the token has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<RevocationKey>,
    /// The key of the user, if the token has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<RevocationKey>,
    /// The time that cutoffs are compared with, in seconds of Unix time. Absent means that a cutoff covers the token,
    /// unless the token was registered after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<i64>,
}

impl CheckRequest {
    /// The question about a token.
    pub fn about(token: &ProvenToken) -> Self {
        Self {
            keyspace: token.keyspace,
            token: token.keys.token,
            jti: token.keys.jti,
            session: token.keys.session,
            subject: token.keys.subject,
            issued_at: token.times.cutoff_time,
        }
    }
}

/// The answer to a [`CheckRequest`], as of the moment when the control plane read its store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// The history that `seq` counts in.
    pub epoch: String,
    /// The newest revocation that the answer takes into account.
    pub seq: u64,
    /// The newest change of handed-out keys that the same reading shows; 0 for none. "Active" says nothing to a filter
    /// whose keys are older: the key that proved the token may have been removed.
    #[serde(default)]
    pub keys_seq: u64,
    /// The answer.
    pub verdict: CheckVerdict,
    /// True for "revoked" if the only reason is that the token is not registered and was issued in the second of a logout of
    /// all devices, or does not say when. It is for the client's sake, and changes no decision. Older control planes do not send it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub same_second: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// The answer to the question whether a token is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// No revocation covers it.
    Active,
    /// A revocation covers it. Revocations are never taken back.
    Revoked,
}

/// Registers tokens when they are issued. Registered tokens are listed as sessions. In the second of a logout of all
/// devices, a token that was registered after the logout stays accepted.
///
/// No `Debug`: it holds tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// 1 to 1,000 tokens. All are registered or none.
    pub tokens: Vec<RegisterToken>,
}

/// One token of a [`RegisterRequest`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterToken {
    /// The token as it was issued.
    pub token: String,
    /// The client that it was issued to, as the client names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// The answer to a [`RegisterRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterAnswer {
    /// How many tokens were not known before.
    pub registered: usize,
    /// How many tokens were known. They stay as they are, logged out or not.
    pub known: usize,
    /// How many tokens of the call are revoked already, among those that were known and those that were not. A login must
    /// not hand one out: it works nowhere, and registering never brings it back.
    pub revoked: usize,
    /// How many of all these tokens name no user, so that no logout of all devices reaches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_user: Option<NonZeroUsize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> RevocationKey {
        RevocationKey::from_bytes([byte; 16])
    }

    #[test]
    fn a_check_is_pinned() {
        let request = CheckRequest {
            keyspace: Keyspace::from_bytes([0xab; 16]),
            token: key(1),
            jti: Some(key(2)),
            session: None,
            subject: Some(key(3)),
            issued_at: Some(1_700_000_000),
        };
        let json = concat!(
            r#"{"keyspace":"abababababababababababababababab","token":"01010101010101010101010101010101","#,
            r#""jti":"02020202020202020202020202020202","subject":"03030303030303030303030303030303","#,
            r#""issued_at":1700000000}"#
        );
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        assert_eq!(serde_json::from_str::<CheckRequest>(json).unwrap(), request);
    }

    #[test]
    fn a_check_with_an_unknown_member_is_refused() {
        let id = "01010101010101010101010101010101";
        let with = |member: &str| format!(r#"{{"keyspace":"{id}","token":"{id}"{member}}}"#);
        assert!(serde_json::from_str::<CheckRequest>(&with("")).is_ok());
        for member in [r#","device":"x""#, r#","jti":"x""#, r#","issued_at":"1""#, r#","token":"x""#] {
            assert!(serde_json::from_str::<CheckRequest>(&with(member)).is_err(), "{member}");
        }
    }

    #[test]
    fn an_answer_is_pinned_and_may_gain_members() {
        let verdict = CheckVerdict::Active;
        let answer = CheckAnswer { epoch: "ab".repeat(16), seq: 7, keys_seq: 5, verdict, same_second: false };
        let json = r#"{"epoch":"abababababababababababababababab","seq":7,"keys_seq":5,"verdict":"active"}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), json);
        let grown = json.replace(r#""seq":7"#, r#""seq":7,"new":1"#);
        assert_eq!(serde_json::from_str::<CheckAnswer>(&grown).unwrap(), answer);
        assert!(serde_json::from_str::<CheckAnswer>(&json.replace("active", "fine")).is_err());
        let of_a_logout_of_all = CheckAnswer { verdict: CheckVerdict::Revoked, same_second: true, ..answer };
        let json = json.replace(r#""active""#, r#""revoked","same_second":true"#);
        assert_eq!(serde_json::to_string(&of_a_logout_of_all).unwrap(), json);
        assert_eq!(serde_json::from_str::<CheckAnswer>(&json).unwrap(), of_a_logout_of_all);
    }

    #[test]
    fn a_registration_is_pinned() {
        let json = r#"{"tokens":[{"token":"a.b.c","user_agent":"curl/8"},{"token":"d.e.f"}]}"#;
        let request: RegisterRequest = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
        let answer = RegisterAnswer { registered: 1, known: 1, revoked: 1, without_user: None };
        assert_eq!(serde_json::to_string(&answer).unwrap(), r#"{"registered":1,"known":1,"revoked":1}"#);
        let nobodys = RegisterAnswer { without_user: NonZeroUsize::new(2), ..answer };
        let json = r#"{"registered":1,"known":1,"revoked":1,"without_user":2}"#;
        assert_eq!(serde_json::to_string(&nobodys).unwrap(), json);
    }
}
