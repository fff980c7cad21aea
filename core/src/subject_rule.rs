//! The rule by which the tokens of an issuer become keys of users, by itself: what must stay the same for a logout of all
//! devices to reach the tokens it was meant for.

use crate::Keyspace;

/// How the tokens of one issuer namespace name their user and their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectRule {
    /// The issuer namespace; "" for an issuer without a name, which takes tokens of any.
    pub issuer: String,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that cutoffs are compared with.
    pub issued_at_claim: String,
}

impl SubjectRule {
    /// The rule's name: 16 bytes over its parts.
    pub fn name(&self) -> Keyspace {
        Keyspace::new(&["subject", &self.issuer, &self.user_claim, &self.issued_at_claim])
    }

    /// Whether a token that this rule was for may pass under another one. An issuer that is no longer configured has
    /// its tokens refused, unless one without a name takes them.
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
    fn only_an_issuer_without_a_name_takes_the_tokens_of_others() {
        let (one, other, any) =
            (rule("https://a.example.com", "sub"), rule("https://b.example.com", "sub"), rule("", "sub"));
        assert!(one.shares_tokens_with(&rule("https://a.example.com", "user_id")));
        assert!(!one.shares_tokens_with(&other));
        assert!(one.shares_tokens_with(&any) && any.shares_tokens_with(&one));
    }
}
