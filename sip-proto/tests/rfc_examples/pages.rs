//! The text of an RFC without its page breaks.

use std::path::{Path, PathBuf};

/// The folder of the RFCs' texts, where there is one.
pub fn folder() -> Option<PathBuf> {
    let Some(corpora) = std::env::var_os("MEET_CORPORA") else {
        println!("MEET_CORPORA is not set: the examples printed in RFCs are not read");
        return None;
    };
    let corpora = Path::new(&corpora);
    assert!(corpora.is_dir(), "{} is missing", corpora.display());
    let folder = corpora.join("../rfc");
    if !folder.is_dir() {
        println!(
            "{} is not there: the examples printed in RFCs are not read",
            folder.display()
        );
        return None;
    }
    Some(folder)
}

/// The lines of an RFC; page footers, headers and the blank lines about them are left out.
pub fn lines(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<String> = Vec::new();
    let mut after_footer = false;
    for line in text.lines() {
        let line = line.trim_end().trim_start_matches('\u{c}');
        if after_footer {
            let is_header = line.starts_with("RFC ") || line.is_empty();
            if is_header {
                continue;
            }
            after_footer = false;
        }
        if is_footer(line) {
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            after_footer = true;
            continue;
        }
        lines.push(line.to_owned());
    }
    lines
}

fn is_footer(line: &str) -> bool {
    line.ends_with(']')
        && line
            .rsplit_once("[Page ")
            .is_some_and(|(_, number)| number.trim_end_matches(']').trim().parse::<u32>().is_ok())
}

/// Blanks before the first other character.
pub fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
