//! Runs fuzz targets over a committed corpus: what the fuzzer ever found stays found (DESIGN §8).
//!
//! Included by path in `tests/fuzz_corpus.rs` of each crate that has targets: none of them may depend on another. Absent
//! on purpose: making new inputs, which `cargo xtask fuzz` does.

/// Runs every input of one target; each line of its files is one, escaped as in Rust.
pub fn replay(target: &str, run: fn(&[u8])) {
    // The folder of the crate that includes this file.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");
    let corpus = format!("{folder}/corpus/{target}.txt");
    let mut files = vec![corpus.clone()];
    // What once broke it; a target that was never broken has no such file.
    files.extend(Some(format!("{folder}/found/{target}.txt")).filter(|path| std::fs::exists(path).unwrap()));
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let enough = if path == corpus { 3 } else { 1 };
        assert!(text.lines().count() >= enough, "{path} holds next to nothing");
        for (number, line) in text.lines().enumerate() {
            let input = unescape(line);
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                panic!("{path}:{}", number + 1);
            }
        }
    }
}

/// The inverse of `escape_ascii`.
fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = line.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().expect("something behind a backslash") {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).expect("two hexadecimal digits")
            }
            other => other,
        });
    }
    out
}

#[test]
fn every_byte_survives_the_escape() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(unescape(&all.escape_ascii().to_string()), all);
}
