//! `server/docs/conformance.md` names tests; they must be there.

use std::path::Path;

#[test]
fn every_test_that_the_document_names_is_there() {
    let text = std::fs::read_to_string(crate::document::path()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let named: Vec<(&str, &str)> = text
        .split('`')
        .filter_map(|word| word.split_once(".rs::"))
        .collect();
    assert!(named.len() > 40, "only {} tests are named", named.len());
    for (file, function) in named {
        let path = root.join(format!("{file}.rs"));
        let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let signature = format!("fn {function}(");
        assert!(source.contains(&signature), "{file}.rs has no {function}");
    }
}
