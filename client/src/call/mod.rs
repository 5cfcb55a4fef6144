//! stub
/// err
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// x
    #[error("x")]
    X,
}
