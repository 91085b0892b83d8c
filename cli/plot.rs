//! `coresift plot`: one figure of a report as SVG or PNG.

pub(crate) mod drawing;
pub(crate) mod figures;
pub(crate) mod svg;

mod axes;
mod font;
mod png;
mod raster;

use crate::{
    context::{Context, Failure, Pipeline, bytes_of, write_file},
    results::Study,
};
use drawing::Drawing;
use figures::{Figure, Room};
use std::{path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct PlotArgs {
    #[command(flatten)]
    pipeline: Pipeline,
    /// Which figure.
    #[arg(long, value_enum)]
    figure: Figure,
    /// The file; its name ends in `.svg` or `.png`.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Light on dark.
    #[arg(long)]
    dark: bool,
    /// Pixels of a PNG to a CSS pixel, from 0.5 to 8.
    #[arg(long, default_value_t = 2.0, value_parser = scale)]
    scale: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FigureFormat {
    Svg,
    Png,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.5..=8.0).contains(&scale) => Ok(scale),
        _ => Err("it is not a number from 0.5 to 8".to_owned()),
    }
}

pub(crate) fn run(args: &PlotArgs, context: &Context) -> Result<ExitCode, Failure> {
    let end = args.out.extension().map(|end| end.to_string_lossy().to_lowercase());
    let format = match end.as_deref() {
        Some("svg") => FigureFormat::Svg,
        Some("png") => FigureFormat::Png,
        _ => {
            let what = format!("`{}` does not say which format is wanted", args.out.display());
            return Err(Failure::mistake(what).hint("end its name in .svg or .png"));
        }
    };
    let plan = context.plan(&args.pipeline)?;
    let store = context.store()?;
    let study = Study::read(&plan, &store)?;
    let panels = args.figure.panels(&study, Room::Sheet)?;
    if panels.is_empty() {
        let what = format!("there is nothing to show of `{}`", args.figure.heading());
        let command = args.pipeline.run_command();
        return Err(Failure::failed(what)
            .hint(format!("`{command}` makes the results; not every pipeline has all")));
    }
    let label = panels.iter().map(|panel| panel.label.as_str()).collect::<Vec<_>>().join(" ");
    let name = plan.title.as_deref().unwrap_or_default();
    let heading = match name {
        "" => args.figure.heading().to_owned(),
        _ => format!("{}: {name}", args.figure.heading()),
    };
    let drawings: Vec<Drawing> = panels.into_iter().map(|panel| panel.drawing).collect();
    let columns = (drawings.len() as f64).sqrt().ceil() as usize;
    let sheet = Drawing::sheet(&heading, &drawings, columns.clamp(1, 4));
    let bytes = match format {
        FigureFormat::Svg => svg::file(&sheet, &label, args.dark).into_bytes(),
        FigureFormat::Png => raster::png(&sheet, args.scale, args.dark).ok_or_else(|| {
            Failure::failed("the figure is too large for a PNG").hint("lower --scale, or take .svg")
        })?,
    };
    write_file(&args.out, &bytes)?;
    let size = bytes_of(bytes.len() as u64);
    context.note(&format!("{} to `{}`, {size}", args.figure.heading(), args.out.display()));
    Ok(ExitCode::SUCCESS)
}
