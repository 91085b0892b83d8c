//! The documents: what they show is what the program does.
//!
//! A block marked `console run` holds commands after `$ ` and what they print; `console run fails`
//! a command that must not succeed; `toml file=NAME`, or another word before `file`, a file. The blocks of a document share a
//! folder and a store. In what is shown, `…` stands for anything, and a line `…` for any lines.
//! Commands in other blocks are only read: their names and flags must be the program's.

use crate::program::{Sandbox, repository};
use std::{fs, path::PathBuf, process::Command};

struct DocBlock {
    info: String,
    text: String,
    line: usize,
}

fn blocks(text: &str) -> Vec<DocBlock> {
    let mut all: Vec<DocBlock> = vec![];
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            if !open {
                let info = info.trim().to_owned();
                all.push(DocBlock { info, text: String::new(), line: number + 1 });
            }
            open = !open;
        } else if let (true, Some(block)) = (open, all.last_mut()) {
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    all
}

/// Returns the documents of the repository, by path.
fn documents() -> Vec<PathBuf> {
    let mut all = vec![repository("README.md")];
    for folder in ["docs", "docs/guide"] {
        let entries = fs::read_dir(repository(folder)).expect("it is there");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        all.extend(paths.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    all.sort();
    all
}

/// Tells whether `line` is as `shown`, where `…` stands for anything.
fn alike(line: &str, shown: &str) -> bool {
    let pieces: Vec<&str> = shown.split('…').collect();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    if pieces.len() == 1 {
        return line == shown;
    }
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// Returns the shown line that is not there, if there is one.
fn missing<'a>(lines: &[&str], shown: &'a [&'a str]) -> Option<&'a str> {
    let Some((first, rest)) = shown.split_first() else {
        return (!lines.is_empty()).then_some("(nothing more)");
    };
    if first.trim() == "…" {
        let found = (0..=lines.len()).any(|from| missing(&lines[from..], rest).is_none());
        return (!found).then(|| rest.first().copied().unwrap_or("…"));
    }
    match lines.split_first() {
        Some((line, others)) if alike(line.trim_end(), first.trim_end()) => missing(others, rest),
        _ => Some(first),
    }
}

/// Returns each command of a block, and the lines shown below it.
fn commands(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = vec![];
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => all.push((command, vec![])),
            None => all.last_mut().expect("a block begins with a command").1.push(line),
        }
    }
    all
}

fn run_document(path: &PathBuf) -> usize {
    let place = Sandbox::new();
    let name = path.file_name().expect("it has one").display().to_string();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_coresift"));
    let folder = program.parent().expect("it lies in a folder").display();
    let mut count = 0;
    for block in blocks(&fs::read_to_string(path).expect("readable")) {
        if let Some((_, file)) = block.info.split_once(" file=") {
            place.write(file, &block.text);
        }
        let Some(mode) = block.info.strip_prefix("console run") else { continue };
        for (command, shown) in commands(&block.text) {
            let output = Command::new("sh")
                .args(["-c", &format!("PATH=\"{folder}:$PATH\"\n{{ {command}\n}} 2>&1")])
                .current_dir(place.path(""))
                .env("CORESIFT_STORE", place.path("store"))
                .env("NO_COLOR", "1")
                .env("XDG_CONFIG_HOME", place.path("config"))
                .env_remove("CORESIFT_REMOTE")
                .output()
                .expect("a shell");
            let said = String::from_utf8_lossy(&output.stdout);
            let at = format!("{name}:{}: $ {command}", block.line);
            assert_eq!(output.status.success(), mode.trim() != "fails", "{at}\n{said}");
            let lines: Vec<&str> = said.lines().collect();
            if let Some(line) = missing(&lines, &shown) {
                panic!("{at}\nshown: {line}\nbut it printed:\n{said}");
            }
            count += 1;
        }
    }
    count
}

#[test]
fn the_guide_does_what_it_says() {
    let counts: Vec<usize> = documents().iter().map(run_document).collect();
    assert!(counts.iter().sum::<usize>() >= 20, "{counts:?}");
}

#[test]
fn commands_in_the_documents_are_the_programs() {
    let mut read = 0;
    for path in documents() {
        for block in blocks(&fs::read_to_string(&path).expect("readable")) {
            for line in block.text.lines() {
                let line = line.strip_prefix("$ ").unwrap_or(line);
                let Some(rest) = line.strip_prefix("coresift ") else { continue };
                let end = [" #", "|", ">", ";", "&", "   "].iter().filter_map(|end| rest.find(end));
                let words = rest[..end.min().unwrap_or(rest.len())].split_whitespace();
                // Read left to right: a word that is no flag is met before the last one.
                let args: Vec<&str> = words.map(|word| word.trim_matches('\'')).collect();
                let output = Sandbox::new().output(&[&args[..], &["--help"]].concat());
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {line}\n{said}", path.display());
                read += 1;
            }
        }
    }
    assert!(read >= 20, "{read}");
}

#[test]
fn what_is_shown_is_compared() {
    let lines = ["a", "b 12 s", "c"];
    assert_eq!(missing(&lines, &["a", "b … s", "c"]), None);
    assert_eq!(missing(&lines, &["…", "c"]), None);
    assert_eq!(missing(&lines, &["a", "…"]), None);
    assert_eq!(missing(&lines, &["a", "b 13 s", "…"]), Some("b 13 s"));
    assert!(missing(&lines, &["a", "b … s"]).is_some(), "a line more is a difference");
    assert!(missing(&lines, &["…", "d"]).is_some());
}
