//! The parts of `meet-bench`, one file each: its arguments, its run against a real server, its table.
//!
//! A part prints what it measured and judges nothing: figures of a shared machine are for people to read. Absent
//! on purpose: criterion's micro benches, which live in their crates (`scripts/bench` runs both).

pub mod attack;
pub mod calls;
pub mod large;
pub mod media;
pub mod overload;
pub mod register;
pub mod stall;

use std::collections::BTreeMap;

use crate::server::{Server, ServerError};

/// Whatever ends a part early; printed by `meet-bench`.
pub type Failure = Box<dyn std::error::Error>;

/// A server of its own for a run, in an empty directory that goes with it.
pub struct Host {
    /// The server.
    pub server: Server,
    // After the server, so that it is removed when nobody writes there any more.
    _data: tempfile::TempDir,
}

impl Host {
    /// `meet-server --lan` with settings from the environment (`MEET_…`).
    pub fn start(settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let server = Server::start_lan_at("127.0.0.1:0", data.path(), &[], settings)?;
        Ok(Self { server, _data: data })
    }

    /// The server's metrics, by name; those of the shards summed.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>, Failure> {
        let url = format!("http://{}/metrics", self.server.http);
        let error = |source| ServerError::Api {
            url: url.clone(),
            source: Box::new(source),
        };
        let text = ureq::get(&url)
            .call()
            .map_err(error)?
            .body_mut()
            .read_to_string()
            .map_err(error)?;
        Ok(read_metrics(&text))
    }
}

/// Prometheus' text format: values by name, with all labels summed up.
fn read_metrics(text: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = key.split('{').next().unwrap_or(key);
        if let Ok(value) = value.parse::<f64>() {
            *values.entry(name.to_owned()).or_default() += value;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_labels() {
        let text = "# HELP a b\nmeet_shard_missed_ticks_total{shard=\"0\"} 2\nmeet_shard_missed_ticks_total{shard=\"1\"} 3\nmeet_rooms 4\n";
        let values = read_metrics(text);
        assert_eq!(values.get("meet_shard_missed_ticks_total"), Some(&5.0));
        assert_eq!(values.get("meet_rooms"), Some(&4.0));
    }
}
