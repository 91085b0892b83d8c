//! The terminal while the live view has it: drawn on, listened to, and given back at the end.

use ratatui::{Frame, Terminal, backend::TermionBackend};
use std::io::{self, IsTerminal as _, Stdout, Write as _};
pub(super) use termion::event::Key;
use termion::{
    AsyncReader,
    input::{Keys, TermRead as _},
    raw::{IntoRawMode as _, RawTerminal},
    screen::{AlternateScreen, IntoAlternateScreen as _},
};

type Out = AlternateScreen<RawTerminal<Stdout>>;

/// Brings what was written to the terminal, when it is dropped.
struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        io::stdout().flush().ok();
    }
}

/// The terminal in raw mode, on its other screen. Dropping it, also by a panic, gives it back.
pub(super) struct Screen {
    terminal: Terminal<TermionBackend<Out>>,
    keys: Keys<AsyncReader>,
    /// Dropped last: the way back to the main screen waits in stdout's buffer until then.
    _flush: Flush,
}

impl Screen {
    /// Tells whether there is a terminal to draw on and one to listen to.
    pub(super) fn is_possible() -> bool {
        let knows = std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        knows && io::stdout().is_terminal() && io::stdin().is_terminal()
    }

    pub(super) fn open() -> io::Result<Self> {
        let out = io::stdout().into_raw_mode()?.into_alternate_screen()?;
        let mut terminal = Terminal::new(TermionBackend::new(out))?;
        terminal.hide_cursor()?;
        Ok(Self { terminal, keys: termion::async_stdin().keys(), _flush: Flush })
    }

    /// Returns the next key that was pressed, if one was.
    pub(super) fn key(&mut self) -> Option<Key> {
        // Bytes that are no key are passed over.
        self.keys.by_ref().flatten().next()
    }

    pub(super) fn draw(
        &mut self,
        paint: impl FnOnce(&mut Frame<'_, TermionBackend<Out>>),
    ) -> io::Result<()> {
        self.terminal.draw(paint).map(|_| ())
    }
}
