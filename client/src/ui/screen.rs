//! The terminal itself: taken in raw mode, given back whatever happens.
//!
//! Keys are read on a thread of their own, because a terminal read blocks. A panic gives the terminal back before
//! its message is printed. Deliberately absent: mouse.

use std::io::{Stdout, Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event as TerminalEvent, KeyEventKind};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::mpsc;

use super::draw::draw;
use super::keys::{Action, Key, key};
use super::model::Model;
use crate::cli::events::Event;
use crate::limits;

/// How often the picture is drawn at most.
const FRAME: Duration = Duration::from_millis(80);

/// The terminal interface.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    model: Model,
    keys: mpsc::Receiver<Option<Key>>,
    stop: Arc<AtomicBool>,
    color: bool,
    dirty: bool,
    drawn: Instant,
    open: bool,
}

impl Screen {
    /// Takes the terminal.
    pub fn open() -> std::io::Result<Self> {
        enable_raw_mode()?;
        if let Err(error) = execute!(stdout(), EnterAlternateScreen, cursor::Hide) {
            restore();
            return Err(error);
        }
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
        let terminal = Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| restore())?;
        let (sender, keys) = mpsc::channel(limits::KEYS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || read_keys(&sender, &stopped))?;
        let now = Instant::now();
        Ok(Self {
            terminal,
            model: Model::new(),
            keys,
            stop,
            color: std::env::var_os("NO_COLOR").is_none(),
            dirty: true,
            drawn: now.checked_sub(FRAME).unwrap_or(now),
            open: true,
        })
    }

    /// Takes an event.
    pub fn tell(&mut self, event: &Event) {
        self.model.take(event, Instant::now());
        self.dirty = true;
    }

    /// Takes levels.
    pub fn levels(&mut self, heard_db: f32, sent_db: f32) {
        self.model.levels(heard_db, sent_db);
        self.dirty = true;
    }

    /// The microphone's state at the start.
    pub fn set_muted(&mut self, muted: bool) {
        self.model.muted = muted;
    }

    /// Draws when something changed and the last picture is old enough.
    pub fn draw(&mut self) {
        let now = Instant::now();
        if !self.dirty || !self.open || now.duration_since(self.drawn) < FRAME {
            return;
        }
        let (model, color) = (&self.model, self.color);
        match self.terminal.draw(|frame| draw(frame, model, color, now)) {
            Ok(_) => self.dirty = false,
            Err(error) => tracing::debug!(%error, "terminal"),
        }
        self.drawn = now;
    }

    /// The next thing that the user wants; also wakes up to draw what is waiting.
    pub async fn action(&mut self) -> Action {
        let pause = if self.dirty { FRAME } else { Duration::from_secs(1) };
        tokio::select! {
            pressed = self.keys.recv() => match pressed {
                Some(Some(key)) => {
                    self.dirty = true;
                    self.model.press(key)
                }
                Some(None) => {
                    self.dirty = true;
                    Action::Redraw
                }
                // The terminal is gone.
                None => Action::Quit,
            },
            () = tokio::time::sleep(pause) => {
                // The clock in the header moves on.
                self.dirty = true;
                Action::Redraw
            }
        }
    }

    /// Gives the terminal back and leaves the last news on it.
    pub fn close(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        self.stop.store(true, Ordering::Relaxed);
        restore();
        let mut out = stdout().lock();
        for line in self.model.parting() {
            if writeln!(out, "{line}").is_err() {
                return;
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

/// Gives the terminal back; errors cannot be told to anybody at this point.
fn restore() {
    if disable_raw_mode().is_ok() {
        let _ = execute!(stdout(), LeaveAlternateScreen, cursor::Show);
    }
}

/// Reads keys until told to stop; `None` stands for a resize.
fn read_keys(sender: &mpsc::Sender<Option<Key>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match event::poll(Duration::from_millis(200)) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => return,
        }
        let sent = match event::read() {
            Ok(TerminalEvent::Key(pressed)) if pressed.kind != KeyEventKind::Release => {
                key(pressed).map(|key| sender.blocking_send(Some(key)))
            }
            Ok(TerminalEvent::Resize(..)) => Some(sender.blocking_send(None)),
            Ok(_) => None,
            Err(_) => return,
        };
        if sent.is_some_and(|sent| sent.is_err()) {
            return;
        }
    }
}
