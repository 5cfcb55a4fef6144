//! Digest authentication (RFC 7616, RFC 8760; RFC 3261 §22), both sides, without I/O.
//!
//! The server side ([`Verifier`]) makes challenges and judges answers; accounts are looked up by
//! the application, which stores [`Ha1`] values, never passwords. The client side ([`Client`])
//! answers the strongest challenge and counts nonce uses. `auth-int` is answered and judged, but never
//! asked for, because proxies rewrite bodies. Absent: `userhash` (RFC 8760 §2.4 leaves it out, so nobody may send it
//! unasked), `Authentication-Info`.

mod algorithm;
mod client;
mod nonce;
mod server;

pub use algorithm::{Algorithm, Ha1, ha1};
pub use client::{Client, Credentials, authorize, authorize_body, strongest};
pub use server::{NonceStanding, Policy, Refusal, Verifier};

use crate::headers::Authorization;
use crate::message::Method;

/// Digest of a request as client and server both reckon it (RFC 7616 §3.4.1). `auth` where the
/// answer names a qop, the form of RFC 2069 where it does not.
fn response(auth: &Authorization, ha1: &Ha1, method: &Method, body: &[u8]) -> String {
    let algorithm = auth.algorithm;
    let session;
    let secret = if algorithm == Algorithm::Md5Sess {
        let cnonce = auth.cnonce.as_deref().unwrap_or("");
        session = algorithm.hash(&[
            ha1.as_hex().as_bytes(),
            b":",
            auth.nonce.as_bytes(),
            b":",
            cnonce.as_bytes(),
        ]);
        session.as_str()
    } else {
        ha1.as_hex()
    };
    let method = method.as_str().as_bytes();
    let with_body = auth
        .qop
        .as_deref()
        .is_some_and(|qop| qop.eq_ignore_ascii_case("auth-int"));
    let ha2 = if with_body {
        let body = algorithm.hash(&[body]);
        algorithm.hash(&[method, b":", auth.uri.as_bytes(), b":", body.as_bytes()])
    } else {
        algorithm.hash(&[method, b":", auth.uri.as_bytes()])
    };
    match &auth.qop {
        None => algorithm.hash(&[
            secret.as_bytes(),
            b":",
            auth.nonce.as_bytes(),
            b":",
            ha2.as_bytes(),
        ]),
        Some(qop) => algorithm.hash(&[
            secret.as_bytes(),
            b":",
            auth.nonce.as_bytes(),
            b":",
            format!("{:08x}", auth.nc.unwrap_or(0)).as_bytes(),
            b":",
            auth.cnonce.as_deref().unwrap_or("").as_bytes(),
            b":",
            qop.as_bytes(),
            b":",
            ha2.as_bytes(),
        ]),
    }
}

#[cfg(test)]
mod vectors;
