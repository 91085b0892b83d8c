//! Data sets, proxies and models that a program made.

use super::{
    OutError,
    answer::{read, wrong},
    is_file,
};
use crate::{
    MethodError,
    load::{self, Loaded},
};
use artifacts::{
    architecture::{Architecture, Family, adopt},
    dataset::{self, DatasetMeta, Inputs, Split},
    formats::{self, Scalar},
    network::{History, ModelMeta},
    parts::{self, Parts, StoredTensor},
    record::{self, Detail, LabelledSamples},
    subset::Subset,
    units::Count,
};
use engine::{StageCtx, StageError};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

/// A label beyond this is taken for a mistake.
const MOST_CLASSES: usize = 1_000_000;

/// What may be said of a data set beside its tensors.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct About {
    name: Option<String>,
    classes: Option<Vec<String>>,
    mean: Option<Vec<f32>>,
    std: Option<Vec<f32>>,
}

/// Takes `out/data.safetensors` and, if it is there, `out/data.json`.
pub(super) fn data(ctx: &StageCtx<'_>, out: &Path) -> Result<Parts, StageError> {
    let path = out.join("data.safetensors");
    let bytes = read(out, "data.safetensors")?;
    let about = out.join("data.json");
    let about: About = match is_file(&about) {
        false => About::default(),
        true => serde_json::from_slice(&read(out, "data.json")?)
            .map_err(|error| wrong(&about, OutError::About(error)))?,
    };
    let classes = about.classes.as_ref().map_or(MOST_CLASSES, Vec::len);
    let split = |name: &str| split(&bytes, name, classes).map_err(|error| wrong(&path, error));
    let (train, sample) = split("train")?;
    let test = SafeTensors::deserialize(&bytes)
        .is_ok_and(|all| all.names().into_iter().any(|name| name == "test"));
    let (test, other) = match (test, &train.inputs) {
        (true, _) => split("test")?,
        (false, Inputs::Images(_)) => {
            (Split { inputs: Inputs::Images(vec![].into()), labels: vec![] }, sample.clone())
        }
        (false, Inputs::Features(_)) => {
            (Split { inputs: Inputs::Features(vec![]), labels: vec![] }, sample.clone())
        }
    };
    if other != sample {
        return Err(wrong(&path, OutError::SplitShape { train: sample, test: other }).into());
    }
    let labels = [train.labels.as_slice(), &test.labels];
    let channels = if matches!(train.inputs, Inputs::Images(_)) { sample[0] } else { 1 };
    let moments = about.mean.zip(about.std);
    let given = moments.is_some();
    let (mean, std) = moments.unwrap_or((vec![0.0; channels], vec![1.0; channels]));
    if mean.len() != channels || std.len() != channels || std.iter().any(|one| *one <= 0.0) {
        return Err(wrong(&out.join("data.json"), OutError::Moments { channels }).into());
    }
    let meta = DatasetMeta {
        name: about.name.unwrap_or_else(|| "command".to_owned()),
        classes: about.classes.unwrap_or_else(|| load::numbers(&labels)),
        sample,
        train: train.labels.len(),
        test: test.labels.len(),
        mean,
        std,
        space: None,
    };
    let loaded = Loaded::new(meta, train, test);
    if given { loaded.put(ctx) } else { loaded.with_moments().put(ctx) }
}

/// Returns the samples called `name` with their labels, and the shape of one.
fn split(bytes: &[u8], name: &str, classes: usize) -> Result<(Split, Vec<usize>), OutError> {
    let samples = formats::tensor(bytes, name)?;
    let labels = formats::tensor(bytes, &format!("{name}_labels"))?.labels(classes)?;
    let (inputs, sample) = match (samples.scalar, &samples.shape[..]) {
        (Scalar::U8, [_, sample @ ..]) if sample.len() == 3 => {
            (Inputs::Images(samples.data.to_vec().into()), sample.to_vec())
        }
        (Scalar::U8, shape) => {
            let (split, shape) = (name.to_owned(), shape.to_vec());
            return Err(OutError::ImageShape { split, shape });
        }
        _ => {
            let (values, _, d) = samples.embeddings()?;
            (Inputs::Features(values), vec![d])
        }
    };
    let n = samples.shape[0];
    if labels.len() != n {
        let (split, labels) = (name.to_owned(), labels.len());
        return Err(OutError::LabelCount { split, labels, n });
    }
    Ok((Split { inputs, labels }, sample))
}

/// Takes `out/outputs.safetensors` and the epochs on record.
pub(super) fn proxy(
    ctx: &StageCtx<'_>,
    out: &Path,
    ground: &LabelledSamples,
) -> Result<Parts, StageError> {
    let n = ground.labels.len();
    let path = out.join("outputs.safetensors");
    let bytes = read(out, "outputs.safetensors")?;
    let all = SafeTensors::deserialize(&bytes)
        .map_err(|error| wrong(&path, OutError::Safetensors(error)))?;
    let mut found = vec![];
    for name in ["logits", "embeddings"] {
        if !all.names().into_iter().any(|one| one == name) {
            continue;
        }
        let array = formats::array(&bytes, name).map_err(|error| wrong(&path, error))?;
        let (values, rows, cols) = array.embeddings().map_err(|error| wrong(&path, error))?;
        if rows != n || (name == "logits" && cols != ground.classes) {
            let (output, columns) = (name, cols);
            let classes = (name == "logits").then_some(ground.classes);
            let error = OutError::OutputShape { output, rows, columns, n, classes };
            return Err(wrong(&path, error).into());
        }
        found.push((name, values, cols));
    }
    if found.is_empty() {
        return Err(wrong(&path, OutError::NoOutputs).into());
    }
    let mut parts = Parts::new();
    for epoch in 1.. {
        let name = format!("{}.npy", record::part_name(epoch));
        if !is_file(&out.join(&name)) {
            break;
        }
        let (bytes, path) = (read(out, &name)?, out.join(&name));
        let array = formats::array(&bytes, "logits").map_err(|error| wrong(&path, error))?;
        let logits = array.floats().filter(|_| array.shape == [n, ground.classes]);
        let logits = logits.ok_or_else(|| {
            let (shape, classes) = (array.shape.clone(), ground.classes);
            wrong(&path, OutError::EpochShape { shape, n, classes })
        })?;
        let (detail, classes) = (Detail::Logits, ground.classes);
        let blob = record::put_epoch(ctx, detail, &logits, classes, &ground.labels)?;
        parts.insert(record::part_name(epoch), blob);
    }
    let epochs = parts.len();
    let tensors: Vec<StoredTensor<'_>> = found
        .iter()
        .map(|(name, values, cols)| StoredTensor::f32(name, &[n, *cols], values))
        .collect();
    parts.insert("outputs".to_owned(), parts::put_tensors(ctx, &tensors)?);
    parts.extend(ground.shared.clone());
    let meta = json!({ "classes": ground.classes, "epochs": epochs });
    parts.insert("meta".to_owned(), parts::put_json(ctx, &meta)?);
    Ok(parts)
}

/// Takes `out/model.safetensors`.
pub(super) fn model(
    ctx: &StageCtx<'_>,
    out: &Path,
    family: Option<Family>,
    width: Option<Count>,
) -> Result<Parts, StageError> {
    let architecture = Architecture { name: family.ok_or(MethodError::NoArchitecture)?, width };
    let source = dataset::input(ctx, "data")?;
    let (meta, labels, _) = dataset::labels(ctx, "data", source)?;
    let clean = dataset::clean(ctx, "data", source)?;
    let groups = dataset::groups(ctx, "data", source, &meta)?;
    let origins = dataset::origins(ctx, "data", source, &meta)?;
    let kept = Subset::read(ctx, labels.len())?;
    let path = out.join("model.safetensors");
    let bytes = read(out, "model.safetensors")?;
    let classes = meta.classes.len();
    let adopted =
        adopt(architecture, &meta.sample, classes, &bytes).map_err(|error| wrong(&path, error))?;
    let meta = ModelMeta {
        model: architecture,
        classes,
        sample: meta.sample,
        mean: meta.mean,
        std: meta.std,
        epochs: 0,
        steps: 0,
        head: adopted.head,
        embedding: adopted.embedding,
        samples: kept.len(),
        samples_seen: None,
        per_class: kept.per_class(&labels, classes),
        corrupted_kept: clean.as_ref().map(|clean| kept.count_of(&clean.touched)),
        corrupted_total: clean.as_ref().map(|clean| clean.touched.len()),
        groups: groups.as_ref().map(|groups| groups.count(&kept)),
        origins: origins.as_ref().map(|origins| origins.count(&kept)),
    };
    Ok(Parts::from([
        ("weights".to_owned(), ctx.put(&adopted.weights)?),
        ("history".to_owned(), parts::put_json(ctx, &History::of(&[]))?),
        ("meta".to_owned(), parts::put_json(ctx, &meta)?),
    ]))
}
