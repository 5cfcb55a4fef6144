//! What each command does.
//!
//! Thin: arguments become settings, settings become a conversation or a question to the API. Deliberately
//! absent: the loop itself (`crate::drivers`).

use std::io::IsTerminal;
use std::time::Instant;

use clap::Parser;
use sip_proto::uri::{Host, Uri};

use super::api::Api;
use super::args::{AudioArgs, Cli, Command, CreateArgs, RegisterArgs};
use super::config::{AudioSettings, ServerAddress, Settings};
use super::events::{Event, Printer};
use super::state::Tokens;
use crate::account::Account;
use crate::call::PhoneEvent;
use crate::drivers::{Conversation, Front, Purpose, Signalling};
use crate::error::{Exit, MeetError};
use crate::limits;
use crate::ui::Screen;

/// The whole program: parses the command line, runs the command, gives the exit code.
pub fn main() -> Exit {
    let cli = Cli::parse();
    let printer = Printer::new(cli.global.json);
    match run(cli, &printer) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = error.exit();
            if printer.is_json() {
                printer.print(&Event::Error {
                    message: error.to_string(),
                    exit: Some(exit as u8),
                });
            } else {
                eprintln!("meet: {error}");
            }
            exit
        }
    }
}

fn run(cli: Cli, printer: &Printer) -> Result<Exit, MeetError> {
    let mut settings = Settings::load(&cli.global)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| MeetError::System {
            what: "no runtime",
            source,
        })?;
    let screen = wants_screen(&cli.command, &settings);
    start_log(&settings, screen);
    match cli.command {
        Command::Devices => devices(printer),
        Command::List => {
            let api = runtime.block_on(find_api(&settings))?;
            for meeting in api.list()? {
                printer.print(&Event::Meeting { meeting });
            }
            Ok(Exit::Ok)
        }
        Command::Cancel(args) => cancel(&runtime, &settings, &args.room, args.token, printer),
        Command::Create(args) if args.no_join => create_only(&runtime, &settings, &args, printer),
        Command::Create(args) => {
            let audio = settings.audio(&args.audio)?;
            let account = account(&settings, true)?;
            let target = account.factory(args.room.as_deref());
            let purpose = Purpose::Call { target, create: true };
            runtime.block_on(converse(settings, audio, purpose, account, false, screen))
        }
        Command::Join(args) => call(&runtime, &mut settings, &args.target, &args.audio, screen),
        Command::Call(args) => call(&runtime, &mut settings, &args.target, &args.audio, screen),
        Command::Register(args) => register(&runtime, settings, &args, screen),
    }
}

fn call(
    runtime: &tokio::runtime::Runtime,
    settings: &mut Settings,
    target: &str,
    audio: &AudioArgs,
    screen: bool,
) -> Result<Exit, MeetError> {
    let audio = settings.audio(audio)?;
    let target = destination(settings, target)?;
    let account = account(settings, true)?;
    let uri = match target {
        Destination::Room(name) => account.room(&name),
        Destination::Uri(uri) => *uri,
    };
    let purpose = Purpose::Call {
        target: uri,
        create: false,
    };
    runtime.block_on(converse(settings.clone(), audio, purpose, account, false, screen))
}

fn register(
    runtime: &tokio::runtime::Runtime,
    settings: Settings,
    args: &RegisterArgs,
    screen: bool,
) -> Result<Exit, MeetError> {
    let audio = settings.audio(&args.audio)?;
    let account = account(&settings, false)?;
    let purpose = Purpose::Register {
        expires: args.expires,
        once: args.once,
    };
    runtime.block_on(converse(settings, audio, purpose, account, args.answer, screen))
}

async fn converse(
    settings: Settings,
    audio: AudioSettings,
    purpose: Purpose,
    account: Account,
    answer: bool,
    screen: bool,
) -> Result<Exit, MeetError> {
    let signalling = Signalling::open(&settings, account, answer).await?;
    let json = settings.json;
    // Sound is opened before the terminal is taken, so that its complaints are seen.
    let mut conversation = Conversation::new(
        settings,
        audio,
        purpose,
        signalling,
        Front::Lines(Printer::new(json)),
    )?;
    if screen {
        conversation.show(Front::Screen(Box::new(
            Screen::open().map_err(MeetError::Terminal)?,
        )));
    }
    Box::pin(conversation.run()).await
}

/// Whether the terminal interface is to be shown.
fn wants_screen(command: &Command, settings: &Settings) -> bool {
    let audio = match command {
        Command::Create(args) if !args.no_join => &args.audio,
        Command::Join(args) => &args.audio,
        Command::Call(args) => &args.audio,
        Command::Register(args) if !args.once => &args.audio,
        _ => return false,
    };
    !audio.headless && !settings.json && std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Who we are. Without an account the address gets a number, unless others must be able to dial it.
fn account(settings: &Settings, unique: bool) -> Result<Account, MeetError> {
    let bad = |_| MeetError::BadValue {
        what: "--server",
        value: settings.server.to_string(),
        hint: "it is HOST:PORT, as in 192.0.2.7:5060",
    };
    let host = Host::parse_bare(&settings.server.host).map_err(bad)?;
    let port = (settings.server.port != 5060).then_some(settings.server.port);
    Ok(match &settings.login {
        Some(login) => Account::with_login(&settings.name, &login.user, &login.password, host, port),
        None => {
            let mut number = [0; 2];
            let drawn = unique && getrandom::fill(&mut number).is_ok();
            Account::guest(
                &settings.name,
                drawn.then(|| u16::from_le_bytes(number)),
                host,
                port,
            )
        }
    })
}

/// What a person typed as a destination.
#[derive(Debug, PartialEq)]
enum Destination {
    Room(String),
    Uri(Box<Uri>),
}

/// A meeting's name or an address; an address of another host becomes the server, unless one was named.
fn destination(settings: &mut Settings, text: &str) -> Result<Destination, MeetError> {
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with("sip:") && !lower.starts_with("sips:") {
        let bad = text.is_empty()
            || text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>@/".contains(c));
        if bad {
            return Err(MeetError::BadValue {
                what: "the destination",
                value: text.to_owned(),
                hint: "it is a meeting's name, as in standup, or an address, as in sip:alice@192.0.2.7",
            });
        }
        return Ok(Destination::Room(text.to_owned()));
    }
    let bad = || MeetError::BadValue {
        what: "the destination",
        value: text.to_owned(),
        hint: "an address looks like sip:alice@192.0.2.7:5060",
    };
    let uri: Uri = text.parse().map_err(|_| bad())?;
    if lower.starts_with("sips:") {
        return Err(MeetError::BadValue {
            what: "the destination",
            value: text.to_owned(),
            hint: "TLS is not there yet: use sip:",
        });
    }
    if !settings.server_given {
        let host = match &uri.host {
            Host::Name(name) if name.is_empty() => return Err(bad()),
            Host::Name(name) => name.clone(),
            Host::V4(address) => address.to_string(),
            Host::V6(address) => address.to_string(),
        };
        settings.server = ServerAddress {
            host,
            port: uri.port.unwrap_or(5060),
            port_given: uri.port.is_some(),
        };
        if uri
            .transport()
            .is_some_and(|transport| transport.eq_ignore_ascii_case("tcp"))
        {
            settings.transport = Some(super::args::TransportChoice::Tcp);
        }
    }
    Ok(Destination::Uri(Box::new(uri)))
}

fn create_only(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    args: &CreateArgs,
    printer: &Printer,
) -> Result<Exit, MeetError> {
    let api = runtime.block_on(find_api(settings))?;
    let made = api.create(args.room.as_deref())?;
    if let (Some(token), Some(mut tokens)) = (&made.token, Tokens::load()) {
        tokens.remember(&settings.server.to_string(), &made.name, token)?;
    }
    printer.print(&Event::Created {
        room: made.uri,
        token: made.token,
    });
    Ok(Exit::Ok)
}

fn cancel(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    room: &str,
    token: Option<String>,
    printer: &Printer,
) -> Result<Exit, MeetError> {
    // A whole address is taken, too: it is what `meet create` printed.
    let name = room
        .parse::<Uri>()
        .ok()
        .filter(Uri::is_sip)
        .and_then(|uri| uri.user_decoded().map(|u| u.into_owned()));
    let name = name.unwrap_or_else(|| room.to_owned());
    let server = settings.server.to_string();
    let mut tokens = Tokens::load();
    let remembered = || {
        tokens
            .as_ref()
            .and_then(|tokens| tokens.get(&server, &name))
            .map(str::to_owned)
    };
    let token = token
        .or_else(remembered)
        .ok_or_else(|| MeetError::NoToken { room: name.clone() })?;
    let api = runtime.block_on(find_api(settings))?;
    api.end(&name, &token)?;
    if let Some(tokens) = &mut tokens {
        tokens.forget(&server, &name)?;
    }
    printer.print(&Event::Cancelled { room: name });
    Ok(Exit::Ok)
}

/// The API: as the user said, or as the server says in its answer to OPTIONS.
async fn find_api(settings: &Settings) -> Result<Api, MeetError> {
    let bearer = std::env::var("MEET_API_TOKEN").ok();
    if let Some(url) = &settings.api {
        return Ok(Api::new(url, bearer));
    }
    let server = settings.server.to_string();
    let mut signalling = Signalling::open(settings, account(settings, true)?, false).await?;
    let transport = signalling.transport();
    let no_answer = || MeetError::NoAnswer {
        server: server.clone(),
        transport: transport.as_str(),
    };
    // A server of several gets its share of the patience.
    let ways = u32::try_from(signalling.ways()).unwrap_or(1);
    let asked = tokio::time::timeout(limits::ANSWER_WAIT * ways, async {
        loop {
            signalling.phone.query(Instant::now())?;
            let asked = tokio::time::timeout(limits::ANSWER_WAIT, answer_to_query(&mut signalling)).await;
            match asked {
                Ok(Some(api)) => return Ok(api),
                Ok(None) | Err(_) if signalling.next_target(settings).await => {}
                Ok(None) | Err(_) => return Err(no_answer()),
            }
        }
    });
    let url = asked.await.map_err(|_| no_answer())??;
    url.map(|url| Api::new(&url, bearer))
        .ok_or(MeetError::NoApi { server })
}

/// The API that the server names, if it names one; `None` when it did not answer.
async fn answer_to_query(signalling: &mut Signalling) -> Option<Option<String>> {
    loop {
        for event in signalling.flush().await {
            match event {
                PhoneEvent::Server { api } => return Some(api),
                PhoneEvent::NoServer {
                    status: None | Some(503),
                } => return None,
                PhoneEvent::NoServer { status: Some(_) } => return Some(None),
                _ => {}
            }
        }
        signalling.wait().await;
    }
}

#[cfg(feature = "devices")]
fn devices(printer: &Printer) -> Result<Exit, MeetError> {
    use crate::media::devices::{Direction, list};
    for direction in [Direction::In, Direction::Out] {
        for device in list(direction)? {
            printer.print(&Event::Device {
                kind: direction.as_str(),
                name: device.id,
                label: device.label,
                default: device.default,
            });
        }
    }
    Ok(Exit::Ok)
}

#[cfg(not(feature = "devices"))]
fn devices(_printer: &Printer) -> Result<Exit, MeetError> {
    Err(crate::media::MediaError::NoDevices.into())
}

/// Logs go to standard error; not into the picture of the terminal interface, unless redirected.
fn start_log(settings: &Settings, screen: bool) {
    if screen && std::io::stderr().is_terminal() {
        return;
    }
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let made = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_writer(std::io::stderr)
        .try_init();
    if let Err(error) = made {
        eprintln!("meet: no log: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::GlobalArgs;
    use crate::cli::config::FileConfig;

    fn settings(server: Option<&str>) -> Settings {
        let args = GlobalArgs {
            server: server.map(str::to_owned),
            ..GlobalArgs::default()
        };
        Settings::merge(&args, FileConfig::default(), None).unwrap()
    }

    #[test]
    fn a_name_is_a_meeting_on_the_server() {
        let mut own = settings(None);
        assert_eq!(
            destination(&mut own, "standup").unwrap(),
            Destination::Room("standup".into())
        );
        assert_eq!(own.server.to_string(), "127.0.0.1:5060");
        for bad in ["", "a b", "alice@host", "<x>"] {
            assert!(destination(&mut own, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_names_the_server_unless_one_was_given() {
        let mut own = settings(None);
        destination(&mut own, "sip:a@192.0.2.7:5070;transport=tcp").unwrap();
        assert_eq!(own.server.to_string(), "192.0.2.7:5070");
        assert_eq!(own.transport, Some(crate::cli::args::TransportChoice::Tcp));
        let mut own = settings(Some("proxy:5080"));
        destination(&mut own, "sip:a@192.0.2.7").unwrap();
        assert_eq!(own.server.to_string(), "proxy:5080");
        let mut own = settings(None);
        destination(&mut own, "sip:a@[2001:db8::1]").unwrap();
        assert_eq!(own.server.to_string(), "[2001:db8::1]:5060");
        assert!(destination(&mut own, "sips:a@h").is_err());
        assert!(destination(&mut own, "sip:").is_err());
    }
}
