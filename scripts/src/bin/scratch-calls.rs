//! Scratch.
use std::time::Duration;
use workshop::load::signalling;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n = |i: usize, d: f64| a.get(i).and_then(|s| s.parse::<f64>().ok()).unwrap_or(d);
    let lines = match a.get(1).map(String::as_str) {
        Some("overload") => signalling::overload_lines(Duration::from_secs_f64(n(2, 8.0))),
        Some("register") => signalling::register_table(n(2, 100000.0) as usize, n(3, 2000.0), n(4, 20000.0) as usize),
        _ => signalling::calls_table(&[n(2, 1000.0)], Duration::from_secs_f64(n(3, 8.0)), Duration::from_millis(n(4, 200.0) as u64), n(5, 50.0) as usize),
    };
    for l in lines.unwrap() { println!("{l}"); }
}
