//! What an operator has to mend, as a rehearsal of a filter has shown it, in sentences.

use curfew_core::{Compared, Differing};

use crate::keys::{Keys, Origin};

/// The most issuers, and the most settings, that are named.
const MOST_NAMED: usize = 20;

/// What went wrong while the filter's calls were answered.
#[derive(Default)]
pub(super) struct Noted {
    /// A poll was refused, because this control plane does not know all keyspaces of the filter.
    pub(super) no_lease: bool,
    /// A question was refused, because of its keyspace.
    pub(super) disagrees: bool,
    /// The filter has more issuers than a call for keys may name.
    pub(super) too_many: bool,
    /// The database did not answer.
    pub(super) silent: bool,
}

/// The remarks. `without_keys` are the issuers whose keys the filter has asked for in vain.
pub(super) fn of(keys: &Keys, compared: &Compared, noted: &Noted, without_keys: &[String]) -> Vec<String> {
    let mut remarks: Vec<_> = without_keys.iter().take(MOST_NAMED).map(|issuer| about(keys, issuer)).collect();
    remarks.extend(keyspaces(&compared.keyspace, noted));
    remarks.extend(compared.laxer.iter().take(MOST_NAMED).map(|laxer| {
        format!("The filter accepts tokens that the control plane refuses, and that cannot be logged out: {laxer}.")
    }));
    if noted.too_many {
        remarks.push("The filter has too many issuers: its calls for keys are refused (payload_too_large).".to_owned());
    }
    if noted.silent {
        remarks.push("The database did not answer a question of the filter.".to_owned());
    }
    remarks
}

/// What it means that both sides make other keys of tokens.
fn keyspaces(differing: &[Differing], noted: &Noted) -> Option<String> {
    let effect = match (noted.disagrees, noted.no_lease) {
        (true, _) => "The control plane refuses the filter's questions (keyspace_unknown)",
        (false, true) => {
            "The control plane gives workers of this filter no lease (keyspace_unknown), so they ask about each request"
        }
        (false, false) if differing.is_empty() => return None,
        (false, false) => {
            "The control plane refuses questions of this filter (keyspace_unknown); this request needs none of them"
        }
    };
    let settings: Vec<_> = differing.iter().take(MOST_NAMED).map(Differing::to_string).collect();
    Some(format!("{effect}. The settings differ: {}.", settings.join("; ")))
}

/// Why the filter gets no keys of this issuer.
fn about(keys: &Keys, issuer: &str) -> String {
    let known = keys.named(issuer).and_then(|place| keys.issuers().get(place));
    let why = match known.map(|known| &known.origin) {
        None => "which has no such issuer",
        Some(Origin::Secret) => "where it signs with a secret, which is never handed out",
        Some(_) => "which has none yet",
    };
    format!(
        "The filter takes the keys of the issuer {issuer:?} from the control plane, {why}: requests with its tokens wait for \
         them, and get 503."
    )
}
