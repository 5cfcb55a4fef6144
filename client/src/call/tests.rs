//! Scripted calls against a second endpoint.
