//! Handlers that ask the focus: meetings and people.

use super::ApiState;
use super::guard::{Caller, need_trust};
use super::model::{
    CreatedMeeting, Meeting, Meetings, Mute, NewMeeting, Participant, Participants, Registration,
    Registrations,
};
use super::problem::Problem;
use crate::focus::api::{ApiReply, ApiRequest, Authority};
use crate::focus::ids::LegId;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

/// All living meetings.
#[utoipa::path(get, path = "/api/v1/meetings", tag = "meetings",
    responses((status = 200, body = Meetings), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Meetings>, Problem> {
    need_trust(&caller)?;
    let ApiReply::Meetings(views) = ask(&state, ApiRequest::List, &caller).await? else {
        return Err(Problem::unexpected());
    };
    let mut meetings: Vec<Meeting> = views.into_iter().map(Meeting::from).collect();
    meetings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Meetings { meetings }))
}

/// One meeting.
#[utoipa::path(get, path = "/api/v1/meetings/{name}", tag = "meetings",
    params(("name" = String, Path, description = "The meeting's name")),
    responses((status = 200, body = Meeting), (status = "default", body = Problem)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Meeting>, Problem> {
    need_trust(&caller)?;
    match ask(&state, ApiRequest::Show { name }, &caller).await? {
        ApiReply::Meeting(view) => Ok(Json(view.into())),
        _ => Err(Problem::unexpected()),
    }
}

/// Makes a meeting that waits for its first participant.
#[utoipa::path(post, path = "/api/v1/meetings", tag = "meetings", request_body = NewMeeting,
    responses((status = 201, body = CreatedMeeting), (status = "default", body = Problem)))]
pub(super) async fn create(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    need_trust(&caller)?;
    let body = body.map_err(|_| Problem::too_large())?;
    let wish: NewMeeting = if body.is_empty() {
        NewMeeting::default()
    } else {
        read(&body)?
    };
    let request = ApiRequest::Create {
        name: wish.name,
        subject: wish.subject,
    };
    let ApiReply::Created { meeting, token } = ask(&state, request, &caller).await? else {
        return Err(Problem::unexpected());
    };
    let place = format!("/api/v1/meetings/{}", meeting.name);
    let created = CreatedMeeting {
        meeting: meeting.into(),
        token,
    };
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(created)).into_response())
}

/// Ends a meeting for everybody; needs the creator's token or an administrator's.
#[utoipa::path(delete, path = "/api/v1/meetings/{name}", tag = "meetings",
    params(("name" = String, Path, description = "The meeting's name")), security(("bearer" = [])),
    responses((status = 204, description = "Ended"), (status = "default", body = Problem)))]
pub(super) async fn end(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    done(
        &state,
        ApiRequest::End {
            name,
            authority: caller.authority.clone(),
        },
        &caller,
    )
    .await
}

/// The people of a meeting with live figures.
#[utoipa::path(get, path = "/api/v1/meetings/{name}/participants", tag = "people",
    params(("name" = String, Path, description = "The meeting's name")),
    responses((status = 200, body = Participants), (status = "default", body = Problem)))]
pub(super) async fn participants(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Participants>, Problem> {
    need_trust(&caller)?;
    match ask(&state, ApiRequest::Participants { name }, &caller).await? {
        ApiReply::Participants(views) => Ok(Json(Participants {
            participants: views.into_iter().map(Participant::from).collect(),
        })),
        _ => Err(Problem::unexpected()),
    }
}

/// Removes a person; needs the creator's token or an administrator's.
#[utoipa::path(delete, path = "/api/v1/meetings/{name}/participants/{id}", tag = "people",
    params(("name" = String, Path, description = "The meeting's name"),
           ("id" = u32, Path, description = "The participant's id")), security(("bearer" = [])),
    responses((status = 204, description = "Removed"), (status = "default", body = Problem)))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path((name, leg)): Path<(String, u32)>,
) -> Result<StatusCode, Problem> {
    let request = ApiRequest::Remove {
        name,
        leg: LegId(leg),
        authority: caller.authority.clone(),
    };
    done(&state, request, &caller).await
}

/// Mutes or unmutes a person; needs the creator's token or an administrator's.
#[utoipa::path(post, path = "/api/v1/meetings/{name}/participants/{id}/mute", tag = "people", request_body = Mute,
    params(("name" = String, Path, description = "The meeting's name"),
           ("id" = u32, Path, description = "The participant's id")), security(("bearer" = [])),
    responses((status = 204, description = "Done"), (status = "default", body = Problem)))]
pub(super) async fn mute(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path((name, leg)): Path<(String, u32)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let wish: Mute = read(&body.map_err(|_| Problem::too_large())?)?;
    let request = ApiRequest::Mute {
        name,
        leg: LegId(leg),
        muted: wish.muted,
        authority: caller.authority.clone(),
    };
    done(&state, request, &caller).await
}

/// All registered phones.
#[utoipa::path(get, path = "/api/v1/registrations", tag = "people",
    responses((status = 200, body = Registrations), (status = "default", body = Problem)))]
pub(super) async fn registrations(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Registrations>, Problem> {
    need_trust(&caller)?;
    match ask(&state, ApiRequest::Registrations, &caller).await? {
        ApiReply::Registrations(views) => {
            let mut registrations: Vec<Registration> = views.into_iter().map(Registration::from).collect();
            registrations.sort_by(|a, b| a.aor.cmp(&b.aor));
            Ok(Json(Registrations { registrations }))
        }
        _ => Err(Problem::unexpected()),
    }
}

async fn ask(state: &ApiState, request: ApiRequest, caller: &Caller) -> Result<ApiReply, Problem> {
    match state.ask(request).await? {
        ApiReply::Refused(refusal) => Err(Problem::refused(refusal, caller.authority != Authority::None)),
        reply => Ok(reply),
    }
}

async fn done(state: &ApiState, request: ApiRequest, caller: &Caller) -> Result<StatusCode, Problem> {
    match ask(state, request, caller).await? {
        ApiReply::Done => Ok(StatusCode::NO_CONTENT),
        _ => Err(Problem::unexpected()),
    }
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|e| Problem::bad_request(format!("the body is not what is expected: {e}")))
}
