//! What the program says, compared with files under `tests/it/snapshots`. What differs from machine
//! to machine and from run to run is taken out first: times, sizes, keys, run names, paths. With
//! `CORESIFT_SNAPSHOTS=write` in the environment the files are written anew.

use crate::program::{Sandbox, repository};
use serde_json::Value;
use std::{fs, iter::Peekable, path::Path};

/// What stands for a number that is another in each run.
const NUMBER: &str = "#";

/// Commands run in one place, and all they wrote.
pub(crate) struct Session<'a> {
    place: &'a Sandbox,
    text: String,
}

impl<'a> Session<'a> {
    pub(crate) fn new(place: &'a Sandbox) -> Self {
        Self { place, text: String::new() }
    }

    /// Runs the program, and adds its command line, exit code, stdout and stderr.
    pub(crate) fn run(&mut self, args: &[&str]) {
        self.run_with(args, |stdout| stdout);
    }

    /// Does the same where `tidy` brings the redacted stdout into an order of its own.
    pub(crate) fn run_with(&mut self, args: &[&str], tidy: impl Fn(String) -> String) {
        let output = self.place.output(args);
        let stdout = String::from_utf8(output.stdout).expect("text");
        let stderr = String::from_utf8(output.stderr).expect("text");
        let command = self.without_paths(&args.join(" "));
        let code = output.status.code().expect("it ends by itself");
        let stdout = match args.contains(&"--json") {
            true => self.json(&stdout),
            false => self.redacted(&stdout),
        };
        self.text.push_str(&format!("$ coresift {command}\nexit code {code}\n"));
        for (name, text) in [("stdout", tidy(stdout)), ("stderr", self.redacted(&stderr))] {
            if !text.is_empty() {
                self.text.push_str(&format!("--- {name}\n{text}"));
            }
        }
        self.text.push('\n');
    }

    /// Compares all of it with snapshot `name`.
    pub(crate) fn check(self, name: &str) {
        let path = repository("tests/it/snapshots").join(format!("{name}.txt"));
        if std::env::var_os("CORESIFT_SNAPSHOTS").is_some_and(|value| value == "write") {
            fs::write(&path, &self.text).expect("written");
            return;
        }
        let wanted = fs::read_to_string(&path).unwrap_or_default();
        let lines = difference(&wanted, &self.text);
        assert!(
            lines.is_empty(),
            "{}: `-` is the snapshot, `+` what the program says; if that is meant, run the tests \
             with CORESIFT_SNAPSHOTS=write\n{}",
            path.display(),
            lines.join("\n"),
        );
    }

    fn without_paths(&self, text: &str) -> String {
        let place = self.place.path("");
        let name = |path: &Path| path.display().to_string().trim_end_matches('/').to_owned();
        text.replace(&name(&place), "[place]").replace(&name(&repository("")), "[repository]")
    }

    /// Returns `text` without what is another in each run.
    fn redacted(&self, text: &str) -> String {
        let mut moved = text.contains(&*self.place.path("").to_string_lossy());
        let text = self.without_paths(text);
        let mut out = String::new();
        for line in text.lines() {
            let (line, changed) = redacted_line(line);
            moved |= changed;
            out.push_str(line.trim_end());
            out.push('\n');
        }
        // The columns are as wide as what was taken out.
        if moved { out.lines().map(|line| narrowed(line) + "\n").collect() } else { out }
    }

    /// Returns JSON values, one a line, spread over lines and redacted.
    fn json(&self, text: &str) -> String {
        let mut out = String::new();
        for line in text.lines() {
            let mut value: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.redact(&mut value);
            out.push_str(&serde_json::to_string_pretty(&value).expect("it is JSON"));
            out.push('\n');
        }
        out
    }

    fn redact(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let redacted = self.redacted(text);
                *text = redacted.trim_end_matches('\n').to_owned();
            }
            Value::Array(list) => list.iter_mut().for_each(|one| self.redact(one)),
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    let measured = ["bytes", "finished", "process", "size", "started", "t"];
                    if measured.contains(&key.as_str()) || key.starts_with("seconds") {
                        *value = NUMBER.into();
                    } else {
                        self.redact(value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Returns a line without keys, run names, times and sizes, and whether its length may be another.
fn redacted_line(line: &str) -> (String, bool) {
    let mut out = String::new();
    let mut changed = false;
    let mut words = words(line).into_iter().peekable();
    while let Some(word) = words.next() {
        let stand_in = stand_in(word, &mut words);
        changed |= stand_in.is_some_and(|one| one == NUMBER);
        out.push_str(stand_in.unwrap_or(word));
    }
    (out, changed)
}

/// Returns what stands for `word`, where it is another in each run.
fn stand_in<'a>(
    word: &str,
    rest: &mut Peekable<impl Iterator<Item = &'a str> + Clone>,
) -> Option<&'static str> {
    let units = ["s", "ms", "min", "h", "B", "KiB", "MiB", "GiB"];
    let shaped = |shape: &str| {
        word.len() == shape.len()
            && word.chars().zip(shape.chars()).all(|(letter, wanted)| match wanted {
                'd' => letter.is_ascii_digit(),
                'x' => letter.is_ascii_lowercase() || letter.is_ascii_digit(),
                _ => letter == wanted,
            })
    };
    let is_key = word.len() >= 12
        && word.chars().all(|letter| letter.is_ascii_hexdigit() && !letter.is_ascii_uppercase());
    match word {
        _ if shaped("dddddddd-dddddd-ddd-xxxxxx") => Some("[run]"),
        _ if shaped("dddd-dd-dd") => Some("[date]"),
        _ if shaped("dd:dd:dd") => Some("[time]"),
        _ if is_key => Some("[key]"),
        _ if word == env!("CARGO_PKG_VERSION") => Some("[version]"),
        _ if word.parse::<f64>().is_ok() => {
            let mut next = rest.clone();
            let unit = (next.next() == Some(" ")).then(|| next.next()).flatten();
            unit.filter(|unit| units.contains(unit)).map(|_| NUMBER)
        }
        _ => None,
    }
}

/// Cuts a line into words and the single characters between them.
fn words(line: &str) -> Vec<&str> {
    let inside = |letter: char| letter.is_ascii_alphanumeric() || ".-:".contains(letter);
    let mut words = vec![];
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = if inside(first) {
            let end = rest.find(|letter| !inside(letter)).unwrap_or(rest.len());
            // A full stop or a colon at the end belongs to the sentence.
            rest[..end].trim_end_matches(['.', ':']).len().max(1)
        } else {
            first.len_utf8()
        };
        let (word, left) = rest.split_at(end);
        words.push(word);
        rest = left;
    }
    words
}

/// Returns a line with at most two spaces between its columns.
fn narrowed(line: &str) -> String {
    let indent = line.len() - line.trim_start().len();
    let mut out = line[..indent].to_owned();
    let mut spaces = 0;
    for letter in line[indent..].chars() {
        spaces = if letter == ' ' { spaces + 1 } else { 0 };
        if spaces <= 2 {
            out.push(letter);
        }
    }
    out
}

/// Returns the lines that only one text has, with three lines around them; nothing for equal ones.
fn difference(old: &str, new: &str) -> Vec<String> {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    // How long the longest common subsequence of what is left of both is.
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a][b] = if old[a] == new[b] {
                common[a + 1][b + 1] + 1
            } else {
                common[a + 1][b].max(common[a][b + 1])
            };
        }
    }
    let mut lines: Vec<(char, &str)> = vec![];
    let (mut a, mut b) = (0, 0);
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            lines.push((' ', old[a]));
            a += 1;
            b += 1;
        } else if b == new.len() || a < old.len() && common[a + 1][b] >= common[a][b + 1] {
            lines.push(('-', old[a]));
            a += 1;
        } else {
            lines.push(('+', new[b]));
            b += 1;
        }
    }
    let near = |at: usize| {
        let around = &lines[at.saturating_sub(3)..(at + 4).min(lines.len())];
        around.iter().any(|(mark, _)| *mark != ' ')
    };
    let shown = lines.iter().enumerate().filter(|(at, _)| near(*at));
    shown.map(|(_, (mark, line))| format!("{mark} {line}")).collect()
}

#[test]
fn what_is_another_in_each_run_is_taken_out() {
    let redacted = |line| redacted_line(line).0;
    assert_eq!(redacted("done   data [seed=0] in 0.01 s"), "done   data [seed=0] in # s");
    assert_eq!(redacted("took 4 min 05 s"), "took # min # s");
    assert_eq!(redacted("hit  04aec45fd79d  2026-11-25 22:31:08"), "hit  [key]  [date] [time]");
    assert_eq!(redacted("run 20261125-223108-872-nqbxyy:"), "run [run]:");
    assert_eq!(redacted("95.00 ± 0.00, keep 0.25"), "95.00 ± 0.00, keep 0.25");
    assert_eq!(narrowed("  a     1"), "  a  1");
}

#[test]
fn a_difference_is_told_line_by_line() {
    assert!(difference("a\nb\n", "a\nb\n").is_empty());
    let text: String = (0..20).map(|line| format!("{line}\n")).collect();
    let told = difference(&text, &text.replace("9\n10\n", "9\nten\n"));
    assert_eq!(told, ["  7", "  8", "  9", "- 10", "+ ten", "  11", "  12", "  13"]);
}
