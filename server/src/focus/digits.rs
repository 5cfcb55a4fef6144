//! Digits of one leg: collected until they end with a code, whichever way they came.
//!
//! Also reads the two bodies in which phones send digits by SIP INFO. Deliberately absent:
//! telephone-events, which the mixer hands over as digits already deduplicated.

use std::time::Instant;

use super::limits;
use super::policy::{DIGIT_CODES, DigitAction};

/// The latest digits of one leg.
#[derive(Debug, Clone, Default)]
pub struct DigitBuffer {
    digits: String,
    last: Option<Instant>,
}

impl DigitBuffer {
    /// Takes a digit and says what the code that it completes does.
    pub fn press(&mut self, digit: char, now: Instant) -> Option<DigitAction> {
        let paused = self
            .last
            .is_some_and(|last| now.duration_since(last) > limits::DIGIT_PAUSE);
        if paused {
            self.digits.clear();
        }
        self.last = Some(now);
        if self.digits.len() >= limits::MAX_DIGITS {
            self.digits.remove(0);
        }
        self.digits.push(digit);
        let (_, action) = DIGIT_CODES.iter().find(|(code, _)| self.digits.ends_with(code))?;
        self.digits.clear();
        Some(*action)
    }
}

/// Reads the digit of an INFO body. `None`: not a digit body, or no digit in it.
pub fn digit_of_info(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = if content_type.eq_ignore_ascii_case("application/dtmf-relay") {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?
    } else if content_type.eq_ignore_ascii_case("application/dtmf") {
        text.trim()
    } else {
        return None;
    };
    as_digit(signal)
}

/// A digit by its sign or, as some phones write it, by its event number (10 is `*`, 11 is `#`).
fn as_digit(signal: &str) -> Option<char> {
    let mut chars = signal.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => {
            let c = c.to_ascii_uppercase();
            matches!(c, '0'..='9' | '*' | '#' | 'A'..='D').then_some(c)
        }
        _ => match signal {
            "10" => Some('*'),
            "11" => Some('#'),
            "12" => Some('A'),
            "13" => Some('B'),
            "14" => Some('C'),
            "15" => Some('D'),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn press_all(buffer: &mut DigitBuffer, digits: &str, now: Instant) -> Vec<DigitAction> {
        digits
            .chars()
            .filter_map(|digit| buffer.press(digit, now))
            .collect()
    }

    #[test]
    fn codes_are_found_at_the_end_of_what_was_pressed() {
        let now = Instant::now();
        let mut buffer = DigitBuffer::default();
        assert_eq!(press_all(&mut buffer, "12*6", now), [DigitAction::ToggleMute]);
        assert_eq!(press_all(&mut buffer, "6", now), []);
        assert_eq!(
            press_all(&mut buffer, "123456789*0#", now),
            [DigitAction::EndMeeting]
        );
        assert_eq!(press_all(&mut buffer, "*6*6", now).len(), 2);
    }

    #[test]
    fn a_pause_begins_a_new_code() {
        let now = Instant::now();
        let mut buffer = DigitBuffer::default();
        assert_eq!(buffer.press('*', now), None);
        let later = now + limits::DIGIT_PAUSE + Duration::from_millis(1);
        assert_eq!(buffer.press('6', later), None);
    }

    #[test]
    fn info_bodies() {
        let relay = |body: &[u8]| digit_of_info("application/dtmf-relay", body);
        assert_eq!(relay(b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(relay(b"duration = 100\r\n signal = * \r\n"), Some('*'));
        assert_eq!(relay(b"Signal=11\r\n"), Some('#'));
        assert_eq!(digit_of_info("Application/DTMF", b"d\r\n"), Some('D'));
        for bad in [&b"Signal=\r\n"[..], b"Signal=16", b"5", b"\xff", b""] {
            assert_eq!(relay(bad), None);
        }
        assert_eq!(digit_of_info("application/dtmf", b"55"), None);
        assert_eq!(digit_of_info("text/plain", b"5"), None);
    }
}
