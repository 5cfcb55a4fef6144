//! Placeholder: its owner fills it in.
