//! An explanation as lines of text.

use crate::cli::inspect::date;
use crate::explain::{Answered, Explanation, HeldBack, Kept, Key, Refused, Rule, Told, Upstream, WithoutKeys};
use crate::keys::shown;
use crate::store::{Covers, Found, Registered};

pub(super) fn lines(explanation: &Explanation) -> Vec<String> {
    let mut lines: Vec<_> = explanation.without_keys.iter().map(without_keys).collect();
    lines.push(verdict(explanation));
    lines.extend(explanation.filter.iter().flat_map(answered));
    lines.extend(explanation.token.iter().flat_map(told));
    lines.extend(explanation.held_back.iter().map(held_back));
    let undated = explanation.token.as_ref().is_some_and(|token| token.cutoff_time.is_none());
    lines.extend(explanation.stored.iter().flat_map(|stored| kept(stored, undated)));
    lines
}

/// Why nothing can prove the token, whatever is right or wrong with it.
fn without_keys(issuer: &WithoutKeys) -> String {
    let failed = match (&issuer.error, &issuer.error_code) {
        (Some(error), code) => {
            format!("; the last question failed: {error:?} ({})", shown(code.as_deref().unwrap_or("-")))
        }
        (None, _) => String::new(),
    };
    format!(
        "no keys of the token's issuer are known yet, so nothing proves the token: they come from {:?}{failed}",
        issuer.source
    )
}

/// The answer in one line: what the control plane makes of the token.
fn verdict(explanation: &Explanation) -> String {
    let logged_out = if explanation.revoked == Some(true) { ", and logged out" } else { "" };
    match &explanation.refusal {
        Some(broken) => format!("not accepted: {} ({}, {}){logged_out}", broken.detail, broken.code, broken.reason),
        None if !explanation.accepted => "no token: what the filter answers without one".to_owned(),
        None if logged_out.is_empty() => "accepted, and not logged out".to_owned(),
        None => "logged out (token_revoked)".to_owned(),
    }
}

fn answered(answered: &Answered) -> Vec<String> {
    let refusal = answered.refusal.as_ref().map(refused).unwrap_or_default();
    let mut lines = vec![match answered.decision.as_str() {
        "reported" => format!("filter      admits it because of report_only, and would answer {refusal}"),
        "admitted" => format!("filter      admits it ({})", answered.reason),
        _ => format!("filter      answers {refusal}"),
    }];
    lines.push(match &answered.token_in {
        Some(place) => format!("token in    {place}"),
        None => "token in    no place: the request has none".to_owned(),
    });
    lines.extend(judged(answered));
    lines.extend(answered.upstream.iter().flat_map(upstream));
    lines.extend(answered.remarks.iter().map(|remark| format!("to mend     {remark}")));
    lines
}

/// By which rules the request was judged, and why others do not apply.
fn judged(answered: &Answered) -> Vec<String> {
    let named = |rule: &Rule| format!("rules[{}] {}", rule.index, rule.rule);
    let mut lines: Vec<_> = answered.rules.iter().map(|rule| format!("rule        {}", named(rule))).collect();
    if answered.reason == "preflight" {
        return lines;
    }
    if answered.rules.is_empty() {
        let none = if answered.passed_over.is_empty() { "none matches" } else { "none applies" };
        lines.push(format!("rule        {none}: the request needs a token"));
    }
    if answered.ambiguous {
        let why = match answered.ambiguity.as_deref() {
            Some("path") => "the path is ambiguous: programs may read it in several ways",
            Some("redirect") => "a header or a parameter names another path or method",
            _ => "the request is ambiguous",
        };
        lines.push(format!("ambiguous   {why}. No rule skip or optional applies to such a request"));
        lines.extend(answered.passed_over.iter().map(|rule| format!("passed over {}", named(rule))));
    }
    lines
}

fn refused(refused: &Refused) -> String {
    let Refused { status, code, detail, response_code_details, .. } = refused;
    format!("{status} {code}: {detail} (in Envoy's access log: {response_code_details})")
}

fn upstream(upstream: &Upstream) -> Vec<String> {
    let set = upstream.set.iter().map(|header| format!("upstream    gets {}: {:?}", header.name, header.value));
    let removed = upstream.removed.iter().map(|name| format!("upstream    does not get the client's {name}"));
    let replaced = upstream.replaced.iter().map(|name| format!("upstream    gets {name} without the token"));
    set.chain(removed).chain(replaced).collect()
}

fn told(token: &Told) -> Vec<String> {
    let absent = || "none".to_owned();
    let text = |value: &Option<String>| value.as_ref().map_or_else(absent, |value| format!("{value:?}"));
    let mut lines = match &token.key {
        Some(key) => proven(key),
        None => vec!["key         none: nothing proves what the token says".to_owned()],
    };
    lines.extend([
        format!("issuer      {:?}", token.issuer),
        format!("user        {}", text(&token.user)),
        format!("session     {}", text(&token.session)),
        format!("issued      {}", token.issued_at.map_or_else(absent, date)),
        format!("expires     {}", date(token.expires_at)),
    ]);
    lines
}

fn proven(key: &Key) -> Vec<String> {
    let name = key.kid.as_deref().map_or("without kid", shown);
    let thumbprint = key.thumbprint.as_deref().map(|it| format!(", thumbprint {}", shown(it))).unwrap_or_default();
    let mut lines = vec![format!("key         {} {name}{thumbprint}", key.algorithm)];
    if let Some(source) = &key.source {
        let since = key.changed_at.map(|at| format!(", in force since {}", date(at))).unwrap_or_default();
        lines.push(format!("of the set  from {source:?}{since}"));
    }
    lines
}

fn held_back(key: &HeldBack) -> String {
    let name = key.kid.as_deref().map_or("without kid", shown);
    let thumbprint = key.thumbprint.as_deref().map(|it| format!(", thumbprint {}", shown(it))).unwrap_or_default();
    let is = if key.signed { "signed by" } else { "names" };
    let since = date(key.since);
    format!(
        "held back   {is} the key {name}{thumbprint}, {} since {since}: this revokes all that it signed",
        shown(&key.state)
    )
}

fn kept(kept: &Kept, undated: bool) -> Vec<String> {
    let mut lines = vec![known(kept.registration.as_ref())];
    lines.extend(kept.revocations.iter().map(|found| revocation(found, undated)));
    if kept.revocations.is_empty() {
        lines.push("revocations none under the token's keys".to_owned());
    } else {
        lines.extend(workers(kept));
    }
    lines.push(format!("read at     {} in {}", kept.seq, kept.epoch));
    lines
}

fn workers(kept: &Kept) -> Vec<String> {
    let mut lines = Vec::new();
    if !kept.workers.is_empty() {
        let holds = kept.workers.iter().filter(|holder| holder.holds).count();
        lines.push(format!("workers     {holds} of {} hold what is above", kept.workers.len()));
        let lacks = kept.workers.iter().filter(|holder| !holder.holds);
        lines.extend(lacks.map(|it| format!("            {} at {} does not", it.worker.worker, it.worker.address)));
    }
    match kept.other_control_planes {
        0 => {}
        1 => lines.push("workers     1 other control plane was not asked; its workers are not among these".to_owned()),
        more => lines
            .push(format!("workers     {more} other control planes were not asked; their workers are not among these")),
    }
    lines
}

/// A token is known once it was registered or logged out; the row does not say which came first.
fn known(row: Option<&Registered>) -> String {
    match row {
        None => "known       no: neither registered nor logged out by itself".to_owned(),
        Some(row) => {
            let blocked = row.blocked_at.map(|at| {
                format!(", logged out {} by {}", date(at), row.block_reason.as_deref().unwrap_or("an unknown call"))
            });
            format!("known       since {}{}", date(row.created_at), blocked.unwrap_or_default())
        }
    }
}

fn revocation(found: &Found, undated: bool) -> String {
    let covers = match found.covers {
        Covers::Yes => "covers it",
        Covers::SameSecond if undated => {
            "the token does not say when it was issued: covers it unless it was registered later"
        }
        Covers::SameSecond => "of the second in which the token was issued: covers it unless it was registered later",
        Covers::Spared => "does not cover it: the logout was made from its session, and spares it",
        Covers::No => "does not cover it: the token was issued later",
    };
    let Found { kind, seq, reason, actor, created_at, expires_at, .. } = found;
    let (kind, made, kept) = (kind.as_str(), date(*created_at), date(*expires_at));
    format!("revocation  {kind} at {seq}, {made} by {actor} through {reason}, kept until {kept}: {covers}")
}

#[cfg(test)]
mod tests {
    use curfew_core::{Kind, RevocationKey};
    use serde_json::json;

    use super::*;
    use crate::explain::{Broken, Header, Rule};

    fn token(key: Option<Key>) -> Told {
        let user = Some("alice".to_owned());
        let (issued_at, expires_at) = (Some(1_700_000_000), 1_700_003_600);
        Told { issuer: String::new(), user, session: None, issued_at, cutoff_time: issued_at, expires_at, key }
    }

    fn key() -> Key {
        Key {
            algorithm: "RS256".to_owned(),
            kid: Some("k1".to_owned()),
            thumbprint: Some("abc".to_owned()),
            source: Some("https://a.example/jwks".to_owned()),
            changed_at: Some(1_700_000_000),
        }
    }

    fn revoked(other_control_planes: usize) -> Explanation {
        let found = Found {
            kind: Kind::Subject,
            key: RevocationKey::from_bytes([1; 16]),
            seq: 7,
            cutoff: 1_700_000_000,
            expires_at: 1_700_009_000,
            reason: "lgt_all".to_owned(),
            actor: "app".to_owned(),
            created_at: 1_700_000_000,
            covers: Covers::SameSecond,
        };
        let (revocations, workers) = (vec![found], Vec::new());
        let stored =
            Kept { epoch: "ab".into(), seq: 9, revocations, registration: None, workers, other_control_planes };
        let told = Explanation::unread(None);
        Explanation {
            accepted: true,
            revoked: Some(true),
            token: Some(token(Some(key()))),
            stored: Some(stored),
            ..told
        }
    }

    #[test]
    fn a_revoked_token_is_explained() {
        let lines = lines(&revoked(0));
        assert_eq!(lines[0], "logged out (token_revoked)");
        assert_eq!(lines[1], "key         RS256 k1, thumbprint abc");
        assert_eq!(lines[2], r#"of the set  from "https://a.example/jwks", in force since 2023-11-14T22:13:20Z"#);
        assert_eq!(
            lines[9],
            "revocation  subject at 7, 2023-11-14T22:13:20Z by app through lgt_all, kept until 2023-11-15T00:43:20Z: of the \
             second in which the token was issued: covers it unless it was registered later"
        );
        assert_eq!(lines.last().unwrap(), "read at     9 in ab");
    }

    #[test]
    fn a_token_without_a_time_is_told_in_words_of_its_own() {
        let mut explanation = revoked(0);
        let token = explanation.token.as_mut().unwrap();
        (token.issued_at, token.cutoff_time) = (None, None);
        let line = &lines(&explanation)[9];
        assert!(
            line.ends_with("the token does not say when it was issued: covers it unless it was registered later"),
            "{line}"
        );
    }

    #[test]
    fn a_token_of_an_issuer_without_keys_says_so_first() {
        let without = WithoutKeys {
            source: "https://a.example/jwks".to_owned(),
            error_code: Some("dns".to_owned()),
            error: Some("a.example has no address".to_owned()),
        };
        let explanation = Explanation { without_keys: Some(without), ..Explanation::unread(None) };
        let expected = "no keys of the token's issuer are known yet, so nothing proves the token: they come from \
                        \"https://a.example/jwks\"; the last question failed: \"a.example has no address\" (dns)";
        assert_eq!(lines(&explanation)[0], expected);
    }

    #[test]
    fn an_ambiguous_path_names_the_rules_that_do_not_apply() {
        let rule = |index: usize, action: &str| Rule { index, rule: json!({"prefix": "/public", "action": action}) };
        let answered = |rules: Vec<Rule>| Answered {
            decision: "admitted".into(),
            reason: "active".into(),
            token_in: None,
            rules,
            ambiguous: true,
            ambiguity: Some("path".into()),
            passed_over: vec![rule(0, "skip")],
            refusal: None,
            upstream: None,
            remarks: Vec::new(),
        };
        let why = "ambiguous   the path is ambiguous: programs may read it in several ways. No rule skip or optional \
                   applies to such a request";
        let over = r#"passed over rules[0] {"action":"skip","prefix":"/public"}"#;
        let none = "rule        none applies: the request needs a token";
        assert_eq!(judged(&answered(vec![])), [none, why, over]);
        let named = r#"rule        rules[1] {"action":"require","prefix":"/public"}"#;
        assert_eq!(judged(&answered(vec![rule(1, "require")])), [named, why, over]);
    }

    #[test]
    fn control_planes_that_were_not_asked_are_counted() {
        let told = |others: usize| lines(&revoked(others)).into_iter().find(|line| line.starts_with("workers"));
        assert_eq!(told(0), None);
        assert!(told(1).unwrap().contains("1 other control plane was not asked"));
        assert!(told(2).unwrap().contains("2 other control planes were not asked"));
    }

    #[test]
    fn a_token_that_nothing_proves_says_so() {
        let detail = "The signature does not verify.".to_owned();
        let refusal = Some(Broken { code: "token_invalid".into(), reason: "signature".into(), detail });
        let held = HeldBack {
            kid: Some("k1".to_owned()),
            thumbprint: Some("abc".to_owned()),
            state: "removed".to_owned(),
            since: 1_700_000_000,
            signed: true,
        };
        let explanation = Explanation {
            revoked: Some(false),
            token: Some(token(None)),
            held_back: Some(held),
            ..Explanation::unread(refusal)
        };
        let lines = lines(&explanation);
        assert_eq!(lines[0], "not accepted: The signature does not verify. (token_invalid, signature)");
        assert_eq!(lines[1], "key         none: nothing proves what the token says");
        assert_eq!(
            lines[7],
            "held back   signed by the key k1, thumbprint abc, removed since 2023-11-14T22:13:20Z: this revokes all that it signed"
        );
    }

    #[test]
    fn the_filters_answer_has_its_rule_and_what_the_upstream_gets() {
        let rules = vec![Rule { index: 2, rule: json!({"path": "/a", "action": "require"}) }];
        let set = vec![Header { name: "x-user-id".into(), value: "a\u{1b}[31m".into() }];
        let upstream = Upstream { set, removed: vec!["authorization".into()], replaced: vec![":path".into()] };
        let refusal = Refused {
            status: 403,
            code: "insufficient_scope".into(),
            detail: "It lacks a claim.".into(),
            response_code_details: "curfew_insufficient_scope".into(),
            challenge: None,
        };
        let reported = Answered {
            decision: "reported".into(),
            reason: "insufficient_scope".into(),
            token_in: Some("the header authorization".into()),
            rules,
            ambiguous: false,
            ambiguity: None,
            passed_over: Vec::new(),
            refusal: Some(refusal),
            upstream: Some(upstream),
            remarks: vec!["Mend this.".into()],
        };
        assert_eq!(
            answered(&reported),
            [
                "filter      admits it because of report_only, and would answer 403 insufficient_scope: It lacks a claim. (in \
                 Envoy's access log: curfew_insufficient_scope)",
                "token in    the header authorization",
                r#"rule        rules[2] {"action":"require","path":"/a"}"#,
                r#"upstream    gets x-user-id: "a\u{1b}[31m""#,
                "upstream    does not get the client's authorization",
                "upstream    gets :path without the token",
                "to mend     Mend this.",
            ]
        );
    }
}
