//! The demo itself: its evidence must hold, its capture must be read by tshark without a malformed packet or a loss.
#![allow(clippy::unwrap_used)]

use workshop::demo::{Wishes, run};

#[test]
fn the_demos_evidence_holds() {
    let folder = tempfile::tempdir().unwrap();
    let wishes = Wishes {
        folder: folder.path().join("demo"),
        keep: false,
    };
    assert!(run(&wishes).unwrap(), "the evidence above does not hold");
}
