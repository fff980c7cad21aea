//! `GET /readyz`: the parts that work, and the consequences of those that do not.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use curfew_core::Problem;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::{Doubt, Moment};
use crate::http::state::AppState;
use crate::leases::Others;

/// Shorter than a prober's usual patience of a second or more.
const READY_TIMEOUT: Duration = Duration::from_millis(900);

/// How well a part works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    /// It does not work, and checks are answered without it.
    Degraded,
    Down,
}

/// One part, and what its state means for callers.
#[derive(Debug, Clone, Copy, Serialize)]
struct Part {
    #[serde(skip)]
    name: &'static str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    consequence: Option<&'static str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    others: Option<Others>,
}

impl Part {
    const fn new(name: &'static str, status: Status, consequence: Option<&'static str>) -> Self {
        Self { name, status, consequence, others: None }
    }
}

/// 200 while checks are answered, 503 otherwise: a control plane that cannot carry out logouts is still of use to
/// filters.
pub(in crate::http) async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    let clock = clock(state.clock.moment());
    let parts = [Some(database(&state).await), redis(&state), control_planes(&state), clock];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let worst = parts.iter().map(|part| part.status).max().unwrap_or(Status::Ok);
    let shown: Map<_, _> = parts.iter().map(|part| (part.name.to_owned(), json!(part))).collect();
    if worst == Status::Down {
        unready(shown)
    } else {
        axum::Json(json!({"status": worst, "parts": shown})).into_response()
    }
}

async fn database(state: &AppState) -> Part {
    let part = |status, consequence| Part::new("database", status, consequence);
    let head = tokio::time::timeout(READY_TIMEOUT, state.records.head()).await;
    match head {
        Ok(Ok(head)) => {
            state.store_counters.feed_reaches(head.seq);
            if state.records.is_writable() {
                return part(Status::Ok, None);
            }
            part(Status::Degraded, Some("Checks are answered; the last logout or registration could not be written."))
        }
        // The cause is in the log and not in the answer: it may name hosts.
        _ => part(Status::Down, Some("Checks and logouts are answered with 503; tokens stay as they are.")),
    }
}

/// None where no Redis is configured.
fn redis(state: &AppState) -> Option<Part> {
    let consequence = "Checks ask the database; nothing is lost.";
    Some(match state.redis_copy.is_up()? {
        true => Part::new("redis", Status::Ok, None),
        false => Part::new("redis", Status::Degraded, Some(consequence)),
    })
}

/// None where this is the only control plane, and no other was lost within a minute.
fn control_planes(state: &AppState) -> Option<Part> {
    let others = state.leases.others();
    let consequence = "A control plane died or is cut off. For some seconds a logout waits for it, 2.1 s at most.";
    let (status, consequence) = match others {
        Others { alive: 0, lost: 0, .. } => return None,
        Others { lost: 0, .. } => (Status::Ok, None),
        _ => (Status::Degraded, Some(consequence)),
    };
    Some(Part { others: Some(others), ..Part::new("control_planes", status, consequence) })
}

/// None while the clock is not doubted. A doubted clock does not make the control plane unready: its checks are right, and
/// a restart does not mend a clock.
fn clock(moment: Moment) -> Option<Part> {
    let consequence = match moment.doubt()? {
        Doubt::Ahead => {
            "The wall clock is far ahead of the time that the database knows. Nothing that expired meanwhile is purged. \
             Set the clock right, or call `curfew clock accept` if it is."
        }
        Doubt::Behind => {
            "The wall clock is behind the time that the database knows, and logouts of all devices may be answered with 503. \
             Set the clock right, or call `curfew clock accept` if it is."
        }
    };
    Some(Part::new("clock", Status::Degraded, Some(consequence)))
}

/// A problem document that names the parts as well (RFC 9457 section 3.2).
fn unready(parts: Map<String, Value>) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": "A part that every answer needs does not work.",
        "code": "unavailable",
        "parts": parts,
    });
    let headers = [(CONTENT_TYPE, Problem::CONTENT_TYPE), (RETRY_AFTER, "1")];
    (status, headers, problem.to_string()).into_response()
}
