//! The settings that say what tokens must have: certain claims, and a user.

use tempfile::TempDir;

use crate::settings::{SECRET, curfew, refused};

#[test]
fn mistakes_in_what_tokens_must_have_are_named_by_their_setting() {
    let (internal, key) = ("an-internal-secret-of-32-bytes..", "an application key of 32 bytes..");
    let given = |settings: &[(&'static str, &'static str)]| {
        let secrets =
            [("JWT_SECRET", SECRET), ("CURFEW_INTERNAL_SECRET", internal), ("APP_ID", "shop"), ("APP_KEY", key)];
        [secrets.as_slice(), settings].concat()
    };
    refused(
        &given(&[("CURFEW_REQUIRED_CLAIMS", "{"), ("CURFEW_REQUIRE_USER", "maybe")]),
        &[
            "error: CURFEW_REQUIRED_CLAIMS: ends too early (line 1, column 1)",
            "error: CURFEW_REQUIRE_USER: must be true or false",
        ],
    );
    refused(
        &given(&[("CURFEW_REQUIRED_CLAIMS", r#"{"token_type": 1.5}"#)]),
        &[
            "error: CURFEW_REQUIRED_CLAIMS: required_claims.token_type: must be a text, an integer, true, false, null (for \
           no such claim), or a list of them",
        ],
    );
}

#[test]
fn a_token_of_another_kind_is_not_accepted_and_minted_ones_are_of_the_right_kind() {
    let directory = TempDir::new().unwrap();
    let settings = [("JWT_SECRET", SECRET), ("CURFEW_REQUIRED_CLAIMS", r#"{"token_type": ["access", "sliding"]}"#)];
    for (claim, said) in [
        (None, "accepted"),
        (Some("token_type=sliding"), "accepted"),
        (Some("token_type=refresh"), "not accepted: The token lacks a claim that is required here"),
    ] {
        let mut mint = vec!["token", "mint", "--user", "7"];
        mint.extend(claim.into_iter().flat_map(|claim| ["--claim", claim]));
        let token = String::from_utf8(curfew(directory.path(), &mint, &settings).stdout).unwrap();
        let shown = curfew(directory.path(), &["token", "inspect", token.trim()], &settings).stdout;
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.lines().last().unwrap().starts_with(said), "{claim:?}: {shown}");
    }
}
