//! Text as a URI, and as the headers that hold one: read or refused; what is read prints and reads again as the
//! same, and equals itself.

use sip_proto::headers::{
    CSeq, CallInfo, Contacts, ContentType, Event, NameAddr, Params, Reason, RetryAfter, SubscriptionState,
    Via, Warning,
};
use sip_proto::uri::Uri;
use std::fmt::Debug;
use std::str::FromStr;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(uri) = text.parse::<Uri>() {
        let _ = (
            uri.user_decoded(),
            uri.header_fields().count(),
            uri.is_loose_route(),
            uri.transport(),
        );
        assert!(uri.equivalent(&uri), "a URI equals itself");
        let again = stable(&uri);
        assert!(uri.equivalent(&again) && again.equivalent(&uri));
        stable(&uri.address_of_record());
        stable(&uri.as_request_uri());
    }
    if let Ok(value) = text.parse::<NameAddr>() {
        let _ = (value.q(), value.expires(), value.tag());
        stable(&value);
    }
    if let Ok(value) = text.parse::<Via>() {
        let _ = (value.received(), value.rport(), value.branch());
        stable(&value);
    }
    if let Ok(value) = Params::parse(text) {
        assert_eq!(Params::parse(&value.to_string()), Ok(value));
    }
    header::<CSeq>(text);
    header::<Contacts>(text);
    header::<ContentType>(text);
    header::<Event>(text);
    header::<SubscriptionState>(text);
    header::<Reason>(text);
    header::<Warning>(text);
    header::<CallInfo>(text);
    header::<RetryAfter>(text);
}

fn header<T: FromStr<Err: Debug> + ToString>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        stable(&value);
    }
}

fn stable<T: FromStr<Err: Debug> + ToString>(value: &T) -> T {
    let text = value.to_string();
    let again: T = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
    assert_eq!(again.to_string(), text);
    again
}
