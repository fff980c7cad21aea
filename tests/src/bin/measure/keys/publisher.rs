//! The URL of an issuer's keys. It notes when the present set was first handed out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use curfew_testbed::local_server::LocalServer;
use curfew_testbed::ports::loopback;
use serde_json::Value;

pub(super) struct Publisher {
    server: LocalServer,
    published: Arc<Published>,
}

#[derive(Default)]
struct Published(Mutex<(Value, Option<Instant>)>);

impl Publisher {
    pub(super) fn start(set: Value) -> Result<Self> {
        let published = Arc::new(Published(Mutex::new((set, None))));
        let router = Router::new().fallback(get(hand_out)).with_state(Arc::clone(&published));
        Ok(Self { server: LocalServer::start(loopback(0), router)?, published })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/jwks", self.server.address())
    }

    /// Publishes another set.
    pub(super) fn publish(&self, set: Value) {
        *self.published.0.lock().unwrap_or_else(PoisonError::into_inner) = (set, None);
    }

    /// Forgets when the present set was handed out.
    pub(super) fn forget(&self) {
        self.published.0.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
    }

    /// When the present set was handed out first, if it was.
    pub(super) fn handed_out(&self) -> Option<Instant> {
        self.published.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

async fn hand_out(State(published): State<Arc<Published>>) -> Json<Value> {
    let mut published = published.0.lock().unwrap_or_else(PoisonError::into_inner);
    published.1.get_or_insert_with(Instant::now);
    Json(published.0.clone())
}
