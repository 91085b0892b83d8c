//! The choices of the viewer (pane, figure, scroll), and the resources the process uses.

use super::{
    model::{RunModel, TaskProgress},
    screen::Key,
};
use crate::{context::bytes_of, output::Stream};
use engine::NodeId;
use ratatui::{
    style::{Color, Style},
    text::Line,
    widgets::{Block, Borders},
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// The interval at which the process's resources are read.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Tasks,
    Log,
}

/// The choices of the person at the terminal.
pub(super) struct Viewer {
    pub(super) colour: bool,
    pub(super) pane: Pane,
    /// The task chosen; without one, the oldest that runs and has curves.
    pub(super) chosen: Option<NodeId>,
    /// Which of its figures is drawn where there is room for one.
    pub(super) figure: usize,
    /// How many lines the log is scrolled back.
    pub(super) back: usize,
    /// The number of log lines when it was paused.
    pub(super) paused: Option<usize>,
    /// Whether more is to come.
    pub(super) live: bool,
    pub(super) process: Process,
}

impl Viewer {
    pub(super) fn new() -> Self {
        Self {
            colour: Stream::Out.has_colour(),
            pane: Pane::Tasks,
            chosen: None,
            figure: 0,
            back: 0,
            paused: None,
            live: true,
            process: Process::default(),
        }
    }

    pub(super) fn press(&mut self, key: Key, model: &RunModel) {
        match key {
            Key::Char('\t') | Key::BackTab => {
                self.pane = if self.pane == Pane::Tasks { Pane::Log } else { Pane::Tasks };
            }
            Key::Char('c') => self.figure += 1,
            Key::Char('p' | ' ') => {
                self.paused = if self.paused.is_some() { None } else { Some(model.logged) };
            }
            Key::Up => self.step(-1, model),
            Key::Down => self.step(1, model),
            Key::PageUp => self.step(-10, model),
            Key::PageDown => self.step(10, model),
            Key::Home => self.step(isize::MIN / 2, model),
            Key::End => self.step(isize::MAX / 2, model),
            _ => {}
        }
    }

    fn step(&mut self, by: isize, model: &RunModel) {
        match self.pane {
            Pane::Log => {
                let most = model.log.len().saturating_sub(1);
                self.back = self.back.saturating_add_signed(by.saturating_neg()).min(most);
            }
            Pane::Tasks => {
                let listed = model.listed();
                let Some(last) = listed.len().checked_sub(1) else { return };
                let now = self.subject(&listed).unwrap_or(0);
                self.chosen = Some(listed[now.saturating_add_signed(by).min(last)].0);
            }
        }
    }

    /// Returns which of the listed tasks the curves are of.
    pub(super) fn subject(&self, listed: &[(NodeId, &TaskProgress)]) -> Option<usize> {
        let chosen = self.chosen.and_then(|node| listed.iter().position(|one| one.0 == node));
        let curves = || listed.iter().position(|(_, task)| !task.curves.is_empty());
        chosen.or_else(curves)
    }

    pub(super) fn tint(&self, colour: Color) -> Style {
        if self.colour { Style::default().fg(colour) } else { Style::default() }
    }

    pub(super) fn block<'t>(&self, title: impl Into<Line<'t>>, focus: bool) -> Block<'t> {
        let style = if focus { self.tint(Color::Cyan) } else { self.tint(Color::DarkGray) };
        Block::default().borders(Borders::TOP).border_style(style).title(title.into())
    }
}

/// The memory and processor time of the process that runs.
#[derive(Default)]
pub(super) struct Process {
    looked: Option<Instant>,
    ticks: Option<u64>,
    text: String,
}

impl Process {
    /// Returns memory and processor time in use, looked up now and then; empty where the system
    /// does not tell.
    pub(super) fn text(&mut self, process: u32) -> &str {
        if self.looked.is_none_or(|last| last.elapsed() >= LOOK) {
            let since = self.looked.map(|last| last.elapsed().as_secs_f64());
            self.looked = Some(Instant::now());
            let ticks = ticks(process);
            let cpu = match (since, self.ticks, ticks) {
                // Linux counts a hundred ticks a second for all programs.
                (Some(since), Some(before), Some(now)) => {
                    format!(" cpu {:.0} %", now.saturating_sub(before) as f64 / since)
                }
                _ => String::new(),
            };
            self.ticks = ticks;
            let memory = memory(process).map(|bytes| format!("mem {}", bytes_of(bytes)));
            self.text = memory.map(|memory| format!("{memory}{cpu}")).unwrap_or_default();
        }
        &self.text
    }
}

fn memory(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn ticks(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name and may hold anything; it ends at the last bracket.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}
