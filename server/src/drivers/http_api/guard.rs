//! Who may call: source, Host, Origin, token; in this order, before any handler.
//!
//! A web page can make a browser send requests to a loopback address, and DNS rebinding lets it
//! read the answers under its own name. So the Host must be an address or a name of ours, and
//! an Origin must be our own; everything else is 403.

use super::problem::Problem;
use super::{Access, ApiState, Ends};
use crate::focus::api::Authority;
use crate::focus::policy::is_local_source;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// What the request has proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// For requests that end something.
    pub(super) authority: Authority,
    /// May read and create.
    pub(super) trusted: bool,
}

pub(super) async fn check(
    State(state): State<ApiState>,
    ConnectInfo(ends): ConnectInfo<Ends>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&state.access, ends, request.uri(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            state.metrics.api_refused.inc();
            tracing::info!(remote = %ends.remote, code = problem.code, "API request refused");
            problem.into_response()
        }
    }
}

/// Trusted callers only.
pub(super) fn need_trust(caller: &Caller) -> Result<(), Problem> {
    if caller.trusted {
        Ok(())
    } else {
        Err(Problem::token_needed())
    }
}

fn admit(access: &Access, ends: Ends, uri: &axum::http::Uri, headers: &HeaderMap) -> Result<Caller, Problem> {
    if access.lan && !is_local_source(ends.remote.ip()) {
        return Err(Problem::foreign_source());
    }
    // An absolute request target takes the place of Host (RFC 9112 §3.2.2).
    let host = uri
        .authority()
        .map(|a| a.as_str().to_owned())
        .or_else(|| single(headers, header::HOST))
        .unwrap_or_default();
    if !is_ours(access, ends, host_name(&host)) {
        return Err(Problem::foreign_host(&host));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        // Same origin: scheme and then exactly what Host says.
        let same = origin
            .split_once("://")
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(&host));
        if !same {
            return Err(Problem::foreign_origin(origin));
        }
    }
    Ok(caller(access, bearer(headers)))
}

fn caller(access: &Access, token: Option<&str>) -> Caller {
    let Some(token) = token else {
        return Caller {
            authority: Authority::None,
            trusted: access.lan,
        };
    };
    // All are compared in full, so that the time says nothing.
    let known = access.tokens.iter().fold(false, |found, one| {
        found | bool::from(one.as_bytes().ct_eq(token.as_bytes()))
    });
    if known {
        return Caller {
            authority: Authority::Administrator,
            trusted: true,
        };
    }
    Caller {
        authority: Authority::Token(token.to_owned()),
        trusted: access.lan,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok().map(str::to_owned),
        _ => None,
    }
}

fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(ip, _)| ip);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// An address must be the one that was really connected to (or loopback, for port forwarding);
/// a name must be `localhost` or configured.
fn is_ours(access: &Access, ends: Ends, name: &str) -> bool {
    if let Ok(ip) = name.parse::<IpAddr>() {
        let ip = ip.to_canonical();
        return ip == ends.local.ip().to_canonical() || ip.is_loopback() || named(access, name);
    }
    name.eq_ignore_ascii_case("localhost") || named(access, name)
}

fn named(access: &Access, name: &str) -> bool {
    access.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(lan: bool) -> Access {
        Access {
            lan,
            tokens: vec!["0123456789abcdef".into()],
            hosts: vec!["meet.example".into()],
        }
    }

    fn ends(local: &str, remote: &str) -> Ends {
        Ends {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        }
    }

    fn code(access: &Access, ends: Ends, headers: &[(&'static str, &str)]) -> Result<Caller, &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        admit(access, ends, &"/x".parse().unwrap(), &map).map_err(|p| p.code)
    }

    #[test]
    fn hosts() {
        let here = ends("192.168.1.5:8080", "192.168.1.9:4000");
        for good in [
            "192.168.1.5:8080",
            "192.168.1.5",
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:8080",
            "MEET.example",
        ] {
            assert!(code(&access(true), here, &[("host", good)]).is_ok(), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8080",
            "203.0.113.1",
            "192.168.1.6",
            "",
            "[::",
            "localhost.evil.example",
        ] {
            assert_eq!(
                code(&access(true), here, &[("host", bad)]),
                Err("foreign-host"),
                "{bad}"
            );
        }
        assert_eq!(code(&access(true), here, &[]), Err("foreign-host"));
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(code(&access(true), here, &two), Err("foreign-host"));
    }

    #[test]
    fn origins() {
        let here = ends("127.0.0.1:8080", "127.0.0.1:4000");
        let host = ("host", "127.0.0.1:8080");
        assert!(code(&access(true), here, &[host, ("origin", "http://127.0.0.1:8080")]).is_ok());
        for bad in [
            "http://evil.example",
            "null",
            "http://127.0.0.1:9090",
            "http://localhost:8080",
        ] {
            assert_eq!(
                code(&access(true), here, &[host, ("origin", bad)]),
                Err("foreign-origin"),
                "{bad}"
            );
        }
    }

    #[test]
    fn sources_and_tokens() {
        let far = ends("192.0.2.1:8080", "203.0.113.7:4000");
        let host = ("host", "192.0.2.1:8080");
        assert_eq!(code(&access(true), far, &[host]), Err("foreign-source"));
        let nobody = code(&access(false), far, &[host]).unwrap();
        assert_eq!(
            nobody,
            Caller {
                authority: Authority::None,
                trusted: false
            }
        );
        let admin = code(
            &access(false),
            far,
            &[host, ("authorization", "Bearer 0123456789abcdef")],
        )
        .unwrap();
        assert_eq!(
            admin,
            Caller {
                authority: Authority::Administrator,
                trusted: true
            }
        );
        let creator = code(
            &access(false),
            far,
            &[host, ("authorization", "bearer room-token")],
        )
        .unwrap();
        assert_eq!(
            creator,
            Caller {
                authority: Authority::Token("room-token".into()),
                trusted: false
            }
        );
    }
}
