//! Messages with a fault, and sound ones that cannot be served: RFC 4475 §3.1.2 and on.

use crate::case::{Case, Stream};
use crate::draft::{Draft, OFFER};

fn options(name: &str) -> Draft {
    Draft::request(name, "OPTIONS", "sip:called@meet.example")
}

fn invite(name: &str) -> Draft {
    Draft::request(name, "INVITE", "sip:called@meet.example")
}

fn register(name: &str, contact: &str) -> Vec<u8> {
    Draft::request(name, "REGISTER", "sip:meet.example")
        .line("Contact", contact)
        .bytes()
}

/// RFC 4475 §3.1.2.
pub const INVALID: &[Case] = &[
    Case::broken(
        "4475 3.1.2.1",
        "rfc4475/badinv01.dat",
        "separators with nothing between them",
        &[400],
        || {
            invite("commas")
                .set(
                    "Via",
                    "SIP/2.0/UDP commas.meet.example;branch=z9hG4bKcommas;;,;,,",
                )
                .set("Contact", "<sip:caller@127.0.0.1>;;;")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.2",
        "rfc4475/clerr.dat",
        "Content-Length larger than the datagram",
        &[400],
        || invite("short").set("Content-Length", "9000").bytes(),
    )
    .on_streams(Stream::Waits),
    Case::broken(
        "4475 3.1.2.3",
        "rfc4475/ncl.dat",
        "a negative Content-Length",
        &[400],
        || invite("negative").set("Content-Length", "-1").bytes(),
    )
    .on_streams(Stream::Closes),
    Case::broken(
        "4475 3.1.2.4",
        "rfc4475/scalar02.dat",
        "numbers too large for their fields",
        &[400],
        || {
            options("scalar")
                .set("CSeq", "4294967296 OPTIONS")
                .set("Max-Forwards", "256")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.5",
        "rfc4475/scalarlg.dat",
        "a response with numbers too large",
        &[],
        || {
            Draft::response("large", "503 Busy")
                .set("CSeq", "18446744073709551616 OPTIONS")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.6",
        "rfc4475/quotbal.dat",
        "a quote that is never closed",
        &[400],
        || {
            invite("quote")
                .set("To", "\"called <sip:called@meet.example>")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.7",
        "rfc4475/ltgtruri.dat",
        "<> about the request URI",
        &[400],
        || Draft::request("angle", "INVITE", "<sip:called@meet.example>").bytes(),
    ),
    Case::broken(
        "4475 3.1.2.8",
        "rfc4475/lwsruri.dat",
        "white space in the request URI",
        &[400],
        || Draft::request("blank", "INVITE", "sip:called@meet.example; lr").bytes(),
    ),
    Case::either(
        "4475 3.1.2.9",
        "rfc4475/lwsstart.dat",
        "two blanks in the start line",
        &[400, 200],
        || {
            invite("blanks")
                .start("INVITE  sip:called@meet.example  SIP/2.0")
                .bytes()
        },
    ),
    Case::either(
        "4475 3.1.2.10",
        "rfc4475/trws.dat",
        "blanks behind the start line",
        &[400, 200],
        || {
            options("tail")
                .start("OPTIONS sip:called@meet.example SIP/2.0 \t ")
                .bytes()
        },
    ),
    Case::either(
        "4475 3.1.2.11",
        "rfc4475/escruri.dat",
        "headers in the request URI",
        &[400, 404],
        || {
            Draft::request(
                "headers",
                "INVITE",
                "sip:called@meet.example?Route=%3Csip:127.0.0.9%3E",
            )
            .bytes()
        },
    ),
    Case::either(
        "4475 3.1.2.12",
        "rfc4475/baddate.dat",
        "a Date that is not in GMT",
        &[400, 200, 488],
        || {
            invite("date")
                .line("Date", "Mon, 02 Nov 2026 10:00:00 CET")
                .bytes()
        },
    ),
    Case::either(
        "4475 3.1.2.13",
        "rfc4475/regbadct.dat",
        "a Contact with headers and no <>",
        &[400],
        || register("glued", "sip:called@127.0.0.1?Route=%3Csip:127.0.0.9%3E"),
    ),
    Case::either(
        "4475 3.1.2.14",
        "rfc4475/badaspec.dat",
        "blanks inside an address",
        &[400, 200],
        || options("spec").set("To", "< sip:called@meet.example >").bytes(),
    ),
    Case::either(
        "4475 3.1.2.15",
        "rfc4475/baddn.dat",
        "a display name that needs quotes and has none",
        &[400],
        || {
            options("name")
                .set("From", "Caller, The <sip:caller@meet.example>;tag=fname")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.16",
        "rfc4475/badvers.dat",
        "an unknown protocol version",
        &[505],
        || {
            options("version")
                .start("OPTIONS sip:called@meet.example SIP/3.1")
                .set("Via", "SIP/3.1/UDP version.meet.example;branch=z9hG4bKversion")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.17",
        "rfc4475/mismatch01.dat",
        "CSeq names another method",
        &[400],
        || options("method").set("CSeq", "11 INVITE").bytes(),
    ),
    Case::broken(
        "4475 3.1.2.18",
        "rfc4475/mismatch02.dat",
        "CSeq names another method than an unknown one",
        &[501, 400],
        || {
            Draft::request("unknown", "X-NEW", "sip:called@meet.example")
                .set("CSeq", "11 INVITE")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.1.2.19",
        "rfc4475/bigcode.dat",
        "a status code of more than three digits",
        &[],
        || Draft::response("code", "8589934792 no").bytes(),
    ),
];

/// RFC 4475 §3.2 to §3.4.
pub const UNSERVED: &[Case] = &[
    Case::either(
        "4475 3.2.1",
        "rfc4475/badbranch.dat",
        "a branch that is the magic cookie and nothing else",
        &[400, 200],
        || {
            options("cookie")
                .set("Via", "SIP/2.0/UDP cookie.meet.example;branch=z9hG4bK")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.3.1",
        "rfc4475/insuf.dat",
        "Call-ID, From and To are missing",
        &[400],
        || {
            invite("absent")
                .without("From")
                .without("To")
                .without("Call-ID")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.3.2",
        "rfc4475/unkscm.dat",
        "a request URI of an unknown scheme",
        &[416],
        || Draft::request("scheme", "OPTIONS", "x-nowhere:somebody").bytes(),
    ),
    Case::sound(
        "4475 3.3.3",
        "rfc4475/novelsc.dat",
        "a request URI of a known scheme that is none of SIP's",
        &[416],
        || Draft::request("novel", "OPTIONS", "http://127.0.0.1:8080/x").bytes(),
    ),
    Case::sound(
        "4475 3.3.4",
        "rfc4475/unksm2.dat",
        "To and Contact of unknown schemes in a registration",
        &[400, 404],
        || {
            Draft::request("schemes", "REGISTER", "sip:meet.example")
                .set("To", "<x-nowhere:somebody>")
                .line("Contact", "<x-elsewhere:somebody>")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.3.5",
        "rfc4475/bext01.dat",
        "extensions required that nobody has",
        &[420],
        || {
            options("require")
                .line("Require", "x-one, x-two")
                .line("Proxy-Require", "x-three")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.3.6",
        "rfc4475/invut.dat",
        "a body of an unknown type in an INVITE",
        &[415],
        || {
            invite("type")
                .set("Content-Type", "application/x-nothing")
                .body(b"<nothing/>")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.3.7",
        "rfc4475/regaut01.dat",
        "credentials of an unknown scheme",
        &[200],
        || {
            Draft::request("scheme2", "REGISTER", "sip:meet.example")
                .line("Authorization", "X-Handshake level=\"9\", word=\"a,b\"")
                .line("Contact", "<sip:called@127.0.0.1:5999>")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.3.8",
        "rfc4475/multi01.dat",
        "headers that may stand once, standing twice",
        &[400],
        || {
            invite("twice")
                .line("CSeq", "12 INVITE")
                .line("Call-ID", "second@meet.example")
                .line("To", "<sip:second@meet.example>")
                .line("From", "<sip:second@meet.example>;tag=2")
                .line("Max-Forwards", "7")
                .bytes()
        },
    ),
    Case::broken(
        "4475 3.3.9",
        "rfc4475/mcl01.dat",
        "two different Content-Length",
        &[400],
        || {
            options("lengths")
                .line("Content-Length", "7")
                .body(b"which of them")
                .bytes()
        },
    )
    .on_streams(Stream::Closes),
    Case::sound(
        "4475 3.3.10",
        "rfc4475/bcast.dat",
        "a response whose second Via is a broadcast address",
        &[],
        || {
            Draft::response("broadcast", "200 OK")
                .line("Via", "SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKall")
                .bytes()
        },
    ),
    Case::sound(
        "4475 3.3.11",
        "rfc4475/zeromf.dat",
        "Max-Forwards 0 at its destination",
        &[200],
        || options("zero").set("Max-Forwards", "0").bytes(),
    ),
    Case::sound(
        "4475 3.3.12",
        "rfc4475/cparam01.dat",
        "an unknown parameter of a Contact",
        &[200],
        || register("outside", "sip:called@127.0.0.1;x-outside"),
    ),
    Case::sound(
        "4475 3.3.13",
        "rfc4475/cparam02.dat",
        "an unknown parameter of a Contact's URI",
        &[200],
        || register("within", "<sip:called@127.0.0.1;x-within>"),
    ),
    Case::sound(
        "4475 3.3.14",
        "rfc4475/regescrt.dat",
        "a Contact's URI with headers",
        &[200],
        || register("query", "<sip:called@127.0.0.1?Route=%3Csip:127.0.0.9%3E>"),
    ),
    Case::sound(
        "4475 3.3.15",
        "rfc4475/sdp01.dat",
        "Accept without application/sdp in an INVITE",
        &[406, 400],
        || invite("accept").line("Accept", "text/x-nothing").bytes(),
    ),
    Case::sound(
        "4475 3.4.1",
        "rfc4475/inv2543.dat",
        "an INVITE as RFC 2543 had it: no branch, no Max-Forwards, no length",
        &[200, 488],
        || {
            invite("old")
                .set("Via", "SIP/2.0/UDP old.meet.example")
                .without("Max-Forwards")
                .without("Content-Length")
                .body(OFFER.as_bytes())
                .bytes()
        },
    )
    .on_streams(Stream::Closes),
    Case::broken(
        "4475 archive",
        "rfc4475/test.dat",
        "a start line without version, a line without colon",
        &[400],
        || {
            options("relic")
                .start("OPTIONS sip:called@meet.example")
                .line("X-Relic", "1\r\nno colon here")
                .bytes()
        },
    ),
];
