//! The rule by which the tokens of an issuer become keys of users. It must stay the same, or a logout of all devices
//! misses tokens of the user.

use crate::Keyspace;

/// How the tokens of one issuer namespace name their user and their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRule {
    /// The issuer namespace; "" for an issuer without a name, which accepts tokens with any `iss`.
    pub issuer: String,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that cutoffs are compared with.
    pub issued_at_claim: String,
}

impl SubjectRule {
    /// Names the rule: 16 bytes of a hash over its parts.
    pub fn name(&self) -> Keyspace {
        Keyspace::new(&["subject", &self.issuer, &self.user_claim, &self.issued_at_claim])
    }

    /// True if a token of this rule may be accepted under the other one. The tokens of an issuer that is no longer
    /// configured are refused, unless an issuer without a name accepts them.
    pub fn shares_tokens_with(&self, other: &Self) -> bool {
        self.issuer == other.issuer || self.issuer.is_empty() || other.issuer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(issuer: &str, user_claim: &str) -> SubjectRule {
        SubjectRule { issuer: issuer.into(), user_claim: user_claim.into(), issued_at_claim: "iat".into() }
    }

    #[test]
    fn each_part_is_in_the_name() {
        let first = rule("https://issuer.example.com", "sub");
        assert_eq!(first.name(), first.clone().name());
        assert_ne!(first.name(), rule("", "sub").name());
        assert_ne!(first.name(), rule("https://issuer.example.com", "user_id").name());
        assert_ne!(first.name(), SubjectRule { issued_at_claim: "auth_time".into(), ..first.clone() }.name());
    }

    #[test]
    fn only_an_issuer_without_a_name_accepts_the_tokens_of_others() {
        let (one, other, any) =
            (rule("https://a.example.com", "sub"), rule("https://b.example.com", "sub"), rule("", "sub"));
        assert!(one.shares_tokens_with(&rule("https://a.example.com", "user_id")));
        assert!(!one.shares_tokens_with(&other));
        assert!(one.shares_tokens_with(&any) && any.shares_tokens_with(&one));
    }
}
