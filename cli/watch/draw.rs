//! The live view on the screen: stages, what runs, curves, the log.

use super::{
    look::{Pane, Viewer},
    model::{End, RunModel, StageRow, TaskProgress},
};
use crate::context::{duration_of, width_of};
use ratatui::{
    Frame,
    layout::{Constraint, Direction, Layout, Rect},
    style::{Color, Modifier, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType, Paragraph},
};

/// The least width of a screen that has the curves beside the rest.
const WIDE: u16 = 120;
/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, model: &RunModel, look: &mut Viewer) {
    let area = frame.area();
    let rows = |area, constraints: &[Constraint]| {
        Layout::default().direction(Direction::Vertical).constraints(constraints).split(area)
    };
    let stages = u16::try_from(model.stages.len()).unwrap_or(u16::MAX).saturating_add(1);
    // Head and foot take a line each; what is left is shared.
    let log = (area.height / 4).clamp(3, 14);
    let room = area.height.saturating_sub(2 + log);
    let stages = stages.min((room * 3 / 5).max(3));
    let parts = rows(
        area,
        &[
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(log),
            Constraint::Length(1),
        ],
    );
    let half = |area, share| {
        let both = [Constraint::Percentage(share), Constraint::Percentage(100 - share)];
        Layout::default().direction(Direction::Horizontal).constraints(both).split(area)
    };
    head(frame, parts[0], model, look);
    let (tasks, curves) = if area.width >= WIDE {
        let sides = half(parts[1], 55);
        let left = rows(sides[0], &[Constraint::Length(stages), Constraint::Min(1)]);
        stage_rows(frame, left[0], model, look);
        (left[1], sides[1])
    } else {
        let left = rows(parts[1], &[Constraint::Length(stages), Constraint::Min(1)]);
        stage_rows(frame, left[0], model, look);
        let sides = half(left[1], 55);
        (sides[0], sides[1])
    };
    task_rows(frame, tasks, model, look);
    charts(frame, curves, model, look);
    log_lines(frame, parts[2], model, look);
    let keys = " q leave  ↑↓ choose  tab tasks/log  c curve  p pause the log ";
    frame.render_widget(Paragraph::new(keys).style(look.tint(Color::DarkGray)), parts[3]);
}

fn head(frame: &mut Frame<'_>, area: Rect, model: &RunModel, look: &mut Viewer) {
    let state = match model.summary {
        Some(summary) if summary.failed > 0 => ("failed", Color::Red),
        Some(summary) if summary.stopped > 0 => ("stopped", Color::Yellow),
        Some(_) => ("done", Color::Green),
        None if look.live => ("running", Color::Cyan),
        None => ("killed", Color::Red),
    };
    let process = if model.summary.is_none() && look.live {
        look.process.text(model.process).to_owned()
    } else {
        String::new()
    };
    let done: usize = model.stages.iter().map(|row| row.hits + row.computed).sum();
    let on = if model.device.is_empty() { "" } else { " on " };
    let right = format!("  {process}{on}{} ", model.device);
    let time = duration_of(model.t);
    let left = format!(" {done}/{} in {time}  ", model.nodes);
    let file = model.pipeline.rsplit('/').next().unwrap_or_default();
    let name = format!("{file}  {}", model.run);
    let used = 1 + state.0.len() + left.chars().count() + right.chars().count();
    let room = usize::from(area.width).saturating_sub(used);
    let line = Line::from(vec![
        Span::styled(format!(" {}", state.0), look.tint(state.1).add_modifier(Modifier::BOLD)),
        Span::raw(left),
        Span::raw(fit(&name, room)),
        Span::styled(right, look.tint(Color::DarkGray)),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

fn stage_rows(frame: &mut Frame<'_>, area: Rect, model: &RunModel, look: &Viewer) {
    let title = format!(" {} ", crate::follow::work(model.nodes, model.cells));
    let height = usize::from(area.height.saturating_sub(1));
    let names = model.stages.iter().map(|row| width_of(&row.about.stage)).max().unwrap_or(0);
    let names = names.clamp(5, usize::from(area.width / 4).max(5));
    let words = model.stages.iter().map(|row| counts(row).0.chars().count()).max().unwrap_or(0);
    let width = usize::from(area.width);
    let bar = (width / 5).clamp(8, 24);
    let from = width.saturating_sub(names + bar + words + 5);
    let row = |row: &StageRow| {
        let done = row.hits + row.computed;
        let inputs = row.about.from.join(", ");
        let inputs =
            if inputs.is_empty() { row.about.methods.join(", ") } else { format!("← {inputs}") };
        let (text, colour) = counts(row);
        Line::from(vec![
            Span::raw(format!(" {} ", fit(&row.about.stage, names))),
            Span::styled(format!("{} ", fit(&inputs, from)), look.tint(Color::DarkGray)),
            Span::styled(bar_of(done as f64, row.about.nodes as f64, bar), look.tint(colour)),
            Span::styled(format!(" {text}"), look.tint(colour)),
        ])
    };
    let mut lines: Vec<Line<'_>> = model.stages.iter().map(row).collect();
    if lines.len() > height && height > 0 {
        // The stages that are whole can be done without first.
        let mut over = lines.len() - height + 1;
        let mut hidden = 0;
        let mut at = 0;
        lines.retain(|_| {
            let row = &model.stages[at];
            at += 1;
            let whole = row.running == 0 && row.failed == 0;
            let hide = over > 0 && whole;
            over -= usize::from(hide);
            hidden += usize::from(hide);
            !hide
        });
        lines.push(Line::from(format!(" … and {hidden} more stages")));
    }
    frame.render_widget(Paragraph::new(lines).block(look.block(title, false)), area);
}

/// Returns what became of a stage's computations, in words, and a colour for it.
fn counts(row: &StageRow) -> (String, Color) {
    let done = row.hits + row.computed;
    let mut text = format!("{done}/{}", row.about.nodes);
    let mut say = |count: usize, word: &str| {
        if count > 0 {
            text.push_str(&format!(" {count} {word}"));
        }
    };
    say(row.hits, "hit");
    say(row.running, "running");
    say(row.leased, "elsewhere");
    say(row.waiting().saturating_sub(row.leased), "waiting");
    say(row.failed, "failed");
    say(row.lost, "not done");
    let colour = match row {
        _ if row.failed > 0 => Color::Red,
        _ if row.running > 0 => Color::Cyan,
        _ if done == row.about.nodes => Color::Green,
        _ => Color::Reset,
    };
    (text, colour)
}

fn task_rows(frame: &mut Frame<'_>, area: Rect, model: &RunModel, look: &Viewer) {
    let listed = model.listed();
    let running = listed.iter().filter(|(_, task)| task.ended.is_none()).count();
    let title = match (running, listed.len() - running) {
        (0, 0) => " nothing runs yet ".to_owned(),
        (running, 0) => format!(" {running} running "),
        (running, ended) => format!(" {running} running, {ended} ended "),
    };
    let subject = look.subject(&listed);
    let height = usize::from(area.height.saturating_sub(1));
    let width = usize::from(area.width);
    // One that runs takes two lines where there is room for all of them.
    let tall = running * 2 <= height;
    let lines_of = |task: &TaskProgress| if tall && task.ended.is_none() { 2 } else { 1 };
    let mut from = 0;
    if let Some(subject) = subject {
        let mut below: usize = listed[..=subject].iter().map(|(_, task)| lines_of(task)).sum();
        while below > height && from < subject {
            below -= lines_of(listed[from].1);
            from += 1;
        }
    }
    let mut lines = vec![];
    for (at, (_, task)) in listed.iter().enumerate().skip(from) {
        if lines.len() >= height {
            break;
        }
        let mark = if subject == Some(at) { "▸" } else { " " };
        let bold = if subject == Some(at) { Modifier::BOLD } else { Modifier::empty() };
        let Some((took, how)) = task.ended else {
            let now = progress_text(task);
            if tall {
                let name = fit(&task.name, width.saturating_sub(2));
                lines.push(Line::styled(
                    format!("{mark}{name}"),
                    Style::default().add_modifier(bold),
                ));
                let bar = (width / 6).clamp(8, 30);
                lines.push(Line::from(vec![
                    Span::styled(
                        format!("  {} ", bar_of(task.done as f64, task.total as f64, bar)),
                        look.tint(Color::Cyan),
                    ),
                    Span::raw(fit(&now, width.saturating_sub(bar + 4))),
                ]));
            } else {
                let bar = (width / 6).clamp(4, 16);
                let name = fit(&task.name, width.saturating_sub(bar + 4) / 2);
                lines.push(Line::from(vec![
                    Span::styled(format!("{mark}{name} "), Style::default().add_modifier(bold)),
                    Span::styled(
                        bar_of(task.done as f64, task.total as f64, bar),
                        look.tint(Color::Cyan),
                    ),
                    Span::raw(format!(" {now}")),
                ]));
            }
            continue;
        };
        let (word, colour) = match how {
            End::Done => ("done", Color::Green),
            End::Failed => ("failed", Color::Red),
            End::Stopped => ("stopped", Color::Yellow),
        };
        let took = format!("{word} {}", duration_of(took));
        let name = fit(&task.name, width.saturating_sub(took.chars().count() + 3));
        lines.push(Line::from(vec![
            Span::styled(format!("{mark}{name} "), Style::default().add_modifier(bold)),
            Span::styled(took, look.tint(colour)),
        ]));
    }
    let block = look.block(title, look.pane == Pane::Tasks);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Returns how far a running task is: share, loss, rate and what is left.
fn progress_text(task: &TaskProgress) -> String {
    if task.total == 0 {
        return String::new();
    }
    let mut text = format!("{:.0}%", task.done as f64 * 100.0 / task.total as f64);
    if let Some(left) = task.left() {
        text.push_str(&format!(" eta {}", short(left)));
    }
    if let Some(rate) = task.rate() {
        text.push_str(&format!(" {}/s", thousands(rate)));
    }
    if let Some(loss) = task.latest("loss") {
        text.push_str(&format!(" loss {loss:.3}"));
    }
    text
}

fn short(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}", whole / 60, whole % 60),
        _ => format!("{}h{:02}", whole / 3600, whole / 60 % 60),
    }
}

fn thousands(rate: f64) -> String {
    match rate {
        r if r < 10.0 => format!("{r:.1}"),
        r if r < 10_000.0 => format!("{r:.0}"),
        r => format!("{:.0}k", r / 1000.0),
    }
}

fn charts(frame: &mut Frame<'_>, area: Rect, model: &RunModel, look: &Viewer) {
    let listed = model.listed();
    let task = look.subject(&listed).map(|at| listed[at].1);
    let Some(task) = task.filter(|task| !task.curves.is_empty()) else {
        let block = look.block(" no curve yet ", false);
        frame.render_widget(block, area);
        return;
    };
    // Losses have an axis of their own; shares are drawn together.
    let (shares, others): (Vec<usize>, Vec<usize>) =
        (0..task.curves.len()).partition(|at| task.curves[*at].figure.ends_with("accuracy"));
    let mut groups: Vec<Vec<usize>> = others.into_iter().map(|at| vec![at]).collect();
    groups.extend((!shares.is_empty()).then_some(shares));
    if area.height < 16 || groups.len() == 1 {
        let at = look.figure % groups.len();
        return chart(frame, area, task, &groups[at], look);
    }
    let count = u32::try_from(groups.len()).unwrap_or(1);
    let each = vec![Constraint::Ratio(1, count); groups.len()];
    let parts = Layout::default().direction(Direction::Vertical).constraints(each).split(area);
    for (group, part) in groups.iter().zip(parts.iter()) {
        chart(frame, *part, task, group, look);
    }
}

fn chart(frame: &mut Frame<'_>, area: Rect, task: &TaskProgress, curves: &[usize], look: &Viewer) {
    let tints = [Color::Yellow, Color::Green, Color::Magenta];
    let points = || curves.iter().flat_map(|at| &task.curves[*at].points);
    let least = points().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
    let (least, most) = if most > least { (least, most) } else { (least - 0.5, most + 0.5) };
    let until = (task.total as f64).max(1.0);
    let dataset = |(nth, at): (usize, &usize)| {
        Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(look.tint(tints[nth % tints.len()]))
            .data(&task.curves[*at].points)
    };
    let datasets = curves.iter().enumerate().map(dataset).collect();
    let mut title = vec![];
    for (nth, at) in curves.iter().enumerate() {
        let curve = &task.curves[*at];
        let last = curve.points.last().map_or(f64::NAN, |point| point.1);
        let style = look.tint(tints[nth % tints.len()]);
        title.push(Span::styled(format!(" {} {last:.4} ", curve.figure), style));
    }
    title.push(Span::raw(format!("{} ", task.name)));
    let label = |value: f64| Span::raw(format!("{value:.3}"));
    let y = vec![label(least), label(least.midpoint(most)), label(most)];
    let x = vec![Span::raw("0"), Span::raw(format!("{} {}", task.total, task.unit))];
    let axis = |bounds, labels| {
        Axis::default().bounds(bounds).labels(labels).style(look.tint(Color::DarkGray))
    };
    let chart = Chart::new(datasets)
        .block(look.block(Line::from(title), false))
        .x_axis(axis([0.0, until], x))
        .y_axis(axis([least, most], y));
    frame.render_widget(chart, area);
}

fn log_lines(frame: &mut Frame<'_>, area: Rect, model: &RunModel, look: &Viewer) {
    let height = usize::from(area.height.saturating_sub(1));
    let new = look.paused.map_or(0, |at| model.logged - at);
    let title = match (look.paused, look.back) {
        (Some(_), _) => format!(" log, paused: {new} more "),
        (None, 0) => " log ".to_owned(),
        (None, back) => format!(" log, {back} lines back "),
    };
    let end = model.log.len().saturating_sub(look.back + new.min(model.log.len()));
    let end = end.max(height.min(model.log.len()));
    let from = end.saturating_sub(height);
    let tint = |line: &String| {
        let word = line.get(12..).unwrap_or_default();
        let colour = match word.split(' ').next() {
            Some("failed" | "full") => Color::Red,
            Some("repair" | "note" | "stop" | "skip" | "waits") => Color::Yellow,
            Some("done" | "end") => Color::Green,
            _ => Color::Reset,
        };
        Line::styled(line.clone(), look.tint(colour))
    };
    let lines: Vec<Line<'_>> = model.log.range(from..end).map(tint).collect();
    let block = look.block(title, look.pane == Pane::Log);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Returns a bar of `width` characters.
fn bar_of(done: f64, total: f64, width: usize) -> String {
    let share = if total > 0.0 { (done / total).clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * width as f64 * 8.0).floor() as usize;
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let full = eighths / 8;
    let rest = width.saturating_sub(full + usize::from(!part.is_empty()));
    format!("{}{part}{}", "█".repeat(full), "·".repeat(rest))
}

/// Returns `text` in exactly `width` characters, its end cut off if need be.
fn fit(text: &str, width: usize) -> String {
    let places = width_of(text);
    if places <= width {
        return format!("{text}{}", " ".repeat(width - places));
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let mut cut = String::new();
    for letter in text.chars() {
        cut.push(letter);
        if width_of(&cut) > room {
            cut.pop();
            break;
        }
    }
    let rest = " ".repeat(room - width_of(&cut));
    format!("{cut}…{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{
        model::tests::{LINES, heard},
        screen::Key,
    };
    use ratatui::{Terminal, backend::TestBackend};

    fn screen(width: u16, height: u16, look: &mut Viewer) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        let model = heard(LINES);
        terminal.draw(|frame| draw(frame, &model, look)).expect("drawn");
        let cells = &terminal.backend().buffer().content;
        let line =
            |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect();
        cells.chunks(usize::from(width)).map(line).collect()
    }

    #[test]
    fn every_pane_is_there_at_any_size() {
        for (width, height) in [(80, 24), (200, 50)] {
            let lines = screen(width, height, &mut Viewer::new());
            let has = |text: &str| lines.iter().any(|line| line.contains(text));
            for text in [
                "p.toml",
                "6 stages shared by 3 cells",
                "← data",
                "1/1 1 hit",
                "1 running",
                "1 elsewhere 2 waiting 1 failed",
                "proxy [seed=0]",
                "60% eta 4s 10/s loss 1.500",
                "loss 1.5000",
                "start  proxy [seed=1]",
                "q leave",
            ] {
                assert!(has(text), "{width}x{height}: {text} in\n{}", lines.join("\n"));
            }
            assert_eq!(has("train accuracy 0.5000"), height == 50, "there is room for both");
        }
        // Too small to be of use, but no reason to fail.
        for (width, height) in [(1, 1), (10, 3), (30, 8)] {
            screen(width, height, &mut Viewer::new());
        }
    }

    #[test]
    fn keys_choose_tasks_and_curves() {
        let mut look = Viewer::new();
        let model = heard(LINES);
        look.press(Key::Char('c'), &model);
        assert!(
            screen(80, 24, &mut look).iter().any(|line| line.contains("train accuracy 0.5000"))
        );
        look.press(Key::Down, &model);
        assert!(screen(80, 24, &mut look).iter().any(|line| line.contains("▸proxy [seed=1]")));
        for _ in 0..9 {
            look.press(Key::Down, &model);
        }
        look.press(Key::Up, &model);
        assert!(screen(80, 24, &mut look).iter().any(|line| line.contains("▸proxy [seed=0]")));
        look.press(Key::Char('p'), &model);
        assert!(screen(80, 24, &mut look).iter().any(|line| line.contains("log, paused: 0 more")));
    }

    #[test]
    fn bars_are_as_wide_as_asked() {
        for done in 0..=40 {
            assert_eq!(bar_of(f64::from(done), 40.0, 7).chars().count(), 7, "{done}");
        }
        assert_eq!(
            (fit("abcd", 3), fit("a", 3), fit("a", 0)),
            ("ab…".into(), "a  ".into(), String::new())
        );
        // Some letters are two places wide.
        assert_eq!(
            (&*fit("日本", 5), &*fit("日本", 3), &*fit("日本語", 3)),
            ("日本 ", "日…", "日…")
        );
        assert_eq!(fit("日本", 2), "… ");
    }
}
