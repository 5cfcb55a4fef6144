//! Keys and what they mean.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What the user wants of the call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Microphone off or on.
    Mute(bool),
    /// Put the other side on hold, or take it back.
    Hold(bool),
    /// Factor for what is heard.
    Volume(f32),
    /// Send a digit.
    Digit(char),
    /// Take the call that rings.
    PickUp,
    /// Only the picture changed.
    Redraw,
}

/// What a key means, before the model gives it a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    ToggleMute,
    ToggleHold,
    Louder,
    Quieter,
    ToggleStats,
    ToggleHelp,
    Back,
    PickUp,
    Up,
    Down,
    Digit(char),
}

/// Names of the keys, for the help page: the one place where they are told.
pub(super) const HELP: [(&str, &str); 10] = [
    ("m", "microphone off or on"),
    ("h", "hold the call or resume it"),
    ("+  -", "volume"),
    ("s", "statistics"),
    ("0-9 * # A-D", "send a digit"),
    ("*6", "mute yourself in the conference"),
    ("up  down", "scroll the people"),
    ("enter", "take a call that rings"),
    ("?", "this page"),
    ("q  ctrl-c", "leave"),
];

pub(super) fn key(event: KeyEvent) -> Option<Key> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        // In raw mode the terminal sends no signal for these.
        KeyCode::Char('c' | 'd') if control => Key::Quit,
        _ if control => return None,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Char('m' | ' ') => Key::ToggleMute,
        KeyCode::Char('+' | '=') => Key::Louder,
        KeyCode::Char('-' | '_') => Key::Quieter,
        KeyCode::Char('s') => Key::ToggleStats,
        KeyCode::Char('h') => Key::ToggleHold,
        KeyCode::Char('?') => Key::ToggleHelp,
        KeyCode::Esc => Key::Back,
        KeyCode::Enter => Key::PickUp,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Char(digit @ ('0'..='9' | '*' | '#' | 'A'..='D')) => Key::Digit(digit),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_commands_do_not_collide() {
        let plain = |c| key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE));
        for digit in "0123456789*#ABCD".chars() {
            assert_eq!(plain(digit), Some(Key::Digit(digit)));
        }
        assert_eq!(plain('m'), Some(Key::ToggleMute));
        assert_eq!(plain('h'), Some(Key::ToggleHold));
        assert_eq!(plain('x'), None);
        let control = |c| key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL));
        assert_eq!(control('c'), Some(Key::Quit));
        assert_eq!(control('m'), None);
    }
}
