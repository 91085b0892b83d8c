//! How text reaches stdout and stderr, and what is known of the terminals behind them. It leaves
//! out what the text says.

use std::{
    borrow::Cow,
    env,
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    process::ExitCode,
    sync::{LazyLock, OnceLock},
};

/// The first error of a write to stdout. Nothing is written after it: a gap in the middle would
/// be worse than an end that is missing.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes one line to stdout.
pub(crate) fn print_line(text: &str) {
    print(&format!("{text}\n"));
}

/// Writes `text` to stdout as it is.
pub(crate) fn print(text: &str) {
    print_bytes(Stream::Out.legible(text).as_bytes());
}

/// Writes `bytes` to stdout as they are.
pub(crate) fn print_bytes(bytes: &[u8]) {
    if is_lost() {
        return;
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.unwrap_or_else(|error| LOST.set(error).unwrap_or_default());
}

/// Tells whether stdout takes no more, as after `| head` or on a full disk.
pub(crate) fn is_lost() -> bool {
    LOST.get().is_some()
}

/// Returns the exit code of a program that would end with `code`: an answer that could not be
/// written is a failure and is said to be one. A reader that wants no more (`| head`) is none.
pub(crate) fn settle(code: ExitCode) -> ExitCode {
    match LOST.get() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprint_line(&format!("error: cannot write to stdout: {error}"));
            if code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
        }
        _ => code,
    }
}

/// Writes `text` to stderr as it is.
pub(crate) fn eprint(text: &str) {
    let mut err = io::stderr().lock();
    let text = Stream::Err.legible(text);
    // There is nowhere left to say that stderr cannot be written.
    err.write_all(text.as_bytes()).and_then(|()| err.flush()).ok();
}

/// Writes one line to stderr.
pub(crate) fn eprint_line(text: &str) {
    eprint(&format!("{text}\n"));
}

/// One of the two streams the program writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

impl Stream {
    /// Tells whether it leads to a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        static OUT: LazyLock<bool> = LazyLock::new(|| io::stdout().is_terminal());
        static ERR: LazyLock<bool> = LazyLock::new(|| io::stderr().is_terminal());
        match self {
            Self::Out => *OUT,
            Self::Err => *ERR,
        }
    }

    /// Tells whether it leads to a terminal on which the cursor can be moved: one that `TERM`
    /// names, and not as `dumb`.
    pub(crate) fn has_cursor(self) -> bool {
        self.is_terminal() && !is_dumb(variable("TERM").as_deref())
    }

    /// Tells whether colour is wanted there: see <https://no-color.org> and
    /// <https://bixense.com/clicolors>.
    pub(crate) fn has_colour(self) -> bool {
        wants_colour(self.is_terminal(), &variable)
    }

    /// Returns how many columns the terminal has that it leads to; none where it leads elsewhere,
    /// where lines are not wrapped: programs read them, and people search in them.
    pub(crate) fn columns(self) -> Option<usize> {
        let size = match self {
            Self::Out => rustix::termios::tcgetwinsize(io::stdout()),
            Self::Err => rustix::termios::tcgetwinsize(io::stderr()),
        };
        // A terminal that does not know its size says 0.
        let columns = size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        self.is_terminal().then_some(columns.unwrap_or(80))
    }

    /// Tells whether it leads to a terminal that shows ASCII only, by the locale.
    pub(crate) fn is_ascii(self) -> bool {
        static PLAIN: LazyLock<bool> = LazyLock::new(|| is_plain_locale(&variable));
        self.is_terminal() && *PLAIN
    }

    /// Returns `text` with the program's own signs as this stream can show them. Letters of other
    /// scripts are left: they are somebody's data.
    pub(crate) fn legible(self, text: &str) -> Cow<'_, str> {
        if self.is_ascii() { ascii(text) } else { Cow::Borrowed(text) }
    }
}

/// Returns `count` with commas between its thousands.
pub(crate) fn thousands(count: usize) -> String {
    indicatif::HumanCount(count as u64).to_string()
}

/// Returns a variable of the environment, unless it is empty, which is as if it were not set.
fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

fn is_dumb(term: Option<&str>) -> bool {
    term.is_none_or(|term| term == "dumb")
}

fn wants_colour(terminal: bool, variable: &dyn Fn(&str) -> Option<String>) -> bool {
    if variable("NO_COLOR").is_some() {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let refused = variable("CLICOLOR").is_some_and(|value| value == "0");
    terminal && !refused && !is_dumb(variable("TERM").as_deref())
}

// Only one that is set says so: many a UTF-8 terminal comes without a locale.
fn is_plain_locale(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name));
    locale.is_some_and(|locale| locale == "C" || locale == "POSIX")
}

/// Returns `text` with the program's own signs in ASCII.
pub(crate) fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match sign(letter) {
            Some(sign) => out.push_str(sign),
            None => out.push(letter),
        }
    }
    Cow::Owned(out)
}

/// Returns `text`, which takes one place, in one place of ASCII.
pub(crate) fn ascii_place(text: &str) -> &str {
    match text {
        "→" => ">",
        "←" => "<",
        _ => {
            let sign = text.chars().next().and_then(sign);
            // Every sign is ASCII, so its first byte is a letter.
            sign.map_or(text, |sign| &sign[..1])
        }
    }
}

fn sign(letter: char) -> Option<&'static str> {
    Some(match letter {
        '→' => "->",
        '←' => "<-",
        '↑' => "^",
        '↓' => "v",
        '±' => "+-",
        '✓' => "ok",
        '×' => "x",
        '≠' => "!=",
        '≤' => "<=",
        '≥' => ">=",
        '…' => "...",
        '·' => ".",
        '▸' => ">",
        '–' | '—' => "-",
        '‘' | '’' => "'",
        '“' | '”' => "\"",
        '─' | '━' | '═' => "-",
        '│' | '┃' | '║' => "|",
        // Corners and crossings of frames.
        '\u{250c}'..='\u{257f}' => "+",
        '░' => ".",
        // Blocks, whole and in part.
        '\u{2580}'..='\u{259f}' => "#",
        // Braille, of which curves are drawn; the first has no dots.
        '\u{2800}' => " ",
        '\u{2801}'..='\u{28ff}' => "*",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let set: Vec<(String, String)> =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        move |name| {
            let found = set.iter().find(|(one, value)| one == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        }
    }

    #[test]
    fn colour_is_for_terminals_that_know_it() {
        let term = ("TERM", "xterm");
        for (terminal, set, wanted) in [
            (true, &[term][..], true),
            (false, &[term], false),
            (true, &[], false),
            (true, &[("TERM", "dumb")], false),
            (true, &[term, ("NO_COLOR", "1")], false),
            (true, &[term, ("NO_COLOR", "")], true),
            (true, &[term, ("CLICOLOR", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ] {
            assert_eq!(wants_colour(terminal, &given(set)), wanted, "{terminal} {set:?}");
        }
    }

    #[test]
    fn only_a_locale_that_is_set_asks_for_ascii() {
        for (set, wanted) in [
            (&[][..], false),
            (&[("LANG", "C")], true),
            (&[("LANG", "C.UTF-8")], false),
            (&[("LANG", "en_GB.UTF-8"), ("LC_ALL", "POSIX")], true),
            (&[("LANG", "C"), ("LC_CTYPE", "en_GB.UTF-8")], false),
            (&[("LANG", "C"), ("LC_ALL", "")], true),
        ] {
            assert_eq!(is_plain_locale(&given(set)), wanted, "{set:?}");
        }
    }

    #[test]
    fn signs_have_ascii_for_them() {
        assert_eq!(ascii("3 → 4 ± 1, größe"), "3 -> 4 +- 1, größe");
        assert_eq!(ascii("╭─[p.toml:1:1]"), "+-[p.toml:1:1]");
        for (sign, place) in [("→", ">"), ("█", "#"), ("⣿", "*"), ("…", "."), ("a", "a")] {
            assert_eq!(ascii_place(sign), place);
        }
    }
}
