//! The files in `docs/clients/`: what they make of each answer, and that a token that they log out is dead at Envoy.

mod answers;
mod applications;
mod controller;
mod for_real;

use std::sync::Arc;

use curfew_testbed::clients::{Call, Client, Installed, Played, Settings};
use serde_json::Value;

/// The client, or `None` where this machine has no PHP or no Java, after a warning.
fn installed(client: Client) -> Option<Arc<Installed>> {
    client.install().unwrap_or_else(|error| panic!("{error:#}"))
}

/// Plays calls, and looks for tokens, users and secrets in what is printed.
fn play(client: &Installed, settings: &Settings, calls: &[Call<'_>]) -> Vec<Value> {
    let Played { results, printed } = client.play(settings, calls).unwrap_or_else(|error| panic!("{error:#}"));
    let told = format!("{results:?}{printed}");
    let subjects = calls.iter().map(|(_, subject)| subject.trim());
    for confidential in subjects.chain([settings.secret.as_str(), settings.app_key.as_str()]) {
        assert!(confidential.len() < 8 || !told.contains(confidential), "{confidential} is shown: {told}");
    }
    results
}

/// The outcome in a result; of a call that tells more than an outcome, `done`.
fn outcome(result: &Value) -> String {
    match &result["outcome"] {
        Value::String(outcome) => outcome.clone(),
        Value::Object(_) => "done".into(),
        _ => result.to_string(),
    }
}
