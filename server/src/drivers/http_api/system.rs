//! Handlers about the server itself: events, version, health, metrics, the API's description.

use super::ApiState;
use super::guard::{Caller, need_trust};
use super::model::{Event, EventParameters, Events, Health, Version};
use super::problem::Problem;
use crate::drivers::limits::API_EVENTS;
use crate::focus::api::ApiRequest;
use crate::store::EventQuery;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

/// The whole API, as served at `/openapi.json`.
#[derive(OpenApi)]
#[openapi(
    info(title = "meet-server", description = "Meetings of a SIP conference server. Errors are problem documents \
        (RFC 9457) with a `code` for programs and a `way_out` for people. With --lan local sources need no token \
        except the creator's to end a meeting; otherwise all but health and version need `Authorization: Bearer`."),
    paths(
        super::meetings::list, super::meetings::show, super::meetings::create, super::meetings::end,
        super::meetings::participants, super::meetings::remove, super::meetings::mute,
        super::meetings::registrations, events, version, health, metrics
    ),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi
            .components
            .get_or_insert_default()
            .add_security_scheme("bearer", scheme);
    }
}

/// The event log, oldest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "system", params(EventParameters),
    responses((status = 200, body = Events), (status = "default", body = Problem)))]
pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    parameters: Result<Query<EventParameters>, QueryRejection>,
) -> Result<Json<Events>, Problem> {
    need_trust(&caller)?;
    let Query(wish) = parameters.map_err(|e| Problem::bad_request(e.body_text()))?;
    let since = wish.since.unwrap_or(0);
    let limit = wish.limit.unwrap_or(100);
    if limit == 0 || limit > API_EVENTS {
        return Err(Problem::bad_request(format!("limit is not 1 to {API_EVENTS}")));
    }
    let query = EventQuery {
        since,
        limit,
        meeting: wish.meeting,
    };
    let rows = state
        .store
        .events(query)
        .await
        .map_err(|e| Problem::store(e.to_string()))?;
    let next = rows.last().map_or(since, |row| row.id);
    Ok(Json(Events {
        events: rows.into_iter().map(Event::from).collect(),
        next,
    }))
}

/// What runs here.
#[utoipa::path(get, path = "/api/v1/version", tag = "system", responses((status = 200, body = Version)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version {
        name: "meet-server",
        version: env!("CARGO_PKG_VERSION"),
        api: "v1",
    })
}

/// Whether calls can be taken; 503 when not.
#[utoipa::path(get, path = "/health", tag = "system",
    responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(State(state): State<ApiState>) -> impl IntoResponse {
    let signalling = state.ask(ApiRequest::List).await.is_ok();
    let store = state.store.healthy().await;
    // Without the store calls go on, so only the signalling decides.
    let code = if signalling {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let status = if signalling && store { "ok" } else { "degraded" };
    (
        code,
        Json(Health {
            status,
            signalling,
            store,
        }),
    )
}

/// Counters in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, content_type = "text/plain", body = String), (status = "default", body = Problem)))]
pub(super) async fn metrics(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<impl IntoResponse, Problem> {
    need_trust(&caller)?;
    let text = state.metrics.text().map_err(|_| Problem::unexpected())?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text))
}

/// The API's description.
pub(super) async fn openapi() -> impl IntoResponse {
    Json(Description::openapi())
}
