//! Where a SIP server is: RFC 3263 §4, names into a list of transports and addresses, the best first.
//!
//! | the user gave | transport | addresses |
//! |---|---|---|
//! | an IP address | as chosen, else UDP | that one |
//! | a name and a port | as chosen, else UDP | A, AAAA |
//! | a name and a transport | as chosen | SRV of `_sip._udp` or `_sip._tcp`, else A, AAAA |
//! | a name | by NAPTR, else by SRV (UDP first), else UDP | of those SRV, else A, AAAA |
//!
//! Several results are for failover (§4.3). The records come through [`Records`]: [`Dns`] asks hickory, tests have
//! tables. Names without a dot are of this host or network: nobody has SRV for them, so none is asked for, and the
//! system's own resolver (hosts file, mDNS) finds them. Deliberately absent: `sips:` and TLS.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::cli::args::TransportChoice;
use crate::cli::config::ServerAddress;
use crate::error::MeetError;
use crate::limits;

/// The port of SIP over UDP and TCP.
const SIP_PORT: u16 = 5060;
/// One question to one name server.
const DNS_WAIT: Duration = Duration::from_secs(2);

/// One way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// By which transport.
    pub transport: TransportChoice,
    /// At which address.
    pub address: SocketAddr,
}

/// A NAPTR record, as far as SIP uses it (RFC 3263 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naptr {
    order: u16,
    preference: u16,
    /// `SIP+D2U` is UDP, `SIP+D2T` TCP.
    service: String,
    /// Where its SRV records are.
    replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

/// A source of records. No record is an empty list; an error is a resolver that does not answer.
pub(super) trait Records {
    async fn naptr(&self, domain: &str) -> std::io::Result<Vec<Naptr>>;
    async fn srv(&self, name: &str) -> std::io::Result<Vec<Srv>>;
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// Finds the server; at most [`limits::TARGETS`] ways, never none.
///
/// # Errors
/// When no name leads to an address.
pub(super) async fn locate(
    server: &ServerAddress,
    transport: Option<TransportChoice>,
    records: &impl Records,
    random: &mut impl FnMut(u32) -> u32,
) -> Result<Vec<Target>, MeetError> {
    let fallback = transport.unwrap_or(TransportChoice::Udp);
    if let Ok(ip) = server.host.parse::<IpAddr>() {
        let address = SocketAddr::new(ip, server.port);
        return Ok(vec![Target {
            transport: fallback,
            address,
        }]);
    }
    let mut trouble = None;
    let mut found = Vec::new();
    if !server.port_given && server.host.contains('.') {
        for (transport, name) in services(&server.host, transport, records, &mut trouble).await {
            let all = note(records.srv(&name).await, &mut trouble);
            for srv in ordered(all, random) {
                let addresses = note(records.addresses(&srv.target).await, &mut trouble);
                let targets = addresses.into_iter().map(|ip| SocketAddr::new(ip, srv.port));
                found.extend(targets.map(|address| Target { transport, address }));
            }
        }
    }
    if found.is_empty() {
        let addresses = note(records.addresses(&server.host).await, &mut trouble);
        let targets = addresses.into_iter().map(|ip| SocketAddr::new(ip, server.port));
        found.extend(targets.map(|address| Target {
            transport: fallback,
            address,
        }));
    }
    let mut unique: Vec<Target> = Vec::new();
    for target in found {
        if !unique.contains(&target) && unique.len() < limits::TARGETS {
            unique.push(target);
        }
    }
    if unique.is_empty() {
        let source = trouble.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound));
        return Err(MeetError::Resolve {
            host: server.host.clone(),
            source,
        });
    }
    Ok(unique)
}

/// The names under which SRV records are to be looked for, with their transports (§4.1).
async fn services(
    host: &str,
    transport: Option<TransportChoice>,
    records: &impl Records,
    trouble: &mut Option<std::io::Error>,
) -> Vec<(TransportChoice, String)> {
    let by_convention =
        |transport: TransportChoice| (transport, format!("_sip._{}.{host}", transport.as_str()));
    if let Some(transport) = transport {
        return vec![by_convention(transport)];
    }
    let mut naptr = note(records.naptr(host).await, trouble);
    naptr.sort_by_key(|record| (record.order, record.preference));
    let told: Vec<(TransportChoice, String)> = naptr
        .into_iter()
        .filter_map(|record| {
            let transport = match record.service.to_ascii_uppercase().as_str() {
                "SIP+D2U" => TransportChoice::Udp,
                "SIP+D2T" => TransportChoice::Tcp,
                _ => return None,
            };
            Some((transport, record.replacement))
        })
        .collect();
    if told.is_empty() {
        vec![
            by_convention(TransportChoice::Udp),
            by_convention(TransportChoice::Tcp),
        ]
    } else {
        told
    }
}

/// Keeps the first failure, for the message to the user should nothing be found.
fn note<T>(answer: std::io::Result<Vec<T>>, trouble: &mut Option<std::io::Error>) -> Vec<T> {
    answer.unwrap_or_else(|error| {
        trouble.get_or_insert(error);
        Vec::new()
    })
}

/// The order in which SRV targets are tried: by priority, within one by lot with their weights (RFC 2782). A target
/// of `.` says that the service is not there.
fn ordered(mut records: Vec<Srv>, random: &mut impl FnMut(u32) -> u32) -> Vec<Srv> {
    records.retain(|record| !matches!(record.target.as_str(), "" | "."));
    // Those of no weight come first, so that they have their small chance.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut out = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|record| record.priority) {
        let same = records.iter().take_while(|record| record.priority == priority);
        let sum: u32 = same.clone().map(|record| u32::from(record.weight)).sum();
        let lot = random(sum + 1);
        let mut running = 0;
        let place = same
            .map(|record| {
                running += u32::from(record.weight);
                running
            })
            .position(|running| running >= lot)
            .unwrap_or(0);
        out.push(records.remove(place));
    }
    out
}

/// Records from name servers.
pub(super) struct Dns {
    /// Addresses come from the system's own resolver, unless a name server was given.
    server: Option<SocketAddr>,
    /// Made at the first question: who dials an address needs no name server.
    resolver: OnceLock<TokioResolver>,
}

impl Dns {
    /// The system's name servers, or this one.
    pub(super) fn new(server: Option<SocketAddr>) -> Self {
        Self {
            server,
            resolver: OnceLock::new(),
        }
    }

    fn resolver(&self) -> std::io::Result<&TokioResolver> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio().map_err(std::io::Error::other)?,
            Some(server) => {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = server.port();
                    connection
                });
                let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
                let config = ResolverConfig::from_name_servers(vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        builder.options_mut().timeout = DNS_WAIT;
        builder.options_mut().attempts = 1;
        let resolver = builder.build().map_err(std::io::Error::other)?;
        Ok(self.resolver.get_or_init(|| resolver))
    }

    /// All records of one kind; none where the name has none.
    async fn look<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> std::io::Result<Vec<T>> {
        // The dot at the end: this name, not one of the search list.
        let lookup: Result<Lookup, NetError> = self
            .resolver()?
            .lookup(format!("{}.", name.trim_end_matches('.')), kind)
            .await;
        match lookup {
            Ok(lookup) => Ok(lookup
                .answers()
                .iter()
                .filter_map(|record| read(&record.data))
                .collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }
}

impl Records for Dns {
    async fn naptr(&self, domain: &str) -> std::io::Result<Vec<Naptr>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.look(domain, RecordType::NAPTR, |data| match data {
            // RFC 3263 §4.1: SIP uses records whose replacement is a name with SRV records, flag `s`.
            RData::NAPTR(record) if record.flags.eq_ignore_ascii_case(b"s") => Some(Naptr {
                order: record.order,
                preference: record.preference,
                service: text(&record.services),
                replacement: record.replacement.to_ascii(),
            }),
            _ => None,
        })
        .await
    }

    async fn srv(&self, name: &str) -> std::io::Result<Vec<Srv>> {
        self.look(name, RecordType::SRV, |data| match data {
            RData::SRV(record) => Some(Srv {
                priority: record.priority,
                weight: record.weight,
                port: record.port,
                target: record.target.to_ascii(),
            }),
            _ => None,
        })
        .await
    }

    /// IPv4 first: most phones on a network have it.
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        let mut found: Vec<IpAddr> = if self.server.is_none() {
            let host = host.trim_end_matches('.');
            tokio::net::lookup_host((host, SIP_PORT))
                .await?
                .map(|address| address.ip())
                .collect()
        } else {
            let mut all = self
                .look(host, RecordType::A, |data| match data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    _ => None,
                })
                .await?;
            all.extend(
                self.look(host, RecordType::AAAA, |data| match data {
                    RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                    _ => None,
                })
                .await?,
            );
            all
        };
        found.sort_by_key(IpAddr::is_ipv6);
        Ok(found)
    }
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
