//! pcapng writer (stub).
