//! Reads the configuration: file, then environment, then flags; and says where a mistake is.

use super::{Cli, Config};
use crate::drivers::limits::LEGS_PER_ROOM;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Why a configuration is refused. Always the operator's to mend, so each says where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("{}:{line}:{column}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// An environment variable is not valid.
    #[error("environment variable {name}: {message}")]
    Environment {
        /// Which variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The values do not fit together.
    #[error("configuration: {message}")]
    Invalid {
        /// What is wrong and the way out.
        message: String,
    },
    /// The configuration cannot be written as TOML.
    #[error("cannot print the configuration: {0}")]
    Print(#[from] toml::ser::Error),
}

/// The effective configuration of this process.
pub fn load(cli: &Cli) -> Result<Config, ConfigError> {
    load_from(cli, |name| std::env::var(name).ok())
}

/// The same with the environment given as a function.
pub fn load_from(cli: &Cli, environment: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let mut table = match &cli.config {
        Some(path) => read_file(path)?,
        None => Table::new(),
    };
    for (name, keys, shape) in environment_keys()? {
        let Some(text) = environment(&name) else { continue };
        let value = parse_value(&text, &shape).map_err(|message| ConfigError::Environment {
            name: name.clone(),
            message,
        })?;
        insert(&mut table, &keys, value);
        // Each variable is checked by itself, so that the message can name it.
        table
            .clone()
            .try_into::<Config>()
            .map_err(|e| ConfigError::Environment {
                name,
                message: e.message().to_owned(),
            })?;
    }
    let mut config: Config = table
        .try_into()
        .map_err(|e: toml::de::Error| ConfigError::Invalid {
            message: e.message().to_owned(),
        })?;
    cli.apply(&mut config);
    validate(&config)?;
    Ok(config)
}

/// The names of all environment variables that set a key, for the manual and its test.
pub fn from_environment_names() -> Result<Vec<String>, ConfigError> {
    Ok(environment_keys()?.into_iter().map(|(name, _, _)| name).collect())
}

/// The configuration as TOML.
pub fn to_toml(config: &Config) -> Result<String, ConfigError> {
    Ok(toml::to_string(config)?)
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let at = |e: toml::de::Error| {
        let (line, column) = position(&text, e.span().map_or(0, |s| s.start));
        ConfigError::File {
            path: path.to_owned(),
            line,
            column,
            message: e.message().to_owned(),
        }
    };
    // Parsed twice: as the typed form, whose errors carry the place, and as the table that the
    // environment is laid over.
    toml::from_str::<Config>(&text).map_err(at)?;
    toml::from_str::<Table>(&text).map_err(at)
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

type EnvironmentKey = (String, Vec<String>, Value);

fn environment_keys() -> Result<Vec<EnvironmentKey>, ConfigError> {
    let mut keys = Vec::new();
    for (key, value) in Table::try_from(Config::default())? {
        match value {
            Value::Table(section) => keys.extend(section.into_iter().map(|(inner, value)| {
                (
                    format!("MEET_{}_{}", key, inner).to_uppercase(),
                    vec![key.clone(), inner],
                    value,
                )
            })),
            value => keys.push((format!("MEET_{key}").to_uppercase(), vec![key], value)),
        }
    }
    Ok(keys)
}

fn parse_value(text: &str, shape: &Value) -> Result<Value, String> {
    match shape {
        Value::Boolean(_) => match text {
            "true" | "1" | "yes" => Ok(Value::Boolean(true)),
            "false" | "0" | "no" | "" => Ok(Value::Boolean(false)),
            _ => Err(format!("`{text}` is not true or false")),
        },
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| format!("`{text}` is not a whole number")),
        Value::Array(_) => Ok(Value::Array(
            text.split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| Value::String(part.to_owned()))
                .collect(),
        )),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn insert(table: &mut Table, keys: &[String], value: Value) {
    match keys {
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, key] => {
            let entry = table
                .entry(section.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = entry {
                inner.insert(key.clone(), value);
            }
        }
        _ => {}
    }
}

fn validate(config: &Config) -> Result<(), ConfigError> {
    let invalid = |message: String| Err(ConfigError::Invalid { message });
    if config.listen.is_empty() {
        return invalid("`listen` is empty: give at least one address like 127.0.0.1:5060".into());
    }
    config.protection.validate()?;
    if config.media.opus_complexity > 10 {
        return invalid(format!(
            "media.opus_complexity = {} is not 0 to 10",
            config.media.opus_complexity
        ));
    }
    if !(6_000..=510_000).contains(&config.media.opus_bitrate) {
        return invalid(format!(
            "media.opus_bitrate = {} is not 6000 to 510000",
            config.media.opus_bitrate
        ));
    }
    if !(1..=15).contains(&config.media.talkers) {
        return invalid(format!(
            "media.talkers = {} is not 1 to 15 (a CSRC list)",
            config.media.talkers
        ));
    }
    if config.media.shards > 64 {
        return invalid(format!("media.shards = {} is more than 64", config.media.shards));
    }
    if config.meetings.max_members == 0 || config.meetings.max_rooms == 0 {
        return invalid("meetings.max_members and meetings.max_rooms must be at least 1".into());
    }
    if config.meetings.max_members > LEGS_PER_ROOM {
        return invalid(format!("meetings.max_members is more than {LEGS_PER_ROOM}"));
    }
    if config.meetings.min_session_expires_seconds < 90 {
        return invalid("meetings.min_session_expires_seconds is less than 90 (RFC 4028 §5)".into());
    }
    let lasts = config.meetings.session_expires_seconds;
    if lasts > 0 && config.meetings.min_session_expires_seconds > lasts {
        return invalid(
            "meetings.min_session_expires_seconds is more than meetings.session_expires_seconds".into(),
        );
    }
    if config.sip.min_expires_seconds > config.sip.max_expires_seconds {
        return invalid("sip.min_expires_seconds is more than sip.max_expires_seconds".into());
    }
    if config.sip.realm.is_empty() || config.sip.realm.contains(['"', '\\', '\r', '\n']) {
        return invalid("sip.realm must be a plain, non-empty word".into());
    }
    let stored = |name: &String| ["SHA-256", "SHA-512-256", "MD5"].contains(&name.as_str());
    if config.sip.algorithms.is_empty() || !config.sip.algorithms.iter().all(stored) {
        return invalid("sip.algorithms takes SHA-256, SHA-512-256 and MD5, and at least one".into());
    }
    if config.api.tokens.iter().any(|t| t.len() < 16) {
        return invalid("an API token is shorter than 16 characters: try `openssl rand -hex 24`".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::io::Write;

    fn cli(args: &[&str]) -> Cli {
        Cli::parse_from(std::iter::once("meet-server").chain(args.iter().copied()))
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn example_file_is_the_defaults() {
        let example: Table = toml::from_str(include_str!("../../config.example.toml")).unwrap();
        assert_eq!(example, Table::try_from(Config::default()).unwrap());
    }

    #[test]
    fn flags_beat_environment_beats_file() {
        let file = file("lan = true\nhttp = \"127.0.0.1:1\"\n[meetings]\nmax_rooms = 3\nmax_members = 4\n");
        let path = file.path().to_str().unwrap();
        let environment = |name: &str| match name {
            "MEET_MEETINGS_MAX_ROOMS" => Some("7".to_owned()),
            "MEET_HTTP" => Some("127.0.0.1:2".to_owned()),
            "MEET_LISTEN" => Some("127.0.0.1:5070, [::1]:5070".to_owned()),
            _ => None,
        };
        let config = load_from(&cli(&["--config", path, "--http", "127.0.0.1:3"]), environment).unwrap();
        assert!(config.lan);
        assert_eq!((config.meetings.max_rooms, config.meetings.max_members), (7, 4));
        assert_eq!(config.http_address(), Some("127.0.0.1:3".parse().unwrap()));
        assert_eq!(config.listen.len(), 2);
    }

    #[test]
    fn unknown_key_names_the_line() {
        let file = file("lan = true\n\n[meetings]\nended_hold = 3\n");
        let error = load_from(&cli(&["--config", file.path().to_str().unwrap()]), |_| None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(":4:1:") && text.contains("ended_hold"), "{text}");
    }

    #[test]
    fn bad_environment_names_the_variable() {
        let error = load_from(&cli(&[]), |name| {
            (name == "MEET_LISTEN").then(|| "nowhere".into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("MEET_LISTEN"), "{error}");
        let error = load_from(&cli(&[]), |n| {
            (n == "MEET_MEETINGS_MAX_ROOMS").then(|| "x".into())
        })
        .unwrap_err();
        assert!(error.to_string().contains("MEET_MEETINGS_MAX_ROOMS"), "{error}");
    }

    #[test]
    fn out_of_range_values_are_refused() {
        for text in [
            "listen = []",
            "[media]\nopus_complexity = 11",
            "[api]\ntokens = [\"short\"]",
            "[media]\ntalkers = 16",
            "[sip]\nalgorithms = []",
            "[protection]\ntrusted = [\"10.0.0.0/33\"]",
            "[protection]\nrequests_per_second = 0",
            "[sip]\nalgorithms = [\"CRC\"]",
        ] {
            let file = file(text);
            assert!(
                load_from(&cli(&["--config", file.path().to_str().unwrap()]), |_| None).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn printed_form_reads_back() {
        let mut config = Config {
            lan: true,
            http: super::super::HttpListen::Off,
            ..Config::default()
        };
        config.media.shards = 2;
        let back: Config = toml::from_str(&to_toml(&config).unwrap()).unwrap();
        assert_eq!(back, config);
    }

    #[test]
    fn the_manual_names_every_environment_variable_rule() {
        assert!(
            from_environment_names()
                .unwrap()
                .contains(&"MEET_SIP_ALGORITHMS".to_owned())
        );
    }
}
