//! The progress of a run while it goes on: bars on a terminal, plain lines elsewhere.

use crate::{
    context::{Context, duration_of, eprint_line},
    follow::{failed, full, not_begun, work},
    output::Stream,
};
use engine::{Event, NodeId, Plan, RunFailure, RunOptions, RunSummary, Sink};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

/// Plain lines say how far a long stage is this often.
const EVERY: Duration = Duration::from_secs(15);

pub(crate) struct ProgressDisplay<'a> {
    plan: &'a Plan,
    quiet: bool,
    bars: Option<MultiProgress>,
    total: Option<ProgressBar>,
    running: BTreeMap<NodeId, (Option<ProgressBar>, Instant)>,
    ended: u64,
    began: Instant,
    summary: Option<RunSummary>,
    device: String,
    /// How many computations the plan has, and how many cells.
    size: (usize, usize),
    /// Lines held back while the live view has the terminal, if they must not be lost.
    muted: Option<Vec<String>>,
}

impl<'a> ProgressDisplay<'a> {
    pub(crate) fn new(plan: &'a Plan, context: &Context, options: &RunOptions) -> Self {
        let quiet = context.global.quiet;
        let bars = (!quiet && Stream::Err.has_cursor()).then(MultiProgress::new);
        Self {
            plan,
            quiet,
            bars,
            total: None,
            running: BTreeMap::new(),
            ended: 0,
            began: Instant::now(),
            summary: None,
            device: options.device.clone(),
            size: (0, 0),
            muted: None,
        }
    }

    /// Returns one that draws nothing, and says nothing until it is unmuted.
    pub(crate) fn muted(plan: &'a Plan, context: &Context, options: &RunOptions) -> Self {
        Self { bars: None, muted: Some(vec![]), ..Self::new(plan, context, options) }
    }

    /// Says what must not be lost of what was kept back, and what follows as it comes.
    pub(crate) fn unmute(&mut self) {
        self.muted.take().into_iter().flatten().for_each(|line| eprint_line(&line));
    }

    /// Takes the bars away and says what became of the run.
    pub(crate) fn end(&mut self) {
        if let Some(bars) = &self.bars {
            bars.clear().ok();
        }
        let (false, Some(summary)) = (self.quiet, self.summary) else { return };
        let mut parts =
            vec![format!("{} hits", summary.hits), format!("{} computed", summary.computed)];
        for (count, word) in [
            (summary.failed, "failed"),
            (summary.skipped, "skipped"),
            (summary.stopped, "not done"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {word}"));
            }
        }
        let (nodes, cells) = self.size;
        let work = work(nodes, cells);
        let took = duration_of(self.began.elapsed().as_secs_f64());
        let mut line = format!("{work}: {} in {took}", parts.join(", "));
        if summary.computed > 0 {
            line.push_str(&format!(" on {}", self.device));
        }
        eprint_line(&line);
    }

    /// Says what is told even when nothing else is.
    fn insist(&mut self, text: String) {
        match (&mut self.muted, &self.bars) {
            (Some(kept), _) => kept.push(text),
            (None, Some(bars)) => bars.println(Stream::Err.legible(&text)).unwrap_or_default(),
            (None, None) => eprint_line(&text),
        }
    }

    fn say(&self, line: &str) {
        if self.quiet || self.muted.is_some() {
            return;
        }
        match &self.bars {
            Some(bars) => bars.println(Stream::Err.legible(line)).unwrap_or_default(),
            None => eprint_line(line),
        }
    }

    fn drop_bar(&mut self, node: NodeId) {
        if let Some((Some(bar), _)) = self.running.remove(&node) {
            bar.finish_and_clear();
        }
    }

    fn count(&mut self, node: NodeId) {
        self.drop_bar(node);
        self.ended += 1;
        if let Some(total) = &self.total {
            total.set_position(self.ended);
        }
    }

    fn start(&mut self, node: NodeId) {
        let name = self.plan.describe(node);
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template(
                "{prefix:36!} {bar:24} {pos}/{len} {msg} {rate} eta {eta}",
            );
            let bar = ProgressBar::new(0);
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A bar that is too narrow for it is no reason to stop.
                write!(out, "{:.0}/s", state.per_sec()).ok();
            };
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(drawn(style).with_key("rate", rate));
            bar.set_prefix(name.clone());
            bars.add(bar)
        });
        if bar.is_none() {
            self.say(&format!("start  {name}"));
        }
        self.running.insert(node, (bar, Instant::now()));
    }

    fn progress(&mut self, node: NodeId, progress: &engine::StageProgress) {
        let Some((bar, last)) = self.running.get_mut(&node) else { return };
        let figure = progress.figure.as_ref().map(|(name, value)| format!("{name} {value:.4}"));
        let figure = figure.unwrap_or_default();
        if let Some(bar) = bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            if progress.figure.as_ref().is_none_or(|(name, _)| name == "loss") {
                bar.set_message(figure);
            }
        } else if last.elapsed() >= EVERY {
            *last = Instant::now();
            let done = progress.done;
            let total = progress.total;
            let unit = &progress.unit;
            let line =
                format!("...    {}: {unit} {done}/{total} {figure}", self.plan.describe(node));
            self.say(line.trim_end());
        }
    }
}

/// Returns `style` with bars that the terminal can show.
fn drawn(style: ProgressStyle) -> ProgressStyle {
    if Stream::Err.is_ascii() { style.progress_chars("#>-") } else { style }
}

impl Sink for ProgressDisplay<'_> {
    fn emit(&mut self, event: &Event) {
        let name = |node: &NodeId| self.plan.describe(*node);
        match event {
            Event::RunStarted { nodes, cells, .. } => {
                self.size = (*nodes, *cells);
                self.total = self.bars.as_ref().map(|bars| {
                    let style =
                        ProgressStyle::with_template("{bar:40} {pos}/{len} stages, {elapsed}");
                    let bar = ProgressBar::new(*nodes as u64);
                    bar.set_style(drawn(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
                    bars.add(bar)
                });
            }
            Event::Hit { node, .. } => self.count(*node),
            Event::Started { node, .. } => self.start(*node),
            Event::Progressed { node, progress } => self.progress(*node, progress),
            Event::Said { node, line } => self.say(&format!("       {}: {line}", name(node))),
            Event::Damaged { node, what } => {
                self.say(&format!("repair {}: {what}; it is made again", name(node)));
            }
            Event::Changed { node, what } => {
                self.say(&format!("anew   {}: {what}; its recipe is made anew", name(node)));
                self.drop_bar(*node);
            }
            Event::Vanished { node } => {
                self.say(&format!("again  {}: its worker vanished; it is tried again", name(node)));
                self.drop_bar(*node);
            }
            Event::NotBegun { nodes, because } => self.insist(not_begun(*nodes, because)),
            Event::Waiting { node, holder } => {
                self.say(&format!("waits  {}: {holder} is computing it", name(node)));
            }
            Event::Finished { node, seconds, .. } => {
                self.say(&format!("done   {} in {}", name(node), duration_of(*seconds)));
                self.count(*node);
            }
            Event::Differs { node, recorded, made } => {
                let recorded = recorded.short();
                let made = made.short();
                self.say(&format!(
                    "note   {}: gave {made}, but {recorded} is recorded for the same recipe; \
                     the recorded one is used",
                    name(node)
                ));
            }
            Event::Failed { node, causes, hint } => {
                let why = RunFailure { causes: causes.clone(), hint: hint.clone() };
                self.insist(failed(&name(node), &why));
                self.count(*node);
            }
            Event::Stopped { node } => {
                self.say(&format!("stop   {}", name(node)));
                self.count(*node);
            }
            Event::Skipped { node, because } => {
                self.say(&format!("skip   {}: {} failed", name(node), name(because)));
                self.count(*node);
            }
            Event::Remote { what } => self.say(what),
            Event::StorageFull { met } => self.insist(full(*met)),
            Event::RunFinished { summary } => self.summary = Some(*summary),
            _ => {}
        }
    }
}
