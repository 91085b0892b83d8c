//! The terminal while the live view has it: drawn on, listened to, and given back at the end.

use crate::output::{Stream, ascii_place};
use ratatui::{
    Frame, Terminal, backend::TermionBackend, buffer::Buffer, layout::Rect, widgets::Widget,
};
use std::io::{self, IsTerminal as _, Stdout, Write as _};
pub(super) use termion::event::Key;
use termion::{
    AsyncReader,
    input::{Keys, TermRead as _},
    raw::{IntoRawMode as _, RawTerminal},
    screen::{AlternateScreen, IntoAlternateScreen as _},
};

/// Puts what was drawn before it into ASCII.
struct Ascii;

impl Widget for Ascii {
    fn render(self, _: Rect, drawn: &mut Buffer) {
        for cell in &mut drawn.content {
            if !cell.symbol().is_ascii() {
                let plain = ascii_place(cell.symbol()).to_owned();
                cell.set_symbol(&plain);
            }
        }
    }
}

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
        Stream::Out.has_cursor() && io::stdin().is_terminal()
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

    pub(super) fn draw(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let painted = |frame: &mut Frame<'_>| {
            paint(frame);
            if Stream::Out.is_ascii() {
                frame.render_widget(Ascii, frame.area());
            }
        };
        self.terminal.draw(painted).map(|_| ())
    }
}
