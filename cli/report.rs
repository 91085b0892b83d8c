//! `coresift report`: the results of a pipeline as one HTML page that needs nothing else.

mod origin;
mod page;
mod tables;

use crate::{
    context::{
        Context, Failure, Pipeline, bytes_of, duration_of, now_millis, percent, stream_name,
        time_of, write_file,
    },
    plot::figures::{Figure, Panel, Room, stages},
    results::{Condition, Study},
};
use engine::{ResultUse, RunStatus};
use page::{Page, escape};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// The file [default: the pipeline's name, ending in .html; of one on stdin, report.html]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &ReportArgs, context: &Context) -> Result<ExitCode, Failure> {
    let plan = context.plan(&args.pipeline)?;
    let store = context.store()?;
    let study = Study::read(&plan, &store)?;
    let (stored, ..) = study.forecast.counts();
    if stored == 0 {
        let failure = Failure::failed("none of this pipeline's results is there yet");
        return Err(failure.hint(format!("make them with `{}`", args.pipeline.run_command())));
    }
    let name = match stream_name(&args.pipeline.pipeline) {
        Some(_) => PathBuf::from("report"),
        None => args.pipeline.pipeline.file_stem().map(PathBuf::from).unwrap_or_default(),
    };
    let out = args.out.clone().unwrap_or_else(|| name.with_extension("html"));
    let text = html(&study)?;
    let stored = plan.nodes().filter(|(id, _)| study.forecast.record(*id).is_some());
    let keys = stored.filter_map(|(id, _)| study.forecast.keys[id.index()]).collect();
    ResultUse::note(&store, &plan.path, now_millis(), keys);
    write_file(&out, text.as_bytes())?;
    context.note(&format!("`{}`, {}", out.display(), bytes_of(text.len() as u64)));
    Ok(ExitCode::SUCCESS)
}

fn html(study: &Study<'_>) -> Result<String, Failure> {
    let file = study.plan.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let title = study.plan.title.clone().or(file).unwrap_or_default();
    let mut page = Page::new(&title, &lead(study), &summary(study));
    page.section("Results", tables::NOTE, &tables::table(study));
    figure(&mut page, study, Figure::Accuracy, AGAINST)?;
    figure_with(&mut page, study, Figure::Noise, NOISE, &tables::noise(study)?)?;
    for (one, note) in [
        (Figure::Proxies, PROXIES),
        (Figure::Students, STUDENTS),
        (Figure::Scores, SCORES),
        (Figure::Overlap, OVERLAP),
        (Figure::Confusion, CONFUSION),
        (Figure::Samples, SAMPLES),
    ] {
        figure(&mut page, study, one, note)?;
    }
    page.section("What failed", FAILED, &origin::failures(study)?);
    figure_with(&mut page, study, Figure::Graph, GRAPH, &origin::stage_table(&stages(study)))?;
    figure(&mut page, study, Figure::Timeline, TIMELINE)?;
    page.section("Provenance", ORIGIN, &origin::facts(study)?);
    page.section("To repeat it", REPEAT, &origin::repeat(study));
    Ok(page.end(&format!(
        "Written by coresift {} at {} UTC.",
        env!("CARGO_PKG_VERSION"),
        time_of(now_millis() / 1000)
    )))
}

const AGAINST: &str = "Marks are means over seeds, bars one standard deviation each way. \
    Accuracy is that of the student after its last epoch, on the test split.";
const NOISE: &str = "Labels that the corruption changed, counted among the samples each selector \
    kept. A selector that ignores the labels keeps the share that the data has.";
const PROXIES: &str = "The networks the scores and selections are read from; means over seeds.";
const STUDENTS: &str = "The networks trained on the selections; means over seeds.";
const SCORES: &str = "Larger is harder. The first seed, and the first selector that reads the score; the \
    dashed line is its cut, where kept and dropped samples part.";
const OVERLAP: &str = "The samples both selectors keep, as a share of those either keeps (Jaccard), \
    in percent. Each seed by itself, then averaged.";
const CONFUSION: &str = "Each row is a class of the test split, and shows what its samples were \
    taken for; all seeds together. Of many results, the best and the worst.";
const SAMPLES: &str = "The pixels the networks saw, first seed, under the label they were given. \
    An orange frame marks a wrong label; ≠ gives the true class.";
const FAILED: &str =
    "Stages of the newest run that ended with an error; what needs them was not run.";
const GRAPH: &str = "Each box is a stage in all cells of the matrix: what the run made and found, \
    and the time it took to make all of it. Stages of equal settings are made once.";
const TIMELINE: &str = "What was computed when; of very many computations, the longest. What \
    the store had is not drawn.";
const ORIGIN: &str = "Where these results come from.";
const REPEAT: &str = "The files as the run read them, and one cell of the matrix with every default \
    filled in.";

fn figure(page: &mut Page, study: &Study<'_>, one: Figure, note: &str) -> Result<(), Failure> {
    figure_with(page, study, one, note, "")
}

/// Adds a figure and what belongs below it; nothing where there is nothing to show.
fn figure_with(
    page: &mut Page,
    study: &Study<'_>,
    one: Figure,
    note: &str,
    more: &str,
) -> Result<(), Failure> {
    let wide = one.panels(study, Room::Wide)?;
    if wide.is_empty() {
        return Ok(());
    }
    let mut body = String::new();
    let roomy = wide.iter().any(|panel| panel.drawing.width > Room::Narrow.width());
    if roomy && one.uses_room() {
        let narrow = one.panels(study, Room::Narrow)?;
        body.push_str(&page::panels(&narrow, "narrow"));
        body.push_str(&page::panels(&wide, "wide"));
    } else {
        // A matrix of many names would not be read if it were as narrow as the others.
        let large = |panel: &Panel| panel.drawing.width > 1.5 * Room::Narrow.width();
        let alone = alone(&wide) || wide.iter().any(large);
        body.push_str(&page::panels(&wide, if alone { "alone" } else { "" }));
    }
    body.push_str(more);
    if !more.is_empty() && !one.uses_room() {
        body = format!("<div class=\"split\">\n{body}</div>\n");
    }
    page.section(one.heading(), note, &body);
    Ok(())
}

fn alone(panels: &[Panel]) -> bool {
    panels.len() == 1
}

/// Returns the pipeline, its cells and its run, in a sentence.
fn lead(study: &Study<'_>) -> String {
    let file = study.plan.path.display().to_string();
    let cells = study.plan.cells.len();
    let cells = if cells == 1 { "one cell".to_owned() } else { format!("{cells} cells") };
    let mut text = format!("<code>{}</code>, {cells}", escape(&file));
    if let Some(run) = &study.run {
        text.push_str(&format!(
            "; run {} of {} UTC on {}, {}.",
            escape(&run.id),
            time_of(run.started),
            escape(&run.device),
            run.status(study.store)
                .map_or("of which the store does not tell the end", RunStatus::label)
        ));
    } else {
        text.push('.');
    }
    text
}

/// Returns the figures at the top: name, value, remark.
fn summary(study: &Study<'_>) -> Vec<[String; 3]> {
    let mut tiles = vec![];
    let partial = |row: &&Condition| row.keep.is_some_and(|keep| keep < 1.0);
    let accuracy = |row: &Condition| row.mean("accuracy").map(|stat| stat.mean);
    // Ties go to the last in the matrix.
    let best =
        study.conditions.iter().filter(partial).filter_map(|row| Some((row, accuracy(row)?)));
    if let Some((row, accuracy)) = best.max_by(|a, b| a.1.total_cmp(&b.1)) {
        let what = format!("{} with {} kept", row.series, row.share());
        tiles.push(["best coreset".to_owned(), percent(accuracy), what]);
    }
    let whole = study.conditions.iter().find(|row| row.keep.is_some_and(|keep| keep >= 1.0));
    if let Some(accuracy) = whole.and_then(accuracy) {
        let what = "everything kept".to_owned();
        tiles.push(["whole training set".to_owned(), percent(accuracy), what]);
    }
    let done: usize = study.conditions.iter().map(|row| row.repeats.len()).sum();
    let wanted: usize = study.conditions.iter().map(|row| row.wanted).sum();
    let what = if done == wanted { "all of them".to_owned() } else { format!("of {wanted}") };
    tiles.push(["results".to_owned(), done.to_string(), what]);
    let lines = stages(study);
    let count: usize = lines.iter().map(|line| line.count).sum();
    let seconds: f64 = lines.iter().map(|line| line.seconds).sum();
    tiles.push(["work".to_owned(), duration_of(seconds), format!("{count} computations")]);
    tiles
}
