//! What a request says about its sender and its purpose, cleaned for others to see.

use sip_proto::message::{HeaderName, Request};

use super::admission::Caller;
use super::limits;
use super::names;
use super::room_io::Person;

/// The Subject, cleaned.
pub fn subject_of(request: &Request) -> Option<String> {
    let subject = request.headers.get(&HeaderName::Subject)?;
    names::clean_text(subject, limits::MAX_SUBJECT)
}

/// Who calls: the display name of the From header, else the account's, else the user part.
pub fn person_of(request: &Request, caller: &Caller) -> Person {
    let headers = &request.headers;
    let from = headers.from().ok();
    let given = from.as_ref().and_then(|from| from.display.as_deref());
    let user = from.as_ref().and_then(|from| from.uri.user_decoded());
    let display = [given, caller.display(), user.as_deref()]
        .into_iter()
        .flatten()
        .find_map(|text| names::clean_text(text, limits::MAX_DISPLAY_NAME))
        .unwrap_or_else(|| "Guest".to_owned());
    Person {
        display,
        uri: from
            .map(|from| from.uri.address_of_record().to_string())
            .unwrap_or_default(),
        account: caller.account().map(str::to_owned),
        user_agent: headers
            .get(&HeaderName::UserAgent)
            .and_then(|text| names::clean_text(text, limits::MAX_USER_AGENT)),
        call_id: headers
            .call_id()
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default(),
    }
}
