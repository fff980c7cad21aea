//! The route table: all endpoints of both listeners, each in one row.
//!
//! The routers, the paths that need no secret, the bounds on bodies and on time, and the stories that walk through all
//! endpoints derive from it, and `openapi.json` is compared with it. A new endpoint is a new row here. A row says
//! whether the endpoint is an [`Entrance`]. Then it is counted, limited and timed like every entrance, and its handler
//! can answer with nothing but a [`super::LoggedOut`] or an error.

use curfew_core::wire::{CHECK_PATH, FEED_PATH, KEYS_PATH, TOKENS_PATH};

use super::endpoint::{Endpoint, EndpointService};
use super::entrance::{Entrance, EntranceService};
use super::route::{Access, Body, Listener, Method, Purpose, SMALL_BODY};
use super::{internal, operations, public};

/// Where to ask for the progress of a logout.
pub(super) const STATUS_PATH: &str = "/api/v2/logout/status/{id}";

/// Bytes of a registration: a thousand tokens of 8 KiB with their devices, or fewer longer ones.
const TOKENS_BODY: usize = 10 * 1024 * 1024;

/// Bytes of the names of issuers.
pub(super) const KEYS_BODY: usize = 64 * 1024;

/// Bytes of a token to explain, of a filter's configuration and of a request's head, with their JSON.
const EXPLAIN_BODY: usize = 768 * 1024;

/// An endpoint.
#[derive(Debug)]
pub struct Route {
    /// The one method that it takes.
    pub method: Method,
    /// Its path, where `{id}` stands for a parameter.
    pub path: &'static str,
    /// Where it is reached.
    pub listener: Listener,
    /// How its callers show that they may call it.
    pub access: Access,
    /// What becomes of a request's body.
    pub body: Body,
    /// What it does.
    pub kind: Kind,
}

/// What an endpoint does, with its handler.
#[derive(Debug)]
pub enum Kind {
    /// It revokes. The name is its label in `curfew_logouts`.
    Entrance(&'static str, fn(Entrance) -> EntranceService),
    /// It revokes nothing.
    Endpoint(Purpose, fn(Endpoint) -> EndpointService),
}

impl Route {
    /// Its name, if it is an entrance.
    pub const fn entrance(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Entrance(name, _) => Some(name),
            Kind::Endpoint(..) => None,
        }
    }

    /// The second spelling of its path, if it is one that clients log out at: with a slash at the end. Many clients and
    /// frameworks write one, and their logout must not be lost.
    pub fn with_slash(&self) -> Option<String> {
        (self.entrance().is_some() && self.listener == Listener::Public).then(|| format!("{}/", self.path))
    }
}

/// All endpoints.
pub static ROUTES: [Route; 20] = [
    Route {
        method: Method::Post,
        path: "/api/v2/logout",
        listener: Listener::Public,
        access: Access::Token,
        body: Body::OptionalJson { most: SMALL_BODY },
        kind: Kind::Entrance("logout", |entrance| entrance.handled_by(public::logout)),
    },
    Route {
        method: Method::Post,
        path: "/api/v2/logout-all-device",
        listener: Listener::Public,
        access: Access::Token,
        body: Body::Unread,
        kind: Kind::Entrance("logout_all_device", |entrance| entrance.handled_by(public::logout_all_device)),
    },
    Route {
        method: Method::Get,
        path: STATUS_PATH,
        listener: Listener::Public,
        access: Access::Open,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(public::status)),
    },
    Route {
        method: Method::Post,
        path: "/api/v2/lgt-all",
        listener: Listener::Internal,
        access: Access::Application,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Entrance("lgt_all", |entrance| entrance.handled_by(internal::lgt_all)),
    },
    Route {
        method: Method::Post,
        path: CHECK_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(internal::check)),
    },
    Route {
        method: Method::Post,
        path: FEED_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Endpoint(Purpose::LongPoll, |endpoint| endpoint.handled_by(internal::feed)),
    },
    Route {
        method: Method::Post,
        path: KEYS_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: KEYS_BODY },
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(internal::keys)),
    },
    Route {
        method: Method::Get,
        path: internal::SETS_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(internal::sets)),
    },
    Route {
        method: Method::Post,
        path: internal::REFRESH_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Entrance("keys_refresh", |entrance| entrance.handled_by(internal::refresh)),
    },
    Route {
        method: Method::Post,
        path: internal::REMOVE_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Entrance("keys_remove", |entrance| entrance.handled_by(internal::remove)),
    },
    Route {
        method: Method::Post,
        path: internal::DISTRUST_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Entrance("keys_distrust", |entrance| entrance.handled_by(internal::distrust)),
    },
    Route {
        method: Method::Post,
        path: internal::TRUST_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: SMALL_BODY },
        kind: Kind::Entrance("keys_trust", |entrance| entrance.handled_by(internal::trust)),
    },
    Route {
        method: Method::Get,
        path: "/internal/v1/gateways",
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(internal::gateways)),
    },
    Route {
        method: Method::Post,
        path: TOKENS_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: TOKENS_BODY },
        kind: Kind::Endpoint(Purpose::Write, |endpoint| endpoint.handled_by(internal::register)),
    },
    Route {
        method: Method::Get,
        path: "/internal/v1/users/{id}/sessions",
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(internal::sessions)),
    },
    Route {
        method: Method::Post,
        path: internal::EXPLAIN_PATH,
        listener: Listener::Internal,
        access: Access::InternalSecret,
        body: Body::Json { most: EXPLAIN_BODY },
        kind: Kind::Endpoint(Purpose::Read, |endpoint| endpoint.handled_by(internal::explain)),
    },
    Route {
        method: Method::Get,
        path: "/livez",
        listener: Listener::Internal,
        access: Access::Open,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Probe, |endpoint| endpoint.handled_by(operations::livez)),
    },
    Route {
        method: Method::Get,
        path: "/readyz",
        listener: Listener::Internal,
        access: Access::Open,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Probe, |endpoint| endpoint.handled_by(operations::readyz)),
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        listener: Listener::Internal,
        access: Access::Open,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Probe, |endpoint| endpoint.handled_by(operations::metrics)),
    },
    Route {
        method: Method::Get,
        path: "/openapi.json",
        listener: Listener::Internal,
        access: Access::Open,
        body: Body::Unread,
        kind: Kind::Endpoint(Purpose::Probe, |endpoint| endpoint.handled_by(operations::openapi)),
    },
];
