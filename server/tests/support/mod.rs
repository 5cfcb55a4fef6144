//! A `meet-server` process behind a guard, and bare sockets to talk to it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take before the test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meet-server"));
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEET_")) {
        command.env_remove(name);
    }
    command
}

/// Runs to its end.
pub fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running server; it is killed when dropped.
pub struct Server {
    pub child: Child,
    pub ready: String,
    pub sip: SocketAddr,
    pub http: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn lan(data: &Path) -> Self {
        Self::with(data, &[])
    }

    pub fn with(data: &Path, more: &[&str]) -> Self {
        let base = [
            "--lan",
            "--listen",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--data-dir",
        ];
        Self::start(&[&base[..], &[data.to_str().unwrap()], more].concat())
    }

    pub fn start(args: &[&str]) -> Self {
        let mut child = command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::default());
        let kept: Arc<Mutex<Vec<String>>> = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("  server: {line}");
                kept.lock().unwrap().push(line);
            }
        });
        let ready = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            drop(child.kill());
            panic!("no ready line")
        });
        let field = |key: &str| {
            let rest = ready
                .split_whitespace()
                .find_map(|w| w.strip_prefix(key))
                .unwrap();
            rest.parse().unwrap_or_else(|_| panic!("{key} in {ready}"))
        };
        assert!(ready.starts_with("ready sip="), "{ready}");
        let (sip, http) = (field("sip="), field("http="));
        Self {
            child,
            ready,
            sip,
            http,
            log,
        }
    }

    /// The first line of the log that satisfies.
    pub fn wait_log(&self, good: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.log.lock().unwrap().iter().find(|line| good(line)).cloned();
            if let Some(line) = found {
                return line;
            }
            assert!(Instant::now() < deadline, "no such line in the log");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "")
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = self.http.to_string();
        let mut all = vec![("Host", host.as_str())];
        all.extend_from_slice(headers);
        raw(self.http, method, path, &all, body)
    }

    /// Polls until the answer's body satisfies.
    pub fn until(&self, path: &str, good: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path);
            if answer.status == 200 && good(&answer.json()) {
                return answer.json();
            }
            assert!(
                Instant::now() < deadline,
                "{path} still says {} {}",
                answer.status,
                answer.body
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Server {
    /// A value of `/metrics`; see [`value_of`].
    pub fn metric(&self, name: &str) -> f64 {
        value_of(&self.get("/metrics").body, name)
    }

    /// Polls a value of `/metrics` until it satisfies.
    pub fn wait_metric(&self, name: &str, good: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name);
            if good(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is still {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The sum over all labels of a value of `/metrics`, or the one value of `name{label="…"}`. A name that nobody writes
/// fails the test.
pub fn value_of(metrics: &str, name: &str) -> f64 {
    let values: Vec<f64> = metrics
        .lines()
        .filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let labels = key.strip_prefix(name)?;
            (labels.is_empty() || labels.starts_with('{')).then(|| value.parse().unwrap())
        })
        .collect();
    assert!(!values.is_empty(), "no {name} in {metrics}");
    values.iter().sum()
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// One HTTP request with exactly these headers.
pub fn raw(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Answer {
        status,
        head: head.to_owned(),
        body,
    }
}

fn unchunk(mut rest: &str) -> String {
    let mut out = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        out.push_str(&tail[..size]);
        rest = tail[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    out
}

/// A SIP phone on a bare UDP socket.
pub struct Phone {
    pub socket: UdpSocket,
    /// Where [`Self::offer`] wants its media: nobody reads there, and nobody else can be there.
    pub media: UdpSocket,
    pub server: SocketAddr,
    pub me: SocketAddr,
    pub call_id: String,
    pub name: String,
}

/// A message as text, with the parts that tests ask for.
#[derive(Debug, Clone)]
pub struct Sip(pub String);

impl Sip {
    pub fn status(&self) -> u16 {
        let line = self.0.lines().next().unwrap();
        line.strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3))
            .map_or(0, |code| code.parse().unwrap())
    }

    pub fn method(&self) -> &str {
        self.0.split(' ').next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.0.split("\r\n\r\n").next().unwrap();
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub fn uri_of(&self, name: &str) -> String {
        let value = self.header(name).unwrap();
        let value = value.split_once('<').map_or(value, |(_, rest)| rest);
        value.split('>').next().unwrap().to_owned()
    }

    pub fn media_port(&self) -> u16 {
        let line = self.body().lines().find(|l| l.starts_with("m=audio ")).unwrap();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Phone {
    pub fn new(server: SocketAddr, name: &str) -> Self {
        let ip = server.ip();
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let me = socket.local_addr().unwrap();
        let media = UdpSocket::bind((ip, 0)).unwrap();
        let call_id = format!("{name}-{}-{}", me.port(), std::process::id());
        Self {
            socket,
            media,
            server,
            me,
            call_id,
            name: name.to_owned(),
        }
    }

    pub fn request(&self, method: &str, uri: &str, to: &str, cseq: u32, more: &str, body: &str) -> String {
        let Self {
            me, name, call_id, ..
        } = self;
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{method}{cseq}{port};rport\r\n\
             Max-Forwards: 70\r\nFrom: \"{name}\" <sip:{name}@{me}>;tag=t{port}\r\nTo: {to}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{name}@{me}>\r\n{more}{kind}\
             Content-Length: {length}\r\n\r\n{body}",
            port = me.port(),
            length = body.len()
        )
    }

    /// An offer of PCMU by a phone that hears nothing.
    pub fn offer(&self) -> String {
        let address = self.media.local_addr().unwrap();
        pcmu(&address.ip().to_string(), address.port())
    }

    pub fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.server).unwrap();
    }

    /// The next message that satisfies; repeats `again` every half second.
    pub fn expect(&self, what: &str, again: Option<&str>, good: impl Fn(&Sip) -> bool) -> Sip {
        let deadline = Instant::now() + PATIENCE;
        let mut sent = Instant::now();
        let mut buffer = vec![0; 65536];
        while Instant::now() < deadline {
            if let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
                let message = Sip(String::from_utf8_lossy(&buffer[..length]).into_owned());
                if good(&message) {
                    return message;
                }
            } else if let Some(text) = again
                && sent.elapsed() > Duration::from_millis(500)
            {
                sent = Instant::now();
                self.send(text);
            }
        }
        panic!("{} got no {what}", self.name);
    }

    /// Sends a request and waits for its final answer.
    pub fn ask(&self, text: &str) -> Sip {
        self.send(text);
        let cseq = Sip(text.to_owned()).header("CSeq").unwrap().to_owned();
        self.expect("answer", Some(text), |m| {
            m.status() >= 200 && m.header("CSeq") == Some(cseq.as_str())
        })
    }

    /// Calls a room; gives the 200 and sends the ACK.
    pub fn call(&self, uri: &str, sdp: &str) -> Sip {
        let invite = self.request("INVITE", uri, &format!("<{uri}>"), 1, "", sdp);
        let answer = self.ask(&invite);
        let to = answer.header("To").unwrap().to_owned();
        let target = if answer.status() < 300 {
            answer.uri_of("Contact")
        } else {
            uri.to_owned()
        };
        self.send(&self.request("ACK", &target, &to, 1, "", ""));
        answer
    }

    /// Says goodbye and waits for the answer.
    pub fn bye(&self, answer: &Sip, cseq: u32) -> Sip {
        let text = self.request(
            "BYE",
            &answer.uri_of("Contact"),
            answer.header("To").unwrap(),
            cseq,
            "",
            "",
        );
        self.ask(&text)
    }

    /// Answers a request of the server with 200.
    pub fn ok(&self, request: &Sip) {
        let mut text = "SIP/2.0 200 OK\r\n".to_owned();
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            text.push_str(&format!("{name}: {}\r\n", request.header(name).unwrap()));
        }
        self.send(&(text + "Content-Length: 0\r\n\r\n"));
    }
}

/// An SDP offer of PCMU at a port.
pub fn pcmu(ip: &str, port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
    )
}
