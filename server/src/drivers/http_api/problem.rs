//! Errors of the API as problem documents (RFC 9457), each with a code and the way out.

use crate::focus::api::ApiRefusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
    /// What to do.
    pub way_out: &'static str,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>, way_out: &'static str) -> Self {
        Self {
            status: status.as_u16(),
            code,
            detail: detail.into(),
            way_out,
        }
    }

    pub(super) fn foreign_host(host: &str) -> Self {
        let detail = format!("the Host header says `{host}`, which is not a name of this server");
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign-host",
            detail,
            "use the address in the ready line, or add the name to api.hosts",
        )
    }

    pub(super) fn foreign_origin(origin: &str) -> Self {
        let detail = format!("a web page of `{origin}` may not use this API");
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign-origin",
            detail,
            "call the API from its own origin or from a program",
        )
    }

    pub(super) fn foreign_source() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign-source",
            "with --lan only the local network is served",
            "call from the local network, or run the server with accounts instead of --lan",
        )
    }

    pub(super) fn token_needed() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "token-needed",
            "this needs a bearer token",
            "send `Authorization: Bearer TOKEN` with a token from api.tokens",
        )
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            detail,
            "see /openapi.json for what is expected",
        )
    }

    pub(super) fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "the body is too large",
            "send at most 64 kB",
        )
    }

    pub(super) fn no_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "there is nothing at this path",
            "see /openapi.json for all paths",
        )
    }

    pub(super) fn no_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "no-such-method",
            "this path does not know the method",
            "see /openapi.json for all methods",
        )
    }

    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the server is too busy to answer now",
            "try again in a few seconds",
        )
    }

    pub(super) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the server is shutting down",
            "try again after its restart",
        )
    }

    pub(super) fn store(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store",
            detail,
            "look at the server's log and its disk",
        )
    }

    pub(super) fn unexpected() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "unexpected",
            "the server answered itself something unexpected",
            "report this with the server's log",
        )
    }

    pub(super) fn refused(refusal: ApiRefusal, presented: bool) -> Self {
        use ApiRefusal as R;
        let (status, code, way_out) = match refusal {
            R::NoSuchMeeting => (
                StatusCode::NOT_FOUND,
                "no-such-meeting",
                "GET /api/v1/meetings lists all",
            ),
            R::NoSuchParticipant => (
                StatusCode::NOT_FOUND,
                "no-such-participant",
                "list the meeting's participants",
            ),
            R::Ended => (
                StatusCode::GONE,
                "ended",
                "use another name, or wait (meetings.ended_hold_seconds)",
            ),
            R::NameInUse => (
                StatusCode::CONFLICT,
                "name-in-use",
                "join that meeting, or choose another name",
            ),
            R::BadName => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "bad-name",
                "choose another name, or none for a made-up one",
            ),
            R::NotAllowed if presented => (
                StatusCode::FORBIDDEN,
                "wrong-token",
                "use the token that was given when the meeting was created",
            ),
            R::NotAllowed => (
                StatusCode::UNAUTHORIZED,
                "token-needed",
                "send `Authorization: Bearer TOKEN` with the creator's token of the meeting",
            ),
            R::TooManyMeetings => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-meetings",
                "end one, or raise meetings.max_rooms",
            ),
            R::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "try again in a few seconds",
            ),
            R::ShuttingDown => (
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "try again after its restart",
            ),
        };
        Self::new(status, code, refusal.to_string(), way_out)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"meet\""),
                );
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}
