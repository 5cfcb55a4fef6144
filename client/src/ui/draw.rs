//! The picture. It fits any size from about 20 × 5 upwards: panes go, in this order, when room is short:
//! notices, statistics, the right-hand side.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use super::keys::HELP;
use super::model::{Model, Phase};
use crate::cli::events::{Person, StatsLine};

/// The quietest level that a meter shows, in dBFS.
const METER_FLOOR: f32 = -60.0;

/// Draws everything; without `color` only bold and reverse are used.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, color: bool, now: Instant) {
    let area = frame.area();
    if area.height < 3 || area.width < 10 {
        frame.render_widget(Paragraph::new("too small"), area);
        return;
    }
    let [header, body, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(header_line(model, color, now)), header);
    frame.render_widget(Paragraph::new(footer_line(model, area.width)), footer);
    if area.width >= 50 {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(body);
        people(frame, left, model, color);
        side(frame, right, model, color);
    } else {
        let meters = if body.height >= 8 { 4 } else { 2 };
        let [top, bottom] = Layout::vertical([Constraint::Min(1), Constraint::Length(meters)]).areas(body);
        people(frame, top, model, color);
        frame.render_widget(
            Paragraph::new(meter_lines(model, color, usize::from(bottom.width))),
            bottom,
        );
    }
    if model.show_help {
        help(frame, area);
    }
}

fn paint(color: bool, wanted: Color) -> Style {
    if color {
        Style::new().fg(wanted)
    } else {
        Style::new()
    }
}

fn header_line(model: &Model, color: bool, now: Instant) -> Line<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let (text, style) = match &model.phase {
        Phase::Waiting(what) => (what.clone(), paint(color, Color::Yellow)),
        Phase::Rings(from) => (
            format!("{from} calls: enter to answer, q to refuse"),
            paint(color, Color::Yellow),
        ),
        Phase::InCall(room) => (room.clone(), paint(color, Color::Green)),
        Phase::Over(why) => (why.clone(), paint(color, Color::Red)),
    };
    let mut spans = vec![
        Span::styled(" meet ", bold.add_modifier(Modifier::REVERSED)),
        Span::raw(" "),
    ];
    spans.push(Span::styled(text, style.patch(bold)));
    if model.held || model.holding {
        let text = if model.holding { "  YOU HOLD" } else { "  ON HOLD" };
        spans.push(Span::styled(text, paint(color, Color::Yellow).patch(bold)));
    }
    if let Some(elapsed) = model.elapsed(now) {
        let seconds = elapsed.as_secs();
        spans.push(Span::raw(format!(
            "  {:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        )));
    }
    Line::from(spans)
}

fn footer_line(model: &Model, width: u16) -> Line<'static> {
    let mute = if model.muted { "m unmute" } else { "m mute" };
    let hold = if model.holding { "resume" } else { "hold" };
    let text = if width >= 78 {
        format!(
            " {mute}  h {hold}  +/- volume {}%  s stats  0-9*# digits  ? help  q leave",
            model.volume
        )
    } else {
        format!(" {mute}  +/- {}%  ? help  q leave", model.volume)
    };
    Line::styled(text, Style::new().add_modifier(Modifier::DIM))
}

fn people(frame: &mut Frame<'_>, area: Rect, model: &Model, color: bool) {
    let block = Block::new()
        .borders(Borders::ALL)
        .title(format!(" people ({}) ", model.people.len()));
    let room = usize::from(block.inner(area).height);
    let skip = model.scroll.min(model.people.len().saturating_sub(room));
    let lines: Vec<Line<'_>> = model
        .people
        .iter()
        .skip(skip)
        .take(room)
        .map(|person| person_line(person, color))
        .collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn person_line(person: &Person, color: bool) -> Line<'_> {
    let (mark, style) = if person.speaking {
        ("▶ ", paint(color, Color::Cyan).add_modifier(Modifier::BOLD))
    } else {
        ("  ", Style::new())
    };
    let mut notes = Vec::new();
    if person.me {
        notes.push("you");
    }
    if person.muted {
        notes.push("muted");
    }
    if person.status != "connected" {
        notes.push(person.status.as_str());
    }
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join(", "))
    };
    Line::from(vec![
        Span::styled(mark, style),
        Span::styled(person.name.as_str(), style),
        Span::styled(notes, Style::new().add_modifier(Modifier::DIM)),
    ])
}

fn side(frame: &mut Frame<'_>, area: Rect, model: &Model, color: bool) {
    let stats = if model.show_stats { 8 } else { 0 };
    let [sound, figures, notices] = Layout::vertical([
        Constraint::Length(6),
        Constraint::Length(stats),
        Constraint::Min(0),
    ])
    .areas(area);
    let block = Block::new().borders(Borders::ALL).title(" sound ");
    let inner = block.inner(sound);
    let mut lines = meter_lines(model, color, usize::from(inner.width));
    lines.push(Line::from(format!("digits {}", model.digits)));
    frame.render_widget(Paragraph::new(lines).block(block), sound);
    if model.show_stats {
        let block = Block::new().borders(Borders::ALL).title(" statistics ");
        let lines = model.stats.as_ref().map(stats_lines).unwrap_or_default();
        frame.render_widget(Paragraph::new(lines).block(block), figures);
    }
    if notices.height >= 3 {
        let block = Block::new().borders(Borders::ALL).title(" news ");
        let inner = block.inner(notices);
        let wrapped: Vec<String> = model
            .notices
            .iter()
            .flat_map(|text| wrap(text, usize::from(inner.width)))
            .collect();
        let skip = wrapped.len().saturating_sub(usize::from(inner.height));
        let lines: Vec<Line<'_>> = wrapped.into_iter().skip(skip).map(Line::from).collect();
        frame.render_widget(Paragraph::new(lines).block(block), notices);
    }
}

fn meter_lines(model: &Model, color: bool, width: usize) -> Vec<Line<'static>> {
    let speaker = match &model.speaker {
        Some(name) => Line::from(vec![
            Span::raw("speaks "),
            Span::styled(
                name.clone(),
                paint(color, Color::Cyan).add_modifier(Modifier::BOLD),
            ),
        ]),
        None => Line::from("speaks -"),
    };
    let microphone = if model.muted {
        Line::from(vec![
            Span::raw("mic    "),
            Span::styled("OFF", paint(color, Color::Red).add_modifier(Modifier::BOLD)),
        ])
    } else {
        meter("mic    ", model.sent_db, width, color)
    };
    vec![
        microphone,
        meter("heard  ", model.heard_db, width, color),
        speaker,
    ]
}

fn meter(label: &'static str, level_db: f32, width: usize, color: bool) -> Line<'static> {
    let room = width.saturating_sub(label.len() + 8).max(1);
    let share = ((level_db - METER_FLOOR) / -METER_FLOOR).clamp(0.0, 1.0);
    let full = (share * room as f32).round() as usize;
    let style = if level_db > -6.0 {
        paint(color, Color::Red)
    } else {
        paint(color, Color::Green)
    };
    let figure = if level_db < METER_FLOOR {
        "     -".to_owned()
    } else {
        format!("{level_db:4.0}dB")
    };
    Line::from(vec![
        Span::raw(label),
        Span::styled("█".repeat(full), style),
        Span::styled("░".repeat(room - full), Style::new().add_modifier(Modifier::DIM)),
        Span::raw(format!(" {figure}")),
    ])
}

fn stats_lines(line: &StatsLine) -> Vec<Line<'static>> {
    let some =
        |value: Option<f32>, unit: &str| value.map_or("-".to_owned(), |value| format!("{value:.1} {unit}"));
    vec![
        Line::from(format!("codec   {}", line.codec)),
        Line::from(format!("sent    {}   received {}", line.sent, line.received)),
        Line::from(format!("lost    {} ({:.1} %)", line.lost, line.loss_percent)),
        Line::from(format!(
            "jitter  {:.1} ms   delay {:.0} ms",
            line.jitter_ms, line.delay_ms
        )),
        Line::from(format!("round trip {}", some(line.rtt_ms, "ms"))),
        Line::from(format!("far loss   {}", some(line.remote_loss_percent, "%"))),
    ]
}

/// Breaks a notice into lines of at most this many characters, at spaces where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + word.chars().count() > width {
            lines.push(String::new());
        } else if used > 0
            && let Some(line) = lines.last_mut()
        {
            line.push(' ');
        }
        for c in word.chars() {
            if lines
                .last()
                .is_some_and(|line| line.chars().count() >= width.max(1))
            {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    lines
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (52.min(area.width), (HELP.len() as u16 + 2).min(area.height));
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(keys, what)| Line::from(format!(" {keys:<12} {what}")))
        .collect();
    frame.render_widget(Clear, place);
    frame.render_widget(
        Paragraph::new(lines).block(Block::new().borders(Borders::ALL).title(" keys ")),
        place,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::events::Event;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn picture(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, model, false, Instant::now()))
            .unwrap();
        let buffer = terminal.backend().buffer();
        buffer
            .content()
            .chunks(usize::from(width))
            .map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n")
            .collect()
    }

    fn meeting() -> Model {
        let mut model = Model::new();
        let person = |name: &str, me| Person {
            name: name.into(),
            uri: format!("sip:{name}@h"),
            status: "connected".into(),
            muted: name == "Bob",
            speaking: false,
            me,
        };
        let now = Instant::now();
        model.take(
            &Event::Joined {
                room: "sip:standup@127.0.0.1".into(),
                focus: true,
                codec: "opus".into(),
                srtp: None,
                local_rtp: String::new(),
                remote_rtp: None,
            },
            now,
        );
        let people = vec![person("Ada", true), person("Bob", false), person("Cy", false)];
        model.take(&Event::People { version: 1, people }, now);
        model.take(
            &Event::Speaking {
                name: Some("Cy".into()),
                uri: Some("sip:Cy@h".into()),
            },
            now,
        );
        model.levels(-12.0, -30.0);
        model
    }

    #[test]
    fn a_meeting_at_80_by_24() {
        let mut model = meeting();
        model.show_stats = true;
        model.stats = Some(StatsLine {
            codec: "opus",
            jitter_ms: 1.5,
            ..StatsLine::default()
        });
        let text = picture(&model, 80, 24);
        for wanted in [
            "people (3)",
            "Ada (you)",
            "Bob (muted)",
            "▶ Cy",
            "speaks Cy",
            "jitter  1.5 ms",
            "q leave",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
        }
    }

    #[test]
    fn a_muted_microphone_and_the_help_are_shown() {
        let mut model = meeting();
        model.muted = true;
        model.take(&Event::Holding { holding: true }, Instant::now());
        let text = picture(&model, 80, 24);
        assert!(text.contains("mic    OFF") && text.contains("YOU HOLD") && text.contains("h resume"));
        model.show_help = true;
        let text = picture(&model, 80, 24);
        assert!(text.contains("hold the call or resume it"), "{text}");
        assert!(text.contains("microphone off or on"), "{text}");
    }

    #[test]
    fn long_notices_are_wrapped() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("", 4), [""]);
        let mut model = meeting();
        let message = "the conference gives no roster (403): people cannot be shown".to_owned();
        model.take(&Event::Error { message, exit: None }, Instant::now());
        assert!(picture(&model, 80, 24).contains("cannot be shown"));
    }

    #[test]
    fn no_size_panics_and_small_ones_still_show_people() {
        let mut model = meeting();
        model.show_help = true;
        model.show_stats = true;
        for width in 1..=90 {
            for height in 1..=30 {
                picture(&model, width, height);
            }
        }
        model.show_help = false;
        let text = picture(&model, 40, 10);
        assert!(text.contains("Ada") && text.contains("mic"), "{text}");
    }
}
