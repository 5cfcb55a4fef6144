//! A datagram as a SIP message: read or refused; what is read prints, reads again as the same, and can be answered.

use sip_proto::ids::Tag;
use sip_proto::message::{HeaderName, Message, Response, StatusCode, parse};

pub fn run(data: &[u8]) {
    match parse(data) {
        Ok(message) => {
            let headers = message.headers();
            assert!(headers.top_via().is_ok() && headers.from().is_ok() && headers.to().is_ok());
            assert!(headers.call_id().is_ok() && headers.cseq().is_ok() && headers.max_forwards().is_ok());
            let _ = (
                headers.contacts(),
                headers.routes(),
                headers.record_routes(),
                headers.expires(),
            );
            let _ = (
                headers.event(),
                headers.subscription_state(),
                headers.retry_after(),
                headers.content_type(),
            );
            let _ = (
                headers.reasons(),
                headers.warnings(),
                headers.call_infos(),
                headers.tokens(&HeaderName::Require),
            );
            let printed = message.to_bytes();
            let again = parse(&printed).unwrap_or_else(|error| panic!("our own print is refused: {error}"));
            assert_eq!(again.to_bytes(), printed);
            assert_eq!(again.body(), message.body());
            if let Message::Request(request) = &message {
                let mut response = Response::to(request, StatusCode::RINGING);
                response.tag_to(&Tag::new("t"));
                parse(&response.to_bytes())
                    .unwrap_or_else(|error| panic!("our own response is refused: {error}"));
            }
        }
        Err(error) => {
            assert!(error.status().is_failure() && !error.to_string().is_empty());
            if let Some(request) = &error.salvage {
                let mut answer = Response::to(request, error.status());
                answer.tag_to(&Tag::new("t"));
                assert!(answer.to_bytes().starts_with(b"SIP/2.0 "));
            }
        }
    }
}
