//! What filter and control plane must agree on, in hashes: which setting differs can be said without saying what it is.
//!
//! The keyspace says that the two sides differ, in one hash over everything. These are hashes of each part. They decide
//! nothing: a side that does not send them gets the same answers, with less of an explanation. They travel in a header,
//! because a control plane refuses a body with a member that it does not know, and an older one ignores the header.

use std::fmt;

use crate::id::labelled;

/// The name of the header that a filter's questions carry.
pub const AGREEMENT_HEADER: &str = "curfew-agreement";

/// The most issuers in a header. More are not sent, and then nothing is said about them.
const MOST_ISSUERS: usize = 64;

/// The settings that both sides share, in the order of their hashes: the filter's field and the control plane's
/// setting.
const SETTINGS: [(&str, &str); 6] = [
    ("user_claim", "CURFEW_USER_CLAIM"),
    ("issued_at_claim", "CURFEW_ISSUED_AT_CLAIM"),
    ("max_token_ttl", "CURFEW_MAX_TOKEN_TTL"),
    ("clock_skew", "CURFEW_CLOCK_SKEW"),
    ("allow_missing_exp", "CURFEW_ALLOW_MISSING_EXP"),
    ("issuers", "CURFEW_ISSUER or CURFEW_ISSUERS_FILE"),
];

/// How many of [`SETTINGS`] hold for all issuers. The issuers come last.
const SHARED: usize = SETTINGS.len() - 1;

/// The hashes of one side's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    shared: [PartHash; SHARED],
    issuers: Vec<PartHash>,
}

/// 32 bits: enough that two settings of an operator differ in them, and too few to tell a value by.
type PartHash = u32;

impl Agreement {
    /// The hashes of these values of [`SETTINGS`], and of what is said of each issuer.
    pub(crate) fn new(values: [&str; SHARED], issuers: impl Iterator<Item = impl AsRef<str>>) -> Self {
        let mut names = SETTINGS.iter();
        let shared = values.map(|value| hash(names.next().map_or("", |(name, _)| name), value));
        Self { shared, issuers: issuers.map(|issuer| hash("issuers", issuer.as_ref())).collect() }
    }

    /// Reads the header's text; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (shared, issuers) = text.split_once('/')?;
        let shared: Option<Vec<_>> = shared.split('.').map(parse_hash).collect();
        let issuers: Option<Vec<_>> = issuers.split('.').take(MOST_ISSUERS + 1).map(parse_hash).collect();
        let issuers = issuers.filter(|issuers| issuers.len() <= MOST_ISSUERS)?;
        Some(Self { shared: shared?.try_into().ok()?, issuers })
    }

    /// The settings in which the filter's are not this side's. The control plane may have more issuers than a filter.
    pub fn differences(&self, filter: &Self) -> Differences {
        let pairs = self.shared.iter().zip(&filter.shared).enumerate();
        let shared = pairs.filter(|(_, (own, other))| own != other).map(|(place, _)| place);
        let unknown = filter.issuers.iter().any(|issuer| !self.issuers.contains(issuer));
        Differences(shared.chain(unknown.then_some(SHARED)).fold(0, |bits, place| bits | (1 << place)))
    }
}

/// The header's text, with at most [`MOST_ISSUERS`].
impl fmt::Display for Agreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written =
            |hashes: &[PartHash]| hashes.iter().map(|hash| format!("{hash:08x}")).collect::<Vec<_>>().join(".");
        let issuers = self.issuers.get(..MOST_ISSUERS).unwrap_or(&self.issuers);
        write!(formatter, "{}/{}", written(&self.shared), written(issuers))
    }
}

fn hash(name: &str, value: &str) -> PartHash {
    let [a, b, c, d, ..] = labelled("curfew:v1:agreement", &[name.as_bytes(), value.as_bytes()]);
    u32::from_be_bytes([a, b, c, d])
}

fn parse_hash(text: &str) -> Option<PartHash> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// Which settings differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Differences(u8);

impl Differences {
    /// True if nothing is known to differ.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The filter's fields that differ.
    pub fn fields(self) -> Vec<&'static str> {
        self.settings().map(|(field, _)| field).collect()
    }

    /// The differences with these fields; others are ignored, because a later version may know more.
    pub fn of_fields<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let place = |field: &str| SETTINGS.iter().position(|(name, _)| *name == field);
        Self(fields.into_iter().filter_map(place).fold(0, |bits, place| bits | (1 << place)))
    }

    fn settings(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        SETTINGS.into_iter().enumerate().filter(move |(place, _)| self.0 & (1 << place) != 0).map(|(_, names)| names)
    }
}

/// Both names of each setting, for operators.
impl fmt::Display for Differences {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, setting)) in self.settings().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{field} ({setting})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [&str; SHARED] = ["sub", "iat", "2592000", "5", "false"];

    fn agreement(values: [&str; SHARED], issuers: &[&str]) -> Agreement {
        Agreement::new(values, issuers.iter().copied())
    }

    #[test]
    fn the_header_is_pinned() {
        let agreement = agreement(VALUES, &["https://issuer.example.com", ""]);
        let text = agreement.to_string();
        let pinned = "06e872ed.5b734a7b.3b09f66f.fee865a6.bb24ab7a/55b016d2.8b1acd38";
        assert_eq!(text, pinned);
        assert_eq!(Agreement::parse(&text), Some(agreement));
    }

    #[test]
    fn anything_else_is_no_agreement() {
        let good = agreement(VALUES, &["a"]).to_string();
        let many = format!("{good}{}", ".00000000".repeat(MOST_ISSUERS));
        for text in ["", "/", "a/b", &good.replace('/', "."), &good[1..], &format!("{good}."), &many, "é.é/é"] {
            assert_eq!(Agreement::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_setting_that_differs_is_named_and_no_other() {
        let control_plane = agreement(VALUES, &["https://a.example.com", "https://b.example.com"]);
        let differs = |filter: &Agreement| control_plane.differences(filter).fields();
        assert_eq!(differs(&control_plane), Vec::<&str>::new());
        assert_eq!(differs(&agreement(VALUES, &["https://a.example.com"])), Vec::<&str>::new());
        assert_eq!(differs(&agreement(VALUES, &["https://a.example.com", "https://c.example.com"])), ["issuers"]);
        for (place, (field, _)) in SETTINGS.iter().take(SHARED).enumerate() {
            let mut values = VALUES;
            values[place] = "another";
            assert_eq!(differs(&agreement(values, &["https://a.example.com"])), [*field]);
        }
    }

    #[test]
    fn differences_are_read_back_by_their_names() {
        let differences = Differences::of_fields(["issuers", "user_claim", "a later one"]);
        assert_eq!(differences.fields(), ["user_claim", "issuers"]);
        assert_eq!(Differences::of_fields(differences.fields()), differences);
        assert_eq!(
            differences.to_string(),
            "user_claim (CURFEW_USER_CLAIM), issuers (CURFEW_ISSUER or CURFEW_ISSUERS_FILE)"
        );
        assert!(Differences::of_fields([]).is_empty() && !differences.is_empty());
    }
}
