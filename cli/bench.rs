//! `coresift bench`: how fast a network trains here, on random images.

use crate::context::{Context, Failure, columns, print, print_line};
use networks::{BenchmarkWork, DeviceChoice};
use serde_json::json;
use std::{process::ExitCode, time::Duration};

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    /// The architecture, as a pipeline names it.
    #[arg(long, default_value = "resnet18")]
    model: String,
    /// Its width [default: the family's own]
    #[arg(long)]
    width: Option<usize>,
    /// The images: channels, height and width.
    #[arg(long, default_value = "3x32x32", value_parser = sides)]
    sample: [usize; 3],
    /// Images a step.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// What is done to an image before each use: none, crop, flip or crop-flip.
    #[arg(long, default_value = "none")]
    augment: String,
    /// f32, or bf16 on CUDA.
    #[arg(long, default_value = "f32")]
    precision: String,
    /// Where: auto, cpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// How many networks train at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    at_once: u16,
    /// How many cores the kernels may use [default: all]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How many seconds each of the two passes is timed, at least.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Steps of an epoch [default: 64 for mlp, else 4 on the CPU and 16 on CUDA]
    #[arg(long)]
    steps: Option<usize>,
    /// Time nothing: run one trained network on the CPU and on the device, and compare.
    #[arg(long)]
    agree: bool,
}

pub(crate) fn run(args: &BenchArgs, context: &Context) -> Result<ExitCode, Failure> {
    let device = crate::run::open_device(args.device, context)?;
    let steps = match (args.steps, &args.model[..], device.is_cpu()) {
        (Some(steps), ..) => steps,
        (None, "mlp", _) => 64,
        (None, _, true) => 4,
        (None, _, false) => 16,
    };
    let work = BenchmarkWork {
        model: args.model.clone(),
        width: args.width,
        sample: args.sample,
        batch: args.batch as usize,
        augment: args.augment.clone(),
        precision: args.precision.clone(),
        steps,
    };
    let time = Duration::try_from_secs_f64(args.seconds)
        .map_err(|error| Failure::mistake("--seconds").because(error))?;
    crate::run::use_threads(context.threads(args.threads));
    crate::run::keep_panics();
    let figures = if args.agree {
        json!(work.agreement(device)?)
    } else {
        json!(work.speed(device, args.at_once.into(), time)?)
    };
    if context.global.json {
        print_line(&figures.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![];
    for (what, figure) in figures.as_object().into_iter().flatten() {
        let figure = figure.as_f64().unwrap_or(f64::NAN);
        let (what, figure) = if args.agree {
            (what.clone(), format!("{figure:.2e}"))
        } else {
            (format!("{what}, images/s"), format!("{figure:.0}"))
        };
        rows.push(vec![what, figure]);
    }
    print(&columns(&rows, |column| column == 1));
    Ok(ExitCode::SUCCESS)
}

fn sides(text: &str) -> Result<[usize; 3], String> {
    let sides: Option<Vec<usize>> = text.split('x').map(|side| side.parse().ok()).collect();
    sides
        .and_then(|sides| <[usize; 3]>::try_from(sides).ok())
        .filter(|sides| sides.iter().all(|side| (1..=4096).contains(side)))
        .ok_or_else(|| "three numbers, such as 3x32x32".to_owned())
}
