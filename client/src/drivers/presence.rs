//! Where events go: lines on standard output, or the terminal interface.

use crate::cli::events::{Event, Printer};
use crate::ui::{Action, Screen};

/// The side towards the user.
pub enum Front {
    /// Lines on standard output.
    Lines(Printer),
    /// The terminal interface.
    Screen(Box<Screen>),
}

impl Front {
    /// Tells the user.
    pub fn tell(&mut self, event: &Event) {
        match self {
            Self::Lines(printer) => printer.print(event),
            Self::Screen(screen) => screen.tell(event),
        }
    }

    /// Ten times a second: what is heard and what is said, in dBFS.
    pub fn levels(&mut self, heard_db: f32, sent_db: f32) {
        if let Self::Screen(screen) = self {
            screen.levels(heard_db, sent_db);
        }
    }

    /// Shows what changed; cheap when nothing did.
    pub fn refresh(&mut self) {
        if let Self::Screen(screen) = self {
            screen.draw();
        }
    }

    /// The next thing that the user wants. Never comes where there is no interface.
    pub async fn action(&mut self) -> Action {
        match self {
            Self::Lines(_) => std::future::pending().await,
            Self::Screen(screen) => screen.action().await,
        }
    }

    /// Gives the terminal back.
    pub fn close(&mut self) {
        if let Self::Screen(screen) = self {
            screen.close();
        }
    }
}
