//! The HTTP API: meetings, people, events, health and metrics for programs and scripts.
//!
//! A request passes the guard (source, Host, Origin, bearer token; see [`guard`]), becomes an
//! `ApiRequest` for the focus or a question to the store, and its answer becomes JSON. Errors
//! are problem documents (RFC 9457) with a code and the way out. Deliberately absent: TLS (a
//! reverse proxy or a later issue), sessions and cookies: there is nothing that a browser of
//! somebody else could send along.

mod connection;
mod guard;
mod meetings;
mod model;
mod problem;
mod system;

use super::limits::{API_BODY, API_TIMEOUT};
use super::signalling::Internal;
use crate::focus::api::{ApiReply, ApiRequest};
use crate::store::Store;
use crate::telemetry::Metrics;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use problem::Problem;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// What every handler can reach.
#[derive(Clone)]
pub struct ApiState {
    pub(super) internal: mpsc::Sender<Internal>,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) access: Arc<Access>,
}

/// Who may do what.
#[derive(Debug)]
pub struct Access {
    /// Open mode: local sources need no token to read or create.
    pub lan: bool,
    /// Administrators' tokens.
    pub tokens: Vec<String>,
    /// Further names for the Host header.
    pub hosts: Vec<String>,
}

impl ApiState {
    /// Bundles what the handlers need.
    pub fn new(
        internal: mpsc::Sender<Internal>,
        store: Store,
        metrics: Arc<Metrics>,
        access: Access,
    ) -> Self {
        Self {
            internal,
            store,
            metrics,
            access: Arc::new(access),
        }
    }

    /// Asks the focus.
    async fn ask(&self, request: ApiRequest) -> Result<ApiReply, Problem> {
        let (reply, answer) = oneshot::channel();
        let asked = self.internal.send(Internal::Api { request, reply });
        tokio::time::timeout(API_TIMEOUT, async {
            asked.await.map_err(|_| Problem::stopping())?;
            answer.await.map_err(|_| Problem::stopping())
        })
        .await
        .map_err(|_| Problem::busy())?
    }
}

/// Both ends of the connection of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// All routes behind the guard.
pub fn router(state: ApiState) -> Router {
    let one = "/api/v1/meetings/{name}";
    Router::new()
        .route("/api/v1/meetings", get(meetings::list).post(meetings::create))
        .route(one, get(meetings::show).delete(meetings::end))
        .route(&format!("{one}/end"), post(meetings::end))
        .route(&format!("{one}/participants"), get(meetings::participants))
        .route(&format!("{one}/participants/{{leg}}"), delete(meetings::remove))
        .route(&format!("{one}/participants/{{leg}}/mute"), post(meetings::mute))
        .route("/api/v1/registrations", get(meetings::registrations))
        .route("/api/v1/events", get(system::events))
        .route("/api/v1/version", get(system::version))
        .route("/health", get(system::health))
        .route("/metrics", get(system::metrics))
        .route("/openapi.json", get(system::openapi))
        .fallback(async || Problem::no_route())
        .method_not_allowed_fallback(async || Problem::no_method())
        .layer(axum::middleware::from_fn_with_state(state.clone(), guard::check))
        .layer(axum::middleware::from_fn_with_state(state.clone(), time_limit))
        .layer(DefaultBodyLimit::max(API_BODY))
        .with_state(state)
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, state: ApiState) -> std::io::Result<()> {
    connection::serve(listener, router(state)).await
}

async fn time_limit(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    state.metrics.api_requests.inc();
    match tokio::time::timeout(API_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::busy().into_response(),
    }
}
