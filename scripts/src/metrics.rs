//! `/metrics` of a server, as tests, benches and the soak read it.
//!
//! A name that nobody writes is an error and never a zero: a counter that was renamed must not make a test pass.
//! Absent on purpose: types and help texts of the format.

/// Nobody writes a value of this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("/metrics has no {0}")]
pub struct UnknownMetric(pub String);

/// One reading of all values.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Each with its labels as they were written.
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// Reads Prometheus' text format.
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            Some((key.to_owned(), value.parse().ok()?))
        });
        Self {
            samples: samples.collect(),
        }
    }

    /// The sum over all labels of `name`, or the one value of `name{label="…"}`.
    ///
    /// # Errors
    /// When nobody writes it.
    pub fn value(&self, name: &str) -> Result<f64, UnknownMetric> {
        let mut all = self.samples_of(name).peekable();
        if all.peek().is_none() {
            return Err(UnknownMetric(name.to_owned()));
        }
        Ok(all.map(|(_, value)| value).sum())
    }

    /// The values of these names, a line for each label.
    ///
    /// # Errors
    /// When nobody writes one of them.
    pub fn lines(&self, names: &[&str]) -> Result<Vec<String>, UnknownMetric> {
        let mut lines = Vec::new();
        for name in names {
            self.value(name)?;
            lines.extend(self.samples_of(name).map(|(key, value)| format!("{key} {value}")));
        }
        Ok(lines)
    }

    fn samples_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a (String, f64)> {
        self.samples.iter().filter(move |(key, _)| {
            key.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE meet_rooms gauge\nmeet_rooms 3\nmeet_rooms_more 9\nmeet_shard_legs{shard=\"0\"} 2\n\
                        meet_shard_legs{shard=\"1\"} 5\n";

    #[test]
    fn values_are_summed_over_their_labels_and_not_mixed_up() {
        let metrics = Metrics::read(TEXT);
        assert_eq!(metrics.value("meet_rooms"), Ok(3.0));
        assert_eq!(metrics.value("meet_shard_legs"), Ok(7.0));
        assert_eq!(metrics.value("meet_shard_legs{shard=\"1\"}"), Ok(5.0));
        assert_eq!(
            metrics.lines(&["meet_shard_legs", "meet_rooms"]).unwrap(),
            [
                "meet_shard_legs{shard=\"0\"} 2",
                "meet_shard_legs{shard=\"1\"} 5",
                "meet_rooms 3"
            ]
        );
    }

    #[test]
    fn a_name_that_nobody_writes_is_an_error() {
        let metrics = Metrics::read(TEXT);
        for name in ["meet_people", "meet_room", "meet_shard_legs{shard=\"2\"}"] {
            assert_eq!(metrics.value(name), Err(UnknownMetric(name.to_owned())));
        }
        assert!(metrics.lines(&["meet_rooms", "meet_people"]).is_err());
    }
}
