//! What a filter would answer to a request with the token, as operators are told it.

use curfew_filter::gate::Refusal;
use curfew_filter::permit::{Edits, Mark, Permit, Reason};
use curfew_filter::rehearsal::Rehearsed;
use curfew_filter::rules::Ambiguity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a filter would answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// `admitted`, `refused`, or `reported`: admitted, because `report_only` holds the refusal back.
    pub decision: String,
    /// Why: the code of the refusal, or `active`, `skipped`, `preflight`, `anonymous` or `unavailable`.
    pub reason: String,
    /// Where the token was put; absent for a request without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_in: Option<String>,
    /// The rules that apply. Without any, the request needs a token.
    pub rules: Vec<Rule>,
    /// True if programs may read the path in several ways, or a header names another one: then no rule opens anything, and
    /// what any rule asks of a token is asked.
    pub ambiguous: bool,
    /// Why that is so: `path` or `redirect`. Absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambiguity: Option<String>,
    /// The rules `skip` and `optional` that would match, and do not apply because of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<Rule>,
    /// The refusal, also one that `report_only` holds back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refused>,
    /// What becomes of the request's headers. Absent if it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    /// What an operator has to mend, in sentences.
    pub remarks: Vec<String>,
}

/// A rule of the filter's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its place in `rules`, from 0.
    pub index: usize,
    /// The rule.
    pub rule: Value,
}

/// A refusal as the client gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// A sentence.
    pub detail: String,
    /// What Envoy's access log shows as response code details.
    pub response_code_details: String,
    /// `WWW-Authenticate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge: Option<String>,
}

/// How the request's headers are changed before the upstream gets them. The token is never shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// The headers that are set.
    pub set: Vec<Header>,
    /// The names of those that are removed.
    pub removed: Vec<String>,
    /// The names of those out of which the token is taken.
    pub replaced: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value, which comes from a claim.
    pub value: String,
}

impl Answered {
    /// What was rehearsed. `rule` gives the text of a rule.
    pub fn of(
        rehearsed: Rehearsed,
        rule: impl Fn(usize) -> Option<Value>,
        token_in: Option<String>,
        remarks: Vec<String>,
    ) -> Self {
        let Rehearsed { decision, withheld, applied, .. } = rehearsed;
        let mark = match &decision {
            Ok(Permit { reason, .. }) => Mark::admitted(*reason),
            Err(refusal) => Mark::refused(refusal.denial),
        };
        let named = |places: Vec<usize>| -> Vec<_> {
            places.into_iter().filter_map(|index| Some(Rule { index, rule: rule(index)? })).collect()
        };
        let ambiguity = applied.ambiguity.map(|ambiguity| match ambiguity {
            Ambiguity::Path => "path".to_owned(),
            Ambiguity::Redirect => "redirect".to_owned(),
        });
        let (refusal, upstream) = match decision {
            Ok(Permit { reason: Reason::ReportOnly(_), edits, .. }) => (withheld, Some(edits)),
            Ok(Permit { edits, .. }) => (None, Some(edits)),
            Err(refusal) => (Some(refusal), None),
        };
        Self {
            decision: mark.decision.to_owned(),
            reason: mark.reason.to_owned(),
            token_in,
            rules: named(applied.rules),
            ambiguous: ambiguity.is_some(),
            ambiguity,
            passed_over: named(applied.passed_over),
            refusal: refusal.map(Refused::from),
            upstream: upstream.map(Upstream::from),
            remarks,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let denial = refusal.denial;
        Self {
            status: denial.status(),
            code: denial.code().to_owned(),
            response_code_details: refusal.details(),
            challenge: denial.challenge().map(str::to_owned),
            detail: refusal.detail,
        }
    }
}

impl From<Edits> for Upstream {
    fn from(edits: Edits) -> Self {
        let set = edits.set.iter().map(|(name, value)| Header { name: name.to_string(), value: value.to_string() });
        let replaced = edits.replace.iter().map(|(name, _)| (*name).to_owned()).collect();
        let removed = edits.remove.iter().map(|name| name.escape_ascii().to_string()).collect();
        Self { set: set.collect(), removed, replaced }
    }
}
