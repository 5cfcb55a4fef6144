//! Usages: what lives in a dialog and beside it. Calls, subscriptions, and a client's registration.
//!
//! Each is a state machine over the endpoint's common stack (transactions, dialog table, output); the endpoint
//! only finds the right one. Absent: the mixing of several usages in one dialog, but for plain requests (INFO,
//! MESSAGE, REFER …) within a call.

pub mod register;
pub(crate) mod session;
pub(crate) mod subscribe;
