//! The conference focus (RFC 4353, RFC 4579), sans-IO.
