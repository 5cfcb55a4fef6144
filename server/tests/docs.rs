//! The manual names files that exist.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::Path;

#[test]
fn every_file_that_packets_md_names_is_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(here.join("docs/packets.md")).unwrap();
    let is_path = |word: &&str| {
        (word.ends_with(".rs") || word.ends_with('/'))
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    let named: Vec<&str> = text.split('`').filter(is_path).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        let found = here.join("src").join(name).exists() || here.join("..").join(name).exists();
        assert!(found, "packets.md names {name}");
    }
}
