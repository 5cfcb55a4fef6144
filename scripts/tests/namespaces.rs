//! A second machine's phone: the server listens on the wildcard address in one network namespace, the phones
//! are in another one, and the SDP must carry an address that they can reach.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use workshop::baresip::{Baresip, Options};
use workshop::namespace::{Pair, inside};
use workshop::probe::Probe;
use workshop::process::wait_for;
use workshop::scenario::{Scenario, sdp};
use workshop::server::{Server, program};
use workshop::sipp::Sipp;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn with_a_wildcard_listen_the_sdp_names_an_address_that_the_caller_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(0).unwrap();
    let [here, there] = pair.addresses;
    let mut command = pair.command(0, &program("meet-server"));
    command.args([
        "--lan",
        "--listen",
        "0.0.0.0:5060",
        "--http",
        "127.0.0.1:0",
        "--data-dir",
    ]);
    command.arg(folder.path());
    let server = Server::start(command).unwrap();
    assert_eq!(server.sip.port(), 5060);
    let sip = SocketAddr::from((here, 5060));

    let mut options = Options::new("ann", "opus/48000/2", 500);
    options.address = there.into();
    options.namespace = Some(pair.names[1].clone());
    let mut ann = Baresip::start(folder.path(), &options).unwrap();
    ann.call(&format!("sip:far@{sip}")).unwrap();

    let socket = inside(&pair.names[1], || UdpSocket::bind((there, 0))).unwrap();
    let cat = Probe::with_socket(socket, 1000.0).unwrap();
    let reachable = format!("c=IN IP4 {}", here.to_string().replace('.', "[.]"));
    let contact = format!("Contact:.*@{}:5060", here.to_string().replace('.', "[.]"));
    let scenario = Scenario::new("cat")
        .invite(&sdp(&there.to_string(), cat.address.port(), "sendrecv", 1))
        .expect(200, &[&reachable, &contact])
        .ack(None)
        .talk_until_told()
        .bye();
    let mut sipp = pair.command(1, Path::new("sipp"));
    sipp.args(["-i", &there.to_string()]);
    let mut call = Sipp::start_as(sipp, folder.path(), "cat", &scenario.xml(), sip, "far", &[]).unwrap();

    let hears = |heard: workshop::tone::Recording, other: f32, own: f32| {
        let last = heard.last(1.5);
        last.seconds() >= 1.4 && last.amplitude(other) > 0.02 && last.amplitude(own) < 0.004
    };
    let cat_hears = wait_for(PATIENCE, || hears(cat.heard(), 500.0, 1000.0).then_some(()));
    let ann_hears = wait_for(PATIENCE, || hears(ann.heard().ok()?, 1000.0, 500.0).then_some(()));
    assert!(
        cat_hears.is_some(),
        "cat: {} s, 500 Hz {}",
        cat.heard().seconds(),
        cat.heard().amplitude(500.0)
    );
    assert!(
        ann_hears.is_some(),
        "ann: {:?}",
        ann.heard().map(|h| (h.seconds(), h.amplitude(1000.0)))
    );
    assert!(
        cat.sources().iter().all(|from| from.ip() == here),
        "RTP came from {:?}",
        cat.sources()
    );
    let beside = inside(&pair.names[1], || UdpSocket::bind((there, 0))).unwrap();
    call.go_on_by(&beside, PATIENCE).unwrap();
    call.finish(PATIENCE).unwrap();
}
