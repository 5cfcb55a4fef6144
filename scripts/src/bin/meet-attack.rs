fn main() { let d = tempfile::tempdir().unwrap(); let s = workshop::server::Server::start_lan(d.path(), &[]).unwrap();
 let rate = std::env::args().nth(1).map_or(20000, |a| a.parse().unwrap()); let secs = std::env::args().nth(2).map_or(30, |a| a.parse().unwrap());
 let plan = workshop::load::attack::Plan { members: 10, rate, length: std::time::Duration::from_secs(secs) };
 let o = workshop::load::attack::run(&s, plan).unwrap(); for l in workshop::load::attack::report(&plan, &o) { println!("{l}"); } }
