//! `load.webdataset`: images in tar archives, the samples of which share the beginning of their names.

use super::{
    super::{Loader, archived, labels::refused},
    content::is_named_as_image,
    gather::{self, Embedded},
    shards::Shards,
};
use crate::OwnFileError;
use artifacts::parts::Parts;
use engine::{InputFolder, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// What a sample's JSON calls its class, the first that is there.
const KEYS: [&str; 6] = ["label", "cls", "class", "target", "category", "class_name"];

/// Images in the tar archives of WebDataset.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub(in super::super) struct WebDataset(Shards);

impl Loader for WebDataset {
    const NAME: &'static str = "load.webdataset";
    // 2: images have ids.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str =
        "images in tar archives, as WebDataset and img2dataset write them";
    const MANUAL: &'static str = "\
Images in tar archives, as WebDataset and img2dataset write them: the files of a sample share a name up to its first \
dot, such as `000017.jpg` and `000017.cls`. The class is what stands in `.cls`, a number from 0 or a name, or in \
`.json` under `label`, `cls`, `class`, `target` or `category`. All files below `dir` that end in `.tar` (or \
`.tar.gz`) are read, in the order of their paths, and samples in the order of the archives; `train` in a path says \
what is to train on, and `test`, `val` or `validation` what is to test on, the first of them that there is. Where no \
path says it, all are to train on, and `test-fraction` of each class is drawn from the stage's seed to test on.

The id of an image is the name that the files of its sample share, with their folder, unless two have the same; or \
with `ids` what stands in that field of each sample's `.json`.

Images are read and resized as by `load.folder`. Samples without an image are passed over; one without a class is \
an error.

Cost: the pixels are held in memory until they are stored, and one archive at a time.";

    fn streams(&self) -> &'static [&'static str] {
        self.0.streams()
    }

    fn problems(&self) -> Vec<Problem> {
        self.0.problems()
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        self.0.folders(&["tar", "tgz"])
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        gather::put(ctx, &self.0, None, |path| shard(path, self.0.ids.as_deref()))
    }
}

/// A sample as far as it was read.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Vec<u8>>,
    class: Option<String>,
    /// What its JSON says of it.
    json: Value,
}

/// Reads the samples of an archive. Their ids are in the field `ids` of their JSON, or are their keys.
fn shard(path: &Path, ids: Option<&str>) -> Result<Vec<Embedded>, StageError> {
    let (mut found, mut sample) = (vec![], Sample::default());
    archived::each(
        path,
        |_| true,
        |name, bytes| {
            let Some((key, what)) = parts(&name) else { return Ok(()) };
            if key != sample.key {
                let next = Sample { key: key.to_owned(), ..Sample::default() };
                found.extend(std::mem::replace(&mut sample, next).finish(path, ids)?);
            }
            sample.add(what, bytes);
            Ok(())
        },
    )?;
    found.extend(sample.finish(path, ids)?);
    Ok(found)
}

/// Returns the sample that a file of an archive belongs to, and what of it the file is. Hidden files are none.
fn parts(name: &str) -> Option<(&str, &str)> {
    let base = archived::base(name);
    let dot = base.find('.').filter(|dot| *dot > 0)?;
    Some((&name[..name.len() - base.len() + dot], &base[dot + 1..]))
}

impl Sample {
    fn add(&mut self, what: &str, bytes: Vec<u8>) {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).ok().map(|text| text.trim().to_owned())
        };
        match what.to_ascii_lowercase().as_str() {
            "cls" | "cls.txt" => self.class = text(&bytes),
            "json" => self.json = serde_json::from_slice(&bytes).unwrap_or_default(),
            // `seg.png` beside `jpg` is not the image but goes with it.
            what if what.contains('.') && self.image.is_some() => {}
            what if is_named_as_image(&format!("x.{what}")) => self.image = Some(bytes),
            _ => {}
        }
    }

    /// Returns the image with its class; `None` of a sample without an image.
    fn finish(self, path: &Path, ids: Option<&str>) -> Result<Option<Embedded>, StageError> {
        let Some(bytes) = self.image else { return Ok(None) };
        let class = self.class.filter(|class| !class.is_empty());
        let class = class.or_else(|| KEYS.iter().find_map(|key| text(&self.json[*key])));
        let label = class.ok_or_else(|| refused(path, OwnFileError::NoClass(self.key.clone())))?;
        let id = match ids {
            None => Some(self.key.clone()),
            Some(field) => Some(text(&self.json[field]).ok_or_else(|| {
                let (field, sample) = (field.to_owned(), self.key.clone());
                refused(path, OwnFileError::NoId { field, sample })
            })?),
        };
        Ok(Some(Embedded { place: path.join(self.key), bytes, label, id }))
    }
}

/// Returns a text or a whole number as a text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{archived::tar_of, file::Scratch};

    #[test]
    fn samples_are_put_together_from_their_files() {
        let scratch = Scratch::new("webdataset");
        let read = |files: &[(&str, &[u8])]| {
            let path = scratch.write("train-0.tar", &tar_of(files));
            let found = shard(&path, None).map_err(|error| error.to_string())?;
            Ok(found
                .into_iter()
                .map(|one| (one.bytes, one.label, one.id.unwrap_or_default()))
                .collect::<Vec<_>>())
        };
        let found = read(&[
            ("a/01.cls", b"3\n"),
            ("a/01.jpg", b"one"),
            ("a/02.json", br#"{"key": "02", "label": 4}"#),
            ("a/02.depth.png", b"none"),
            ("a/02.jpg", b"two"),
            ("a/02.seg.png", b"none"),
            ("a/.03.jpg", b"hidden"),
            ("b/02.txt", b"a text alone"),
            ("b/04.JPEG", b"four"),
            ("b/04.cls", b"dog"),
        ]);
        let want: Vec<(Vec<u8>, String, String)> =
            [("one", "3", "a/01"), ("two", "4", "a/02"), ("four", "dog", "b/04")]
                .map(|(bytes, label, id)| (bytes.into(), label.to_owned(), id.to_owned()))
                .into();
        assert_eq!(found, Ok(want));
        let found: Result<_, String> = read(&[("5.jpg", b"five"), ("6.cls", b"1")]);
        assert!(found.expect_err("it has no class").ends_with("has no class for `5`"));
        let path = scratch.write("cut.tar", &tar_of(&[("1.jpg", &[7; 2000])])[..1500]);
        let found = shard(&path, None).err().expect("it is cut").to_string();
        assert!(found.contains("is an archive that does not unpack"), "{found}");
        let json = br#"{"label": 1, "uid": "x9"}"#;
        let path = scratch.write("ids.tar", &tar_of(&[("1.jpg", b"one"), ("1.json", json)]));
        let found = shard(&path, Some("uid")).expect("it has one");
        assert_eq!(found[0].id.as_deref(), Some("x9"));
        let found = shard(&path, Some("url")).err().expect("it has none").to_string();
        assert!(found.ends_with("has no `url` in the JSON of `1`"), "{found}");
    }
}
