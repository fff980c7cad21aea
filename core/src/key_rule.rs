//! The rule by which the tokens of an issuer become keys of users and of sessions. It must stay the same, or a logout of all
//! devices misses tokens of the user, and the logout of a session misses tokens of the session.

use crate::{Keyspace, Kind};

/// How the tokens of one issuer namespace name their user and their time, or their session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRule {
    /// The issuer namespace; "" for an issuer without a name, which accepts tokens with any `iss`.
    pub issuer: String,
    /// [`Kind::Subject`] or [`Kind::Session`].
    pub kind: Kind,
    /// The claim that names the user or the session.
    pub claim: String,
    /// The claim that cutoffs are compared with; "" for sessions, which have no cutoff.
    pub issued_at_claim: String,
}

impl KeyRule {
    /// Names the rule: 16 bytes of a hash over its parts.
    pub fn name(&self) -> Keyspace {
        Keyspace::new(&[self.kind.as_str(), &self.issuer, &self.claim, &self.issued_at_claim])
    }

    /// True if the other rule is of the same kind, and a token of this rule may be accepted under it. The tokens of an issuer
    /// that is no longer configured are refused, unless an issuer without a name accepts them.
    pub fn shares_tokens_with(&self, other: &Self) -> bool {
        let by_issuer = self.issuer == other.issuer || self.issuer.is_empty() || other.issuer.is_empty();
        by_issuer && self.kind == other.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(issuer: &str, claim: &str) -> KeyRule {
        KeyRule { issuer: issuer.into(), kind: Kind::Subject, claim: claim.into(), issued_at_claim: "iat".into() }
    }

    /// Databases hold the names.
    #[test]
    fn the_names_are_pinned() {
        let session = KeyRule { kind: Kind::Session, claim: "sid".into(), issued_at_claim: "".into(), ..rule("a", "") };
        assert_eq!(rule("a", "sub").name().to_string(), "9a85211127029e118851dd823128fa46");
        assert_eq!(session.name().to_string(), "c8f57f17902eaea1a555ac84b306b8bb");
    }

    #[test]
    fn each_part_is_in_the_name() {
        let first = rule("https://issuer.example.com", "sub");
        assert_eq!(first.name(), first.clone().name());
        assert_ne!(first.name(), rule("", "sub").name());
        assert_ne!(first.name(), rule("https://issuer.example.com", "user_id").name());
        assert_ne!(first.name(), KeyRule { issued_at_claim: "auth_time".into(), ..first.clone() }.name());
        assert_ne!(first.name(), KeyRule { kind: Kind::Session, ..first.clone() }.name());
    }

    #[test]
    fn only_an_issuer_without_a_name_accepts_the_tokens_of_others() {
        let (one, other, any) =
            (rule("https://a.example.com", "sub"), rule("https://b.example.com", "sub"), rule("", "sub"));
        assert!(one.shares_tokens_with(&rule("https://a.example.com", "user_id")));
        assert!(!one.shares_tokens_with(&other));
        assert!(one.shares_tokens_with(&any) && any.shares_tokens_with(&one));
        assert!(!one.shares_tokens_with(&KeyRule { kind: Kind::Session, ..one.clone() }));
    }
}
