//! The HTTP side: one route table, two routers made of it, thin handlers, one error type.
//!
//! Every answer is `Cache-Control: no-store`, every error is `application/problem+json` with a stable code, whatever went
//! wrong: an unknown path, a body too large, a panic. A new endpoint is a row in [`ROUTES`], a handler in `public` or
//! `internal`, and a path in `openapi.json`.

mod authenticate;
mod connection;
mod connections;
mod counters;
mod endpoint;
mod entrance;
mod extract;
mod internal;
mod layers;
mod notices;
mod operations;
mod problem;
mod public;
mod records;
mod route;
mod router;
mod routes;
pub mod server;
mod state;
mod wording;

pub use authenticate::Caller;
pub use connection::Peer;
pub use connections::Terms;
pub use counters::{CheckLabels, ClosedLabels, ConnectionLabels, Counters, LogoutLabels, RefusalLabels, RequestLabels};
pub use endpoint::{Endpoint, EndpointService};
pub use entrance::{Call, Entrance, EntranceService, Entrances, LoggedOut};
pub use internal::MAX_TOKENS;
pub use notices::Notices;
pub use operations::OPENAPI;
pub use problem::ApiError;
pub use records::Records;
pub use route::{Access, Body, Listener, Method, Purpose};
pub use router::{internal_router, public_router};
pub use routes::{Kind, ROUTES, Route};
pub use state::AppState;
