//! What RFC 4475 says about registrations beyond the status: which binding is made of a Contact.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use workshop::server::Server;

use crate::draft::Draft;
use crate::wire::read_answer;

/// Registers by `contact` and gives the Contact of the answer.
fn binding(server: &Server, name: &str, contact: &str) -> (u16, String) {
    let message = Draft::request(name, "REGISTER", "sip:meet.example")
        .set("To", &format!("<sip:{name}@meet.example>"))
        .line("Contact", contact)
        .bytes();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(&message, server.sip).unwrap();
    let mut packet = [0_u8; 65_536];
    let length = socket.recv(&mut packet).unwrap();
    let text = String::from_utf8_lossy(&packet[..length]).into_owned();
    let contacts: Vec<&str> = text.lines().filter(|l| l.starts_with("Contact:")).collect();
    (read_answer(text.as_bytes()).unwrap().status, contacts.join("\n"))
}

#[test]
fn parameters_stay_inside_or_outside_the_brackets() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_lan(folder.path(), &[]).unwrap();
    // RFC 4475 §3.3.12: without brackets a parameter is the header's.
    let (status, contact) = binding(&server, "outer", "sip:outer@127.0.0.1:5999;x-p=1");
    assert_eq!(status, 200);
    assert!(contact.contains("sip:outer@127.0.0.1:5999>"), "{contact}");
    // §3.3.13: inside them it is the URI's and comes back there.
    let (status, contact) = binding(&server, "inner", "<sip:inner@127.0.0.1:5999;x-p=1>");
    assert_eq!(status, 200);
    assert!(contact.contains("sip:inner@127.0.0.1:5999;x-p=1>"), "{contact}");
    // §3.3.14: the URI's headers are kept.
    let (status, contact) = binding(
        &server,
        "kept",
        "<sip:kept@127.0.0.1:5999?Route=%3Csip:127.0.0.9%3E>",
    );
    assert_eq!(status, 200);
    assert!(contact.contains("?Route=%3Csip:127.0.0.9%3E>"), "{contact}");
    // §3.1.2.13: glued to a bare address they are nobody's: no binding.
    let (status, contact) = binding(
        &server,
        "glue",
        "sip:glue@127.0.0.1:5999?Route=%3Csip:127.0.0.9%3E",
    );
    assert_eq!((status, contact.as_str()), (400, ""));
    let registered = server.get("/api/v1/registrations").unwrap().to_string();
    assert!(
        registered.contains("inner") && !registered.contains("glue"),
        "{registered}"
    );
}
