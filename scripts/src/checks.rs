//! The house's own checks: which crate may depend on which, what no core may touch, how long a file may be.
//!
//! Absent on purpose: style; rustfmt and clippy do that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest source file (DESIGN §9.6).
const LONGEST_FILE: usize = 800;

/// Which crates of the workspace each of them may depend on (DESIGN §2).
const ARROWS: &[(&str, &[&str])] = &[
    ("audiopus_sys", &[]),
    ("sip-proto", &[]),
    ("rtp-media", &["audiopus_sys"]),
    ("mixer", &["rtp-media", "audiopus_sys"]),
    ("server", &["sip-proto", "rtp-media", "mixer", "audiopus_sys"]),
    ("client", &["sip-proto", "rtp-media", "mixer", "audiopus_sys"]),
    (
        "examples",
        &[
            "sip-proto",
            "rtp-media",
            "mixer",
            "server",
            "client",
            "audiopus_sys",
        ],
    ),
    (
        "sim",
        &[
            "sip-proto",
            "rtp-media",
            "mixer",
            "server",
            "client",
            "audiopus_sys",
        ],
    ),
    (
        "workshop",
        &[
            "sip-proto",
            "rtp-media",
            "mixer",
            "server",
            "client",
            "audiopus_sys",
        ],
    ),
];

/// Crates that do no I/O of their own: none of these may be among what they are built from.
const CORES: &[&str] = &["sip-proto", "rtp-media", "mixer"];
const NOT_IN_CORES: &[&str] = &["tokio", "mio", "socket2", "async-std", "smol", "nix"];

/// Folders inside the programs that are cores all the same, and words that must not stand in them.
const SANS_IO_FOLDERS: &[&str] = &[
    "server/src/focus",
    "server/src/registrar",
    "client/src/call",
    "client/src/account",
];
const NOT_SANS_IO: &[&str] = &[
    "tokio",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "mio::",
    "Instant::now",
    "SystemTime::now",
    "thread::sleep",
    "getrandom",
    "rand::rng",
    "std::fs",
];

/// The top-level folders that the project may have; files and dot-folders are free.
const TOP_LEVEL: &[&str] = &[
    "server",
    "client",
    "sip-proto",
    "rtp-media",
    "mixer",
    "examples",
    "scripts",
    "target",
];

/// What a check could not read.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// cargo failed.
    #[error("cargo metadata: {0}")]
    Cargo(String),
    /// A file or folder could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// cargo's answer can't be read.
    #[error("cargo metadata: {0}")]
    Json(#[from] serde_json::Error),
}

/// All faults against the house's rules below `root`, one line each.
pub fn all(root: &Path) -> Result<Vec<String>, CheckError> {
    let mut faults = arrows(root)?;
    faults.extend(licences(root)?);
    faults.extend(sans_io(root)?);
    faults.extend(file_sizes(root)?);
    faults.extend(top_level(root)?);
    Ok(faults)
}

#[derive(serde::Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(serde::Deserialize)]
struct Package {
    id: String,
    name: String,
    source: Option<String>,
    license: Option<String>,
}

#[derive(serde::Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(serde::Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(serde::Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(serde::Deserialize)]
struct Kind {
    kind: Option<String>,
}

fn metadata(root: &Path) -> Result<Metadata, CheckError> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|e| CheckError::Cargo(e.to_string()))?;
    if !output.status.success() {
        return Err(CheckError::Cargo(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[derive(serde::Deserialize)]
struct Deny {
    licenses: Allowed,
}

#[derive(serde::Deserialize)]
struct Allowed {
    allow: Vec<String>,
    #[serde(default)]
    clarify: Vec<Clarified>,
}

/// A crate that names a licence file only: a person has read it.
#[derive(serde::Deserialize)]
struct Clarified {
    #[serde(rename = "crate")]
    name: String,
    expression: String,
}

/// Dependencies whose licence `deny.toml` does not allow: the part of cargo-deny that must never be forgotten.
pub fn licences(root: &Path) -> Result<Vec<String>, CheckError> {
    let path = root.join("deny.toml");
    let deny: Deny =
        toml::from_str(&read(&path)?).map_err(|e| CheckError::Cargo(format!("deny.toml: {e}")))?;
    let known: Vec<&str> = deny.licenses.allow.iter().map(String::as_str).collect();
    let packages = metadata(root)?.packages;
    let faults = packages.iter().filter_map(|package| {
        let read = deny
            .licenses
            .clarify
            .iter()
            .find(|c| c.name == package.name)
            .map(|c| c.expression.as_str());
        let expression = package.license.as_deref().or(read).unwrap_or_default();
        (!permitted(expression, &known)).then(|| {
            format!(
                "{}: licence {expression:?} is not among those of deny.toml",
                package.name
            )
        })
    });
    Ok(faults.collect())
}

/// Whether an SPDX expression can be met with the licences `known`. OR binds weaker than AND; `/` is an old OR.
fn permitted(expression: &str, known: &[&str]) -> bool {
    let flat = expression.replace('/', " OR ").replace(['(', ')'], "");
    flat.split(" OR ").any(|choice| {
        choice
            .split(" AND ")
            .all(|licence| known.contains(&licence.trim()))
    })
}

/// Faults in the dependencies between crates, and I/O crates below a core.
pub fn arrows(root: &Path) -> Result<Vec<String>, CheckError> {
    let metadata = metadata(root)?;
    let names: BTreeMap<&str, &str> = metadata
        .packages
        .iter()
        .map(|p| (p.id.as_str(), p.name.as_str()))
        .collect();
    let ours: BTreeSet<&str> = metadata
        .packages
        .iter()
        .filter(|p| p.source.is_none())
        .map(|p| p.name.as_str())
        .collect();
    let name = |id: &str| names.get(id).copied().unwrap_or_default();
    // Normal dependencies only: a test may use what it likes.
    let edges: BTreeMap<&str, BTreeSet<&str>> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = |d: &&Dependency| d.dep_kinds.iter().any(|k| k.kind.is_none());
            (
                name(&node.id),
                node.deps.iter().filter(normal).map(|d| name(&d.pkg)).collect(),
            )
        })
        .collect();
    let mut faults = Vec::new();
    for krate in &ours {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == krate) else {
            faults.push(format!(
                "crate {krate} is not in DESIGN §2: add it to checks.rs or remove it"
            ));
            continue;
        };
        for to in edges.get(krate).into_iter().flatten() {
            if ours.contains(to) && !allowed.contains(to) {
                faults.push(format!("{krate} depends on {to}, which DESIGN §2 does not allow"));
            }
        }
    }
    for core in CORES {
        for below in reachable(core, &edges) {
            if NOT_IN_CORES.contains(&below) {
                faults.push(format!(
                    "{core} is a core, yet {below} is among what it is built from"
                ));
            }
        }
    }
    Ok(faults)
}

fn reachable<'a>(from: &'a str, edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for to in edges.get(at).into_iter().flatten() {
            if seen.insert(*to) {
                open.push(to);
            }
        }
    }
    seen
}

/// Words of I/O, clocks and randomness in the sans-IO folders of the programs (test modules excepted).
pub fn sans_io(root: &Path) -> Result<Vec<String>, CheckError> {
    let mut faults = Vec::new();
    for folder in SANS_IO_FOLDERS {
        let path = root.join(folder);
        let files = if path.is_dir() {
            sources(&path)?
        } else {
            vec![path.with_extension("rs")]
        };
        for file in files {
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            if shown.ends_with("tests.rs") || shown.contains("/tests/") {
                continue;
            }
            let text = read(&file)?;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap_or_default();
                for word in NOT_SANS_IO {
                    if line.contains(word) {
                        faults.push(format!("{shown}:{}: {word} in a sans-IO folder", number + 1));
                    }
                }
            }
        }
    }
    Ok(faults)
}

/// Files that have grown past their room.
pub fn file_sizes(root: &Path) -> Result<Vec<String>, CheckError> {
    let mut faults = Vec::new();
    for folder in TOP_LEVEL.iter().filter(|folder| **folder != "target") {
        let folder = root.join(folder);
        if !folder.is_dir() {
            continue;
        }
        for file in sources(&folder)? {
            let lines = read(&file)?.lines().count();
            if lines > LONGEST_FILE {
                let shown = file.strip_prefix(root).unwrap_or(&file).display();
                faults.push(format!(
                    "{shown}: {lines} lines, {LONGEST_FILE} at the most: split it"
                ));
            }
        }
    }
    Ok(faults)
}

/// Folders at the top that DESIGN §2 does not name.
pub fn top_level(root: &Path) -> Result<Vec<String>, CheckError> {
    let mut faults = Vec::new();
    for entry in list(root)? {
        let name = entry
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if entry.is_dir() && !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) {
            faults.push(format!("{name}/: not one of the seven top-level folders"));
        }
    }
    Ok(faults)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let mut found = Vec::new();
    for path in list(folder)? {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && name != "node_modules" {
            found.extend(sources(&path)?);
        } else if path
            .extension()
            .is_some_and(|e| e == "rs" || e == "ts" || e == "tsx")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let error = |source| CheckError::Read {
        path: folder.to_owned(),
        source,
    };
    std::fs::read_dir(folder)
        .map_err(error)?
        .map(|entry| entry.map(|e| e.path()).map_err(error))
        .collect()
}

fn read(file: &Path) -> Result<String, CheckError> {
    std::fs::read_to_string(file).map_err(|source| CheckError::Read {
        path: file.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_long_file_is_found() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "server/src/long.rs", &"// x\n".repeat(801));
        write(root.path(), "server/src/short.rs", &"// x\n".repeat(800));
        let faults = file_sizes(root.path()).unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("server/src/long.rs: 801 lines"));
    }

    #[test]
    fn a_clock_in_a_core_folder_is_found_but_not_in_its_tests() {
        let root = tempfile::tempdir().unwrap();
        for folder in SANS_IO_FOLDERS {
            write(
                root.path(),
                &format!("{folder}/mod.rs"),
                "// tokio in a comment\n",
            );
        }
        write(
            root.path(),
            "server/src/focus/room.rs",
            "fn f() { Instant::now(); }\n#[cfg(test)]\nmod t { fn g() { Instant::now(); } }\n",
        );
        let faults = sans_io(root.path()).unwrap();
        assert_eq!(
            faults,
            ["server/src/focus/room.rs:1: Instant::now in a sans-IO folder"]
        );
    }

    #[test]
    fn a_stray_folder_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("misc")).unwrap();
        std::fs::create_dir(root.path().join(".ci")).unwrap();
        assert_eq!(
            top_level(root.path()).unwrap(),
            ["misc/: not one of the seven top-level folders"]
        );
    }

    #[test]
    fn licences_are_read_as_choices_and_sums() {
        let known = ["MIT", "ISC", "Unicode-3.0"];
        assert!(permitted("MIT OR Apache-2.0", &known) && permitted("GPL-3.0/MIT", &known));
        assert!(permitted("(GPL-2.0 OR MIT) AND Unicode-3.0", &known));
        assert!(!permitted("MIT AND GPL-3.0", &known) && !permitted("", &known));
    }

    #[test]
    fn what_lies_below_a_crate_is_followed_to_the_end() {
        let edges = BTreeMap::from([("a", BTreeSet::from(["b"])), ("b", BTreeSet::from(["tokio"]))]);
        assert!(reachable("a", &edges).contains("tokio"));
    }
}
