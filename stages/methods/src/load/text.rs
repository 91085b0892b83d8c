//! `load.text`: texts, as hashed counts of their words, with the rows they came in.

mod split;

use super::{
    Loader, file, folder_of_texts,
    labels::{self, FileLabels, refused},
    names, put_around_features,
};
use crate::{MethodError, OwnFileError, ngrams};
use artifacts::{
    ClassId,
    dataset::DatasetMeta,
    formats::column,
    parts::{self, Parts},
    rows::{RowError, RowFields, Rows},
    units::Count,
};
use cache::Digest;
use engine::{InputFile, InputFolder, Problem, StageCtx, StageError, StageProgress};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use split::{Seen, Texts};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

/// Texts, and what to make of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LoadText {
    /// The file or folder of the texts to train on. Required.
    #[serde(skip_serializing)]
    train: Option<PathBuf>,
    /// The file or folder of the texts to test on. Without it the test split is empty.
    #[serde(skip_serializing)]
    test: Option<PathBuf>,
    /// The names of the fields that hold the text; several are joined by line breaks. A dot goes into an object, or
    /// into all objects of a list: `["messages.content"]`.
    text: Vec<String>,
    /// The name of the field of labels. Without it all texts are of one class, `unlabelled`; those of a folder are of
    /// the class that the sub-folder is called.
    labels: Option<String>,
    /// The name of the field of ids. Without it, a text's id is its line, counted from 1; in Parquet and Arrow its row,
    /// counted from 0; in a folder its file.
    ids: Option<String>,
    /// The names of the classes, in the order of the labels. Without it, the labels are their own names.
    classes: Option<Vec<String>>,
    /// What becomes of a row without text, with other bytes than UTF-8, or that does not read: `refuse` is an error
    /// that names its line, `skip` leaves it out, and the log tells how many.
    bad_rows: BadRows,
    /// How many features a text has: into so many buckets its n-grams are hashed.
    dimension: Count,
    /// How many tokens the longest n-grams have, up to 5: with 2, words and pairs of neighbours.
    ngrams: Count,
    /// `tf`: how often each n-gram occurs. `tf-idf`: that times ln((1 + n) / (1 + m)) + 1, where m of the n training
    /// texts have something in the bucket.
    weighting: Weighting,
    /// What the data set is called in reports.
    name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum BadRows {
    #[default]
    Refuse,
    Skip,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Weighting {
    #[default]
    Tf,
    TfIdf,
}

impl Default for LoadText {
    fn default() -> Self {
        let count = |n: u64| Count::try_from(n).expect("it is above 0");
        Self {
            train: None,
            test: None,
            text: vec!["text".to_owned()],
            labels: None,
            ids: None,
            classes: None,
            bad_rows: BadRows::default(),
            dimension: count(1024),
            ngrams: count(2),
            weighting: Weighting::default(),
            name: "text".to_owned(),
        }
    }
}

/// How many texts are read before it is asked whether to stop.
const AT_ONCE: usize = 4096;

impl Loader for LoadText {
    const NAME: &'static str = "load.text";
    // 2: it is kept what space the features are in.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str = "texts from JSONL, JSON, Parquet, Arrow, CSV or plain files";
    const MANUAL: &'static str = "\
Texts, so that selectors can be run on them and the rows that were kept can be written out again. Which kind a file
is, is told by its content: a JSON document a line, a JSON list of them, Parquet, Arrow, CSV or TSV below a line of
names, a plain text a line, each also gzip'ed; a folder holds a text in each of its files called `.txt`, `.text` or
`.md`. `text` names the fields, in chats `[\"messages.content\"]`: all of them are joined.

Features are n-grams of tokens hashed into `dimension` buckets, weighted by `weighting` and divided by their
Euclidean length, so that products are cosines. Tokens are the words, numbers and single signs of the text in lower
case, as Unicode divides words (UAX 29): no network's tokens, of which there are more. Networks get the features times
the root of `dimension`, so that their mean square is 1. Weinberger, Dasgupta, Langford, Smola & Attenberg, *Feature
Hashing for Large Scale Multitask Learning*, ICML 2009, here without signs. Embeddings of a network are better features
where there are some: `load.features` takes them. `tf-idf` weighs by the texts of its own `train`, so a query from another
file is not in its space, nor is one with other `ngrams`: both are refused. Use `tf` for both.

Two counts travel with the samples, `tokens` and `bytes` (those of the text): `unit = \"tokens\"` makes a selector's
budget one of tokens, and a random subset by tokens the baseline of equal length. The rows travel too: `coresift
export FILE STAGE --rows kept.jsonl` writes those of a subset, byte for byte.

A row that lacks the text, is not UTF-8 or does not read is refused with its line, or left out with `bad-rows =
\"skip\"`. Cost: two passes over the texts on all threads, O(n dimension) numbers in the store, and the file once in
memory. Paths are relative to the current directory and not part of the key: the files' bytes are.

    [stage.data]
    use  = \"load.text\"
    with = { train = \"pool.jsonl\", text = [\"messages.content\"], weighting = \"tf-idf\" }";

    fn problems(&self) -> Vec<Problem> {
        let problem = |setting: &str, message: String, hint: &str| Problem {
            setting: setting.to_owned(),
            message,
            hint: Some(hint.to_owned()),
        };
        let mut all = names::problems(self.classes.as_deref());
        if self.train.is_none() {
            let hint = "give the path of a file or folder of texts";
            all.push(problem("train", "setting `train` is required".to_owned(), hint));
        }
        if self.text.is_empty() {
            let hint = "name the field, such as `[\"text\"]`";
            all.push(problem("text", "no field of texts is named".to_owned(), hint));
        }
        if self.ngrams.get() > ngrams::LONGEST {
            let message = format!("n-grams of {} tokens are asked for", self.ngrams.get());
            all.push(problem("ngrams", message, "5 is the longest"));
        }
        let is_folder = |path: &Option<PathBuf>| path.as_deref().is_some_and(Path::is_dir);
        for (setting, named) in [("labels", &self.labels), ("ids", &self.ids)] {
            if named.is_some() && (is_folder(&self.train) || is_folder(&self.test)) {
                let message = format!("the files of a folder have no field for `{setting}`");
                all.push(problem(setting, message, "leave it out: folders and files name them"));
            }
        }
        all
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let mut files = vec![];
        for (role, path) in [("train", &self.train), ("test", &self.test)] {
            let Some(path) = path.as_ref().filter(|path| !path.is_dir()) else { continue };
            if let Some(problem) = column::no_file(role, path, "the current directory") {
                return Err(problem);
            }
            files.push(InputFile { role: role.to_owned(), path: path.clone() });
        }
        Ok(files)
    }

    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        let named = [("train", &self.train), ("test", &self.test)];
        let folders = named.into_iter().filter_map(|(role, path)| {
            let path = path.as_ref().filter(|path| path.is_dir())?;
            Some(folder_of_texts::listed(role, path))
        });
        folders.collect()
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut train = self.split(ctx, "train")?;
        if train.rows.is_empty() {
            return Err(refused(&train.path, OwnFileError::NoTexts));
        }
        let has_test = self.test.is_some();
        let mut test = has_test.then(|| self.split(ctx, "test")).transpose()?;
        let (classes, labels) = self.labels(&mut train, test.as_mut())?;
        let [train_labels, test_labels] = labels;
        let meta = DatasetMeta {
            name: self.name.clone(),
            classes,
            sample: vec![self.dimension.get()],
            train: train.rows.len(),
            test: test.as_ref().map_or(0, |test| test.rows.len()),
            mean: vec![0.0],
            std: vec![(self.dimension.get() as f32).sqrt().recip()],
            space: Some(self.space(&train)),
        };
        let columns = train.columns(self.ids.is_some())?;
        let mut parts = train.rows.put(ctx)?;
        let features = self.put_features(ctx, &train, test.as_ref())?;
        let labels = [&train_labels[..], &test_labels];
        parts.extend(put_around_features(ctx, &meta, features, labels, &columns)?);
        Ok(parts)
    }
}

impl LoadText {
    /// Returns what the features are, so that those of other texts are compared with them only if they are the same.
    fn space(&self, train: &Texts) -> String {
        let ngrams = format!("n-grams of up to {} tokens", self.ngrams.get());
        match self.weighting {
            Weighting::Tf => ngrams,
            Weighting::TfIdf => {
                let counts = [&[train.rows.len() as u64][..], &train.documents].concat();
                let counts: Vec<u8> = counts.into_iter().flat_map(u64::to_le_bytes).collect();
                let digest = Digest::of(&counts).to_string();
                format!("{ngrams}, tf-idf by texts {}", &digest[..12])
            }
        }
    }

    /// Reads the texts of a split, and looks at each once.
    fn split(&self, ctx: &StageCtx<'_>, role: &str) -> Result<Texts, StageError> {
        let folder = ctx.folders().iter().find(|folder| folder.role == role);
        let (path, rows) = match folder {
            Some(folder) => {
                let files = folder.files.iter();
                let files = files.map(|name| (name.as_str(), folder.path.join(name)));
                (folder.path.clone(), Rows::of_files(files))
            }
            None => {
                let path = file::path(ctx.files(), role)?.to_owned();
                let rows = Rows::of_file(&path, self.fields());
                (path, rows)
            }
        };
        let mut rows = rows.map_err(|error| refused(&path, error))?;
        let dimension = self.dimension.get();
        let counted = self.weighting == Weighting::TfIdf && role == "train";
        let mut documents = vec![0; if counted { dimension } else { 0 }];
        let (mut seen, mut bad, mut keep) = (vec![], vec![], vec![]);
        for from in (0..rows.len()).step_by(AT_ONCE) {
            ctx.check_cancelled()?;
            let these: Vec<usize> = (from..rows.len().min(from + AT_ONCE)).collect();
            let looked = these.par_chunks(AT_ONCE / 32).map(|these| {
                let mut has = vec![0u64; documents.len()];
                let mut last = vec![usize::MAX; documents.len()];
                let each = these.iter().map(|at| {
                    self.look(&rows, *at, |hash| {
                        let bucket = ngrams::bucket(hash, dimension);
                        if counted && std::mem::replace(&mut last[bucket], *at) != *at {
                            has[bucket] += 1;
                        }
                    })
                });
                (each.collect::<Vec<_>>(), has)
            });
            for (each, has) in looked.collect::<Vec<_>>() {
                documents.iter_mut().zip(has).for_each(|(all, has)| *all += has);
                for one in each {
                    keep.push(one.is_ok());
                    match one {
                        Ok(one) => seen.push(one),
                        Err(why) => bad.push((name_of(&rows, keep.len() - 1), why)),
                    }
                }
            }
        }
        if !bad.is_empty() {
            let error = OwnFileError::BadRows { bad, all: rows.len() };
            match self.bad_rows {
                BadRows::Refuse => return Err(refused(&path, error)),
                BadRows::Skip => ctx.log(format!("`{}` {error}: left out", path.display())),
            }
            rows.retain(&keep);
        }
        Ok(Texts { path, rows, seen, documents })
    }

    fn fields(&self) -> RowFields {
        let Self { text, labels, ids, .. } = self;
        RowFields { text: text.clone(), label: labels.clone(), id: ids.clone() }
    }

    /// Reads row `at`, and calls `see` with the hashes of its n-grams.
    fn look(&self, rows: &Rows, at: usize, see: impl FnMut(u64)) -> Result<Seen, RowError> {
        let row = rows.row(at)?;
        let tokens = ngrams::each(&row.text, self.ngrams.get(), see);
        let in_folder = || rows.name(at).split_once('/').map(|(folder, _)| folder.to_owned());
        let label = if rows.are_files() { in_folder() } else { row.label };
        Ok(Seen { label, id: row.id, tokens, bytes: row.text.len() as u64 })
    }

    /// Returns the names of the classes, and the labels of both splits.
    fn labels(
        &self,
        train: &mut Texts,
        test: Option<&mut Texts>,
    ) -> Result<(Vec<String>, [Vec<ClassId>; 2]), StageError> {
        let (n, m) = (train.rows.len(), test.as_ref().map_or(0, |test| test.rows.len()));
        let paths =
            [train.path.clone(), test.as_ref().map_or_else(PathBuf::new, |t| t.path.clone())];
        let tests = test.map_or(Some(vec![]), Texts::labels);
        let both = match (train.labels(), tests) {
            (Some(train), Some(test)) => FileLabels::both(train, test),
            _ => [FileLabels::None(n), FileLabels::None(m)],
        };
        let path = |role: &str| Ok(paths[usize::from(role == "test")].as_path());
        labels::classes(self.classes.as_deref(), [&both[0], &both[1]], &path)
    }

    /// Writes the features of both splits, a part of them at a time.
    fn put_features(
        &self,
        ctx: &StageCtx<'_>,
        train: &Texts,
        test: Option<&Texts>,
    ) -> Result<cache::Blob, StageError> {
        let (d, n) = (self.dimension.get(), train.rows.len());
        let m = test.map_or(0, |test| test.rows.len());
        let idf: Vec<f64> = train.documents.iter().map(|of| idf(n as u64, *of)).collect();
        let mut writer = ctx.writer()?;
        let header = parts::header_of_f32(&[("test", vec![m, d]), ("train", vec![n, d])])?;
        writer.write_all(&header).map_err(MethodError::SamplesUnwritten)?;
        let mut done = 0;
        for texts in test.into_iter().chain([train]) {
            let all: Vec<usize> = (0..texts.rows.len()).collect();
            for some in all.chunks(AT_ONCE) {
                ctx.check_cancelled()?;
                let rows = some.par_iter().map(|at| self.features(&texts.rows, *at, &idf));
                let rows: Vec<Vec<u8>> = rows.collect::<Result<_, _>>().map_err(|why| {
                    // It was read before; the file is in memory.
                    let (bad, all) = (vec![(String::new(), why)], texts.rows.len());
                    refused(&texts.path, OwnFileError::BadRows { bad, all })
                })?;
                for row in rows {
                    writer.write_all(&row).map_err(MethodError::SamplesUnwritten)?;
                }
                done += some.len() as u64;
                ctx.progress(StageProgress::new(done, (n + m) as u64, "text"));
            }
        }
        Ok(writer.finish()?)
    }

    /// Returns the features of a text, f32 as they are stored, of length 1.
    fn features(&self, rows: &Rows, at: usize, idf: &[f64]) -> Result<Vec<u8>, RowError> {
        let mut weights = vec![0.0f64; self.dimension.get()];
        let dimension = weights.len();
        self.look(rows, at, |hash| weights[ngrams::bucket(hash, dimension)] += 1.0)?;
        weights.iter_mut().zip(idf).for_each(|(weight, idf)| *weight *= idf);
        let length = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
        Ok(weights.iter().flat_map(|weight| ((weight / length) as f32).to_le_bytes()).collect())
    }
}

/// Returns the weight of a bucket that `of` of `n` texts have something in.
fn idf(n: u64, of: u64) -> f64 {
    ((1 + n) as f64 / (1 + of) as f64).ln() + 1.0
}

/// Returns what to call row `at` in a message.
fn name_of(rows: &Rows, at: usize) -> String {
    match rows.named_by() {
        "" => format!("`{}`", rows.name(at)),
        kind => format!("{kind} {}", rows.name(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    /// Returns what the rows of a file say, or what is wrong with it.
    fn read(scratch: &Scratch, name: &str, bytes: &[u8], fields: [&str; 3]) -> Vec<String> {
        let path = scratch.write(name, bytes);
        let [text, label, id] = fields;
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let text = text.split(' ').map(str::to_owned).collect();
        let fields = RowFields { text, label: some(label), id: some(id) };
        let rows = match Rows::of_file(&path, fields) {
            Ok(rows) => rows,
            Err(error) => return vec![error.to_string()],
        };
        let told = |at| match rows.row(at) {
            Ok(row) => [Some(row.text.into_owned()), row.label, row.id]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("|"),
            Err(why) => format!("{} {why}", name_of(&rows, at)),
        };
        (0..rows.len()).map(told).collect()
    }

    #[test]
    fn rows_of_every_form_give_text_label_and_id() {
        let scratch = Scratch::new("texts");
        let chat = br#"{"messages": [{"role": "u", "content": "Hi"}, {"content": null}, {"content": "there"}], "y": 3, "k": "a"}"#;
        let fields = ["messages.content", "y", "k"];
        assert_eq!(read(&scratch, "a.jsonl", chat, fields), ["Hi\nthere|3|a"]);
        let list = b"[\n {\"t\": \"one\"},\n\n {\"t\": \"two\", \"u\": 2}\n]";
        assert_eq!(read(&scratch, "a.json", list, ["t", "", ""]), ["one", "two"]);
        let marked = [&b"\xef\xbb\xbf"[..], list].concat();
        assert_eq!(read(&scratch, "a.json", &marked, ["t", "", ""]), ["one", "two"]);
        let csv = b"k,t,y\r\n1,\"a, \"\"b\"\"\nc\",x\r\n\r\n2,#d,y\r\n3,e\r\n";
        assert_eq!(
            read(&scratch, "a.csv", csv, ["t", "y", "k"]),
            ["a, \"b\"\nc|x|1", "#d|y|2", "line 6 has 2 cells, not 3"]
        );
        assert_eq!(read(&scratch, "a.txt", b"one\r\n\n two", ["text", "", ""]), ["one", " two"]);
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told_with_its_line() {
        let scratch = Scratch::new("texts-bad");
        let rows = b"{\"text\": \"fine\"}\n\n{\"text\": \" \"}\n{\"t\": 1}\n{\"text\": [1]}\n{\"text\": \"\xff\"}\n{\n";
        let found = read(&scratch, "a.jsonl", rows, ["text", "", ""]);
        assert_eq!(
            found[..5],
            [
                "fine",
                "line 3 has an empty text",
                "line 4 has no field `text`",
                "line 5 has no text in field `text`",
                "line 6 is not UTF-8"
            ]
        );
        assert!(found[5].starts_with("line 7 is not JSON: EOF"), "{found:?}");
        let found = read(&scratch, "a.csv", b"a,b\n1,2\n", ["text", "", ""]);
        assert_eq!(found, ["has no column `text`: it has `a`, `b`; `text` names another"]);
        let found = read(&scratch, "a.txt", b"a\n", ["text", "y", ""]);
        assert!(found[0].contains("`labels` needs JSON"), "{found:?}");
        let found = read(&scratch, "b.json", b"[{\"text\": \"a\"}\n {}]", ["text", "", ""]);
        assert!(found[0].contains("from line 1 on: expected `,`"), "{found:?}");
    }

    #[test]
    fn features_are_weighted_counts_of_length_1() {
        let scratch = Scratch::new("texts-features");
        let path = scratch.write("a.txt", b"a b a\nb\n");
        let rows = Rows::of_file(&path, RowFields::default()).expect("it is text");
        let of = |idf: &[f64], at| -> Vec<f32> {
            let bytes = LoadText::default().features(&rows, at, idf).expect("it is a text");
            let (words, _) = bytes.as_chunks::<4>();
            let mut values: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            values.retain(|value| *value != 0.0);
            values.sort_by(f32::total_cmp);
            values
        };
        // Two of `a`, one of `b`, `a b` and `b a` each: length sqrt(7).
        let (one, two) = ((1.0f64 / 7.0).sqrt() as f32, (4.0f64 / 7.0).sqrt() as f32);
        assert_eq!(of(&[], 0), [one, one, one, two]);
        assert_eq!(of(&[], 1), [1.0]);
        assert_eq!(of(&vec![2.5; 1024], 0), [one, one, one, two]);
        // Two texts, of which both or one have it.
        assert_eq!(idf(2, 2), 1.0);
        assert!((idf(2, 1) - 1.405_465_108).abs() < 1e-9);
    }
}
