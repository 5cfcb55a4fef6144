//! The table of `locate` and SRV's lots. A real name server is asked in `client/tests/several_addresses.rs`.

use std::collections::HashMap;

use super::*;

#[derive(Default)]
struct Table {
    naptr: HashMap<&'static str, Vec<Naptr>>,
    srv: HashMap<&'static str, Vec<Srv>>,
    hosts: HashMap<&'static str, Vec<&'static str>>,
    dead: bool,
}

impl Records for Table {
    async fn naptr(&self, domain: &str) -> std::io::Result<Vec<Naptr>> {
        Ok(self.naptr.get(domain).cloned().unwrap_or_default())
    }

    async fn srv(&self, name: &str) -> std::io::Result<Vec<Srv>> {
        Ok(self.srv.get(name).cloned().unwrap_or_default())
    }

    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        if self.dead {
            return Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        }
        let all = self.hosts.get(host).cloned().unwrap_or_default();
        Ok(all.iter().map(|ip| ip.parse().unwrap()).collect())
    }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv {
        priority,
        weight,
        port,
        target: target.to_owned(),
    }
}

fn naptr(order: u16, service: &str, replacement: &str) -> Naptr {
    Naptr {
        order,
        preference: 1,
        service: service.to_owned(),
        replacement: replacement.to_owned(),
    }
}

fn table() -> Table {
    Table {
        naptr: HashMap::from([(
            "both.example",
            vec![
                naptr(90, "SIP+D2U", "_sip._udp.both.example"),
                naptr(50, "SIP+D2T", "_sip._tcp.both.example"),
                naptr(10, "SIPS+D2T", "_sips._tcp.both.example"),
            ],
        )]),
        srv: HashMap::from([
            (
                "_sip._tcp.both.example",
                vec![srv(1, 0, 5070, "a.example"), srv(2, 0, 5071, "b.example")],
            ),
            ("_sip._udp.both.example", vec![srv(1, 0, 5072, "a.example")]),
            ("_sip._tcp.plain.example", vec![srv(1, 0, 5080, "b.example")]),
            ("_sip._udp.gone.example", vec![srv(0, 0, 0, ".")]),
        ]),
        hosts: HashMap::from([
            ("a.example", vec!["192.0.2.1"]),
            ("b.example", vec!["192.0.2.2", "2001:db8::2"]),
            ("both.example", vec!["192.0.2.9"]),
            ("gone.example", vec!["192.0.2.8"]),
            ("box", vec!["192.0.2.7"]),
        ]),
        dead: false,
    }
}

async fn found(server: &str, transport: Option<TransportChoice>, records: &impl Records) -> Vec<String> {
    let server: ServerAddress = server.parse().unwrap();
    locate(&server, transport, records, &mut |_| 0)
        .await
        .unwrap()
        .iter()
        .map(|target| format!("{} {}", target.transport.as_str(), target.address))
        .collect()
}

#[tokio::test]
async fn the_table_of_rfc_3263() {
    use TransportChoice::{Tcp, Udp};
    let cases: [(&str, Option<TransportChoice>, &[&str]); 9] = [
        ("192.0.2.5", None, &["udp 192.0.2.5:5060"]),
        ("[2001:db8::5]:5099", Some(Tcp), &["tcp [2001:db8::5]:5099"]),
        ("both.example:5090", None, &["udp 192.0.2.9:5090"]),
        ("both.example:5090", Some(Tcp), &["tcp 192.0.2.9:5090"]),
        ("both.example", Some(Udp), &["udp 192.0.2.1:5072"]),
        (
            "both.example",
            None,
            &[
                "tcp 192.0.2.1:5070",
                "tcp 192.0.2.2:5071",
                "tcp [2001:db8::2]:5071",
                "udp 192.0.2.1:5072",
            ],
        ),
        (
            "plain.example",
            None,
            &["tcp 192.0.2.2:5080", "tcp [2001:db8::2]:5080"],
        ),
        ("gone.example", None, &["udp 192.0.2.8:5060"]),
        ("box", None, &["udp 192.0.2.7:5060"]),
    ];
    for (server, transport, expected) in cases {
        assert_eq!(
            found(server, transport, &table()).await,
            expected,
            "{server} {transport:?}"
        );
    }
}

#[tokio::test]
async fn a_name_without_addresses_and_a_dead_resolver_are_told_apart() {
    let server: ServerAddress = "nowhere.example".parse().unwrap();
    let nothing = locate(&server, None, &table(), &mut |_| 0).await.unwrap_err();
    let dead = Table {
        dead: true,
        ..table()
    };
    let silence = locate(&server, None, &dead, &mut |_| 0).await.unwrap_err();
    let kind = |error: MeetError| match error {
        MeetError::Resolve { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    assert_eq!(kind(nothing), std::io::ErrorKind::NotFound);
    assert_eq!(kind(silence), std::io::ErrorKind::TimedOut);
}

/// RFC 2782: priority rules, weight decides by lot within it.
#[test]
fn weights_are_shares() {
    let records = || {
        vec![
            srv(2, 9, 1, "later"),
            srv(1, 10, 1, "small"),
            srv(1, 30, 1, "large"),
            srv(1, 0, 1, "none"),
        ]
    };
    let mut state = 1_u64;
    let mut random = |sides: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 33) % u64::from(sides)) as u32
    };
    let mut first = HashMap::new();
    for _ in 0..4_000 {
        let order = ordered(records(), &mut random);
        assert_eq!(order.len(), 4);
        assert_eq!(order[3].target, "later");
        *first.entry(order[0].target.clone()).or_insert(0) += 1;
    }
    let share = |name: &str| f64::from(first.get(name).copied().unwrap_or(0)) / 4_000.0;
    assert!((share("large") - 30.0 / 41.0).abs() < 0.03, "{first:?}");
    assert!((share("small") - 10.0 / 41.0).abs() < 0.03, "{first:?}");
    assert!(share("none") > 0.005, "{first:?}");
}
