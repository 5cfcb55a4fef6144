//! The table in `server/docs/conformance.md`, between its two marks.

use std::path::{Path, PathBuf};

use crate::case::{Case, Stream};
use crate::wire::Seen;

const BEGIN: &str =
    "<!-- torture: written by `MEET_REWRITE=1 cargo test -p workshop --test conformance` -->\n";
const END: &str = "<!-- end of torture -->\n";

/// What one message came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// `reads`, `drops`, or the status of the refusal.
    pub parser: String,
    /// Over UDP.
    pub udp: Seen,
    /// Over TCP.
    pub tcp: Seen,
    /// How a stream takes it.
    pub course: Stream,
    /// It need not be answered.
    pub may_be_dropped: bool,
}

impl Outcome {
    fn cells(&self) -> String {
        format!("{} | {} | {}", self.parser, self.udp.cell(), self.tcp.cell())
    }
}

/// Renders the table and compares it with the file, or writes it there.
pub fn check<'a>(cases: impl Iterator<Item = &'static Case>, outcome: &dyn Fn(&str) -> Option<&'a Outcome>) {
    let path = path();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| format!("{BEGIN}{END}"));
    let (head, rest) = text.split_once(BEGIN).expect("the mark before the table");
    let (table, tail) = rest.split_once(END).expect("the mark behind the table");
    let rendered = render(cases, outcome, table);
    if std::env::var_os("MEET_REWRITE").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{rendered}{END}{tail}")).unwrap();
        return;
    }
    for (committed, now) in table.lines().zip(rendered.lines()) {
        assert_eq!(
            committed, now,
            "server/docs/conformance.md differs: MEET_REWRITE=1 writes it"
        );
    }
    assert_eq!(
        table.lines().count(),
        rendered.lines().count(),
        "MEET_REWRITE=1 writes the table"
    );
}

fn render<'a>(
    cases: impl Iterator<Item = &'static Case>,
    outcome: &dyn Fn(&str) -> Option<&'a Outcome>,
    committed: &str,
) -> String {
    let mut table =
        "\n| RFC | message | what is odd | ours: parser | UDP | TCP | the RFC's: parser | UDP | TCP |\n\
                     |---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for case in cases {
        let file = case
            .file
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".dat");
        let key = format!("| {} | {file} |", case.section);
        let own = outcome(&format!("own {}", case.name()))
            .expect("our own was run")
            .cells();
        let theirs = outcome(&case.name()).map_or_else(|| committed_cells(committed, &key), Outcome::cells);
        table.push_str(&format!(
            "{key} {} | {own} | {theirs} |\n",
            case.fault.replace('|', "\\|")
        ));
    }
    table.push('\n');
    table
}

/// The last three columns of the committed row.
fn committed_cells(committed: &str, key: &str) -> String {
    let row = committed
        .lines()
        .find(|row| row.starts_with(key))
        .unwrap_or_default();
    let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").map(str::trim).collect();
    let last = cells.len().saturating_sub(3);
    cells[last..].join(" | ")
}

/// The document.
pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/docs/conformance.md")
}
