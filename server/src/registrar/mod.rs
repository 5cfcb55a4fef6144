//! The registrar (RFC 3261 §10.3), sans-IO.
//!
//! [`Registrar::register`] takes a REGISTER whose sender is already known and allowed, and gives
//! the response and what the store must keep. A request is processed wholly or not at all.
//! Bindings end by [`Registrar::handle_timeout`]. Deliberately absent: authentication
//! (`focus::admission`), GRUU and outbound, and calls to the bindings (a later issue); the Path to them
//! (RFC 3327) is kept for those.

mod binding;
mod ends;
pub mod limits;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sip_proto::digest::Ha1;
use sip_proto::headers::{Contacts, NameAddr};
use sip_proto::message::{HeaderName, Headers, Request, Response, StatusCode};
use sip_proto::uri::{Scheme, Uri};

use crate::focus::record::{BindingRecord, StoreRecord};
use binding::{Binding, Refusal, Wish};
use ends::Ends;

/// An account as the store keeps it: no password, only its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User name; also the user part of the address-of-record.
    pub user: String,
    /// What others see, if the phone does not say.
    pub display: Option<String>,
    /// One secret for each algorithm that the account allows.
    pub secrets: Vec<Ha1>,
}

/// Settings of the registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// Granted where none is named.
    pub default_expires: Duration,
    /// Longest that is granted.
    pub max_expires: Duration,
    /// Shorter wishes are answered 423.
    pub min_expires: Duration,
    /// Contacts of one address-of-record.
    pub max_contacts: usize,
    /// Addresses-of-record.
    pub max_records: usize,
    /// Addresses-of-record of one user: the hosts by which a phone may call us.
    pub max_records_per_user: usize,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self {
            default_expires: limits::DEFAULT_EXPIRES,
            max_expires: limits::MAX_EXPIRES,
            min_expires: limits::MIN_EXPIRES,
            max_contacts: limits::MAX_CONTACTS,
            max_records: limits::MAX_RECORDS,
            max_records_per_user: limits::MAX_RECORDS_PER_USER,
        }
    }
}

/// A registered contact.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// Canonical address-of-record.
    pub aor: String,
    /// The contact as it was registered.
    pub contact: NameAddr,
    /// When it ends.
    pub until: Instant,
    /// The proxies that a request to it goes through first (RFC 3327 §5.4): its Route.
    pub route: Vec<NameAddr>,
}

/// Bindings of addresses-of-record to contacts.
#[derive(Debug)]
pub struct Registrar {
    settings: RegistrarSettings,
    /// Records by user: one person under many hosts.
    users: HashMap<String, usize>,
    records: HashMap<String, Vec<Binding>>,
    /// When the first binding of each record ends.
    ends: Ends,
}

impl Registrar {
    /// A registrar without bindings.
    pub fn new(settings: RegistrarSettings) -> Self {
        Self {
            settings,
            users: HashMap::new(),
            records: HashMap::new(),
            ends: Ends::default(),
        }
    }

    /// Processes a REGISTER (RFC 3261 §10.3 steps 5 to 8). `domain_fits` says whether a host is ours.
    pub fn register(
        &mut self,
        request: &Request,
        domain_fits: impl Fn(&Uri) -> bool,
        now: Instant,
    ) -> (Response, Option<StoreRecord>) {
        match self.process(request, domain_fits, now) {
            Ok((aor, changed)) => {
                let mut response = Response::to(request, StatusCode::OK);
                // RFC 3327 §5.3: the client sees the way that its requests took.
                response.headers.copy_from(&request.headers, &HeaderName::Path);
                let bindings = self.records.get(&aor).map(Vec::as_slice).unwrap_or_default();
                for binding in bindings {
                    response
                        .headers
                        .push(HeaderName::Contact, binding.contact_with_expires(now));
                }
                (response, changed.then(|| self.record_of(aor, now)))
            }
            Err(refusal) => (self.refusal_response(request, refusal), None),
        }
    }

    /// Takes bindings from an earlier run.
    pub fn restore(&mut self, aor: &str, kept: &[BindingRecord], now: Instant) {
        let bindings: Vec<Binding> = kept
            .iter()
            .filter_map(|record| Binding::from_record(record, now))
            .take(self.settings.max_contacts)
            .collect();
        if !bindings.is_empty() && self.records.len() < self.settings.max_records {
            self.ends.set(aor, first_end(&bindings));
            self.keep(aor, bindings);
        }
    }

    /// Whether anybody is registered under this URI.
    pub fn is_registered(&self, uri: &Uri, now: Instant) -> bool {
        self.records
            .get(&canonical(uri))
            .is_some_and(|bindings| bindings.iter().any(|b| b.until > now))
    }

    /// All bindings that have not ended.
    pub fn registrations(&self, now: Instant) -> Vec<Registration> {
        let mut all: Vec<Registration> = self
            .records
            .iter()
            .flat_map(|(aor, bindings)| {
                bindings
                    .iter()
                    .filter(|binding| binding.until > now)
                    .map(|binding| Registration {
                        aor: aor.clone(),
                        contact: binding.contact.clone(),
                        until: binding.until,
                        route: route_of(&binding.path),
                    })
            })
            .collect();
        all.sort_by(|a, b| a.aor.cmp(&b.aor).then_with(|| a.until.cmp(&b.until)));
        all
    }

    /// When the next binding ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ends.next()
    }

    /// Ends the bindings whose time is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<StoreRecord> {
        let mut changed = Vec::new();
        while let Some(aor) = self.ends.take_due(now) {
            let Some(bindings) = self.records.get_mut(&*aor) else {
                continue;
            };
            bindings.retain(|binding| binding.until > now);
            let next = first_end(bindings);
            if next.is_none() && self.records.remove(&*aor).is_some() {
                one_less(&mut self.users, &aor);
            }
            self.ends.set(&aor, next);
            changed.push(self.record_of(aor.to_string(), now));
        }
        changed
    }

    fn process(
        &mut self,
        request: &Request,
        domain_fits: impl Fn(&Uri) -> bool,
        now: Instant,
    ) -> Result<(String, bool), Refusal> {
        let headers = &request.headers;
        let to = headers.to().map_err(|_| Refusal::BadRequest)?;
        // RFC 4475 §3.3.4: an address-of-record of another scheme can be nobody's here.
        if !to.uri.is_sip() {
            return Err(Refusal::BadRequest);
        }
        if !domain_fits(&request.uri) || !domain_fits(&to.uri) || to.uri.user.is_none() {
            return Err(Refusal::NotFound);
        }
        let aor = canonical(&to.uri);
        let contacts = headers.contacts().map_err(|_| Refusal::BadRequest)?;
        // A malformed Expires counts as absent: RFC 3261 §10.2.1.1 wants the default then.
        let expires = headers.expires().unwrap_or_default();
        let wish = Wish {
            call_id: headers.call_id().map_err(|_| Refusal::BadRequest)?,
            cseq: headers.cseq().map_err(|_| Refusal::BadRequest)?.seq,
            path: path_of(headers)?,
        };
        let mut bindings = self.records.get(&aor).cloned().unwrap_or_default();
        bindings.retain(|binding| binding.until > now);
        let changed = match contacts {
            Contacts::Star => {
                if expires != Some(0) {
                    return Err(Refusal::BadRequest);
                }
                for binding in &bindings {
                    binding.check_order(&wish)?;
                }
                bindings.clear();
                true
            }
            Contacts::List(list) => {
                for contact in &list {
                    let granted = self.granted(contact, expires)?;
                    binding::put(&mut bindings, contact, granted, &wish, now)?;
                }
                if bindings.len() > self.settings.max_contacts {
                    return Err(Refusal::TooManyContacts);
                }
                !list.is_empty()
            }
        };
        if changed {
            self.commit(&aor, bindings)?;
        }
        Ok((aor, changed))
    }

    /// RFC 3261 §10.3 step 7: the contact's own wish, the request's, or the default.
    fn granted(&self, contact: &NameAddr, request: Option<u32>) -> Result<Duration, Refusal> {
        let wish = contact
            .expires()
            .or(request)
            .map(u64::from)
            .map(Duration::from_secs);
        let granted = wish
            .unwrap_or(self.settings.default_expires)
            .min(self.settings.max_expires);
        let brief = !granted.is_zero() && granted < self.settings.min_expires;
        if brief && granted < Duration::from_secs(3_600) {
            Err(Refusal::TooBrief)
        } else {
            Ok(granted)
        }
    }

    fn commit(&mut self, aor: &str, mut bindings: Vec<Binding>) -> Result<(), Refusal> {
        let end = first_end(&bindings);
        if bindings.is_empty() {
            if self.records.remove(aor).is_some() {
                one_less(&mut self.users, aor);
            }
        } else {
            let full = self.records.len() >= self.settings.max_records
                || self.users.get(user_of(aor)).copied().unwrap_or(0) >= self.settings.max_records_per_user;
            if full && !self.records.contains_key(aor) {
                return Err(Refusal::Full);
            }
            // RFC 3261 §20.10: a higher q is preferred.
            bindings.sort_by_key(|binding| std::cmp::Reverse(binding.contact.q()));
            self.keep(aor, bindings);
        }
        self.ends.set(aor, end);
        Ok(())
    }

    fn keep(&mut self, aor: &str, bindings: Vec<Binding>) {
        if self.records.insert(aor.to_owned(), bindings).is_none() {
            *self.users.entry(user_of(aor).to_owned()).or_insert(0) += 1;
        }
    }

    fn record_of(&self, aor: String, now: Instant) -> StoreRecord {
        let bindings = self.records.get(&aor).map(Vec::as_slice).unwrap_or_default();
        let bindings = bindings.iter().map(|binding| binding.to_record(now)).collect();
        StoreRecord::Bindings { aor, bindings }
    }

    fn refusal_response(&self, request: &Request, refusal: Refusal) -> Response {
        let mut response = Response::to(request, refusal.status());
        match refusal {
            Refusal::TooBrief => {
                response
                    .headers
                    .set(HeaderName::MinExpires, self.settings.min_expires.as_secs());
            }
            Refusal::Full => {
                response
                    .headers
                    .set(HeaderName::RetryAfter, crate::focus::limits::RETRY_AFTER);
            }
            Refusal::TooManyContacts => {
                response
                    .headers
                    .push(HeaderName::Warning, "399 meet \"too many contacts\"");
            }
            Refusal::OutOfOrder => {
                response
                    .headers
                    .push(HeaderName::Warning, "399 meet \"CSeq is not newer\"");
            }
            Refusal::BadRequest | Refusal::NotFound => {}
        }
        response
    }
}

/// The user part of a canonical address-of-record.
fn user_of(aor: &str) -> &str {
    aor.rsplit_once('@').map_or(aor, |(user, _)| user)
}

fn one_less(users: &mut HashMap<String, usize>, aor: &str) {
    if let Some(count) = users.get_mut(user_of(aor)) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            users.remove(user_of(aor));
        }
    }
}

fn first_end(bindings: &[Binding]) -> Option<Instant> {
    bindings.iter().map(|binding| binding.until).min()
}

/// The Path of a REGISTER as one line (RFC 3327 §5.3); one that cannot be read, or is longer than any sane chain of
/// proxies, fails the request, for nobody could be reached by it.
fn path_of(headers: &Headers) -> Result<String, Refusal> {
    let path: Vec<&str> = headers.list(&HeaderName::Path).collect();
    let readable = path.iter().all(|hop| hop.parse::<NameAddr>().is_ok());
    let joined = path.join(", ");
    if readable && joined.len() <= limits::MAX_PATH_BYTES {
        Ok(joined)
    } else {
        Err(Refusal::BadRequest)
    }
}

fn route_of(path: &str) -> Vec<NameAddr> {
    let mut headers = Headers::new();
    headers.push(HeaderName::Path, path);
    headers.readable(&HeaderName::Path)
}

/// The address-of-record as an index: no parameters, escapes decoded, host and scheme in lower
/// case (RFC 3261 §10.3 step 5). `sips` is the same address as `sip` here.
pub fn canonical(uri: &Uri) -> String {
    let user = uri.user_decoded().unwrap_or_default();
    let host = uri.host.to_string().to_ascii_lowercase();
    match (&uri.scheme, uri.port) {
        (Scheme::Sip, Some(port)) if port != 5060 => format!("sip:{user}@{host}:{port}"),
        (Scheme::Sips, Some(port)) if port != 5061 => format!("sip:{user}@{host}:{port}"),
        _ => format!("sip:{user}@{host}"),
    }
}

#[cfg(test)]
mod tests;
