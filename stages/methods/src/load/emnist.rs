//! IDX files under other names than MNIST's: EMNIST's, and any with a word before.

use engine::{InputFile, Problem};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Where the files lie below `dir`: as they are, or as EMNIST's archive and torchvision unpack them.
const PLACES: [&str; 4] = ["", "raw", "gzip", "EMNIST/raw"];
/// How the names of the files end, and what they are.
const ENDS: [(&str, &str); 6] = [
    ("train-images", "train-images"),
    ("train-labels", "train-labels"),
    ("test-images", "test-images"),
    ("test-labels", "test-labels"),
    ("t10k-images", "test-images"),
    ("t10k-labels", "test-labels"),
];
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";
/// The lower-case letters that look unlike the upper-case ones.
const UNLIKE: &str = "abdefghnqrt";

/// The files of a set by their roles.
type Files = BTreeMap<&'static str, PathBuf>;

/// Returns the four files in `dir` whose names begin with `prefix`, or with whatever all sets there begin with.
/// The roles of EMNIST's begin with the name of the set. `None` if there are none.
///
/// # Errors
///
/// Names the sets if there are several.
pub(super) fn find(dir: &Path, prefix: Option<&str>) -> Result<Option<Vec<InputFile>>, Problem> {
    for place in PLACES.map(|below| dir.join(below)) {
        let mut sets = sets(&place);
        sets.retain(|name, files| files.len() == 4 && prefix.is_none_or(|wanted| wanted == name));
        if sets.len() > 1 {
            let names: Vec<_> = sets.keys().map(|name| format!("`{name}`")).collect();
            let message = format!("`{}` has several sets: {}", place.display(), names.join(", "));
            let hint = Some("say with `prefix` which one".to_owned());
            return Err(Problem { setting: "prefix".to_owned(), message, hint });
        }
        let Some((name, files)) = sets.into_iter().next() else { continue };
        let role = |role: &str| match Emnist::named(&name) {
            Some(_) => format!("{name} {role}"),
            None => role.to_owned(),
        };
        let files = files.into_iter();
        return Ok(Some(files.map(|(one, path)| InputFile { role: role(one), path }).collect()));
    }
    Ok(None)
}

/// Returns the sets in a folder by what the names of their files begin with.
fn sets(place: &Path) -> BTreeMap<String, Files> {
    let mut sets: BTreeMap<String, Files> = BTreeMap::new();
    let mut paths: Vec<PathBuf> =
        fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    // An unpacked file comes before its packed one, and is taken.
    paths.sort_unstable();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let Some((prefix, role)) = path.file_name().and_then(|name| parse(name.to_str()?)) else {
            continue;
        };
        sets.entry(prefix).or_default().entry(role).or_insert(path);
    }
    sets
}

fn parse(name: &str) -> Option<(String, &'static str)> {
    let name = name.strip_suffix(".gz").unwrap_or(name).strip_suffix("-ubyte")?;
    let stem = name.strip_suffix(|end: char| end.is_ascii_digit())?.strip_suffix("idx")?;
    let stem = stem.strip_suffix(['-', '.'])?;
    let found = ENDS.iter().find_map(|(end, role)| Some((stem.strip_suffix(end)?, *role)));
    found.map(|(prefix, role)| (prefix.trim_end_matches(['-', '_']).to_owned(), role))
}

/// One of the sets of EMNIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Emnist {
    /// The names of its classes.
    pub(super) classes: Vec<String>,
    /// The label of the first class.
    pub(super) first: u32,
}

impl Emnist {
    /// Returns the set whose files begin with `prefix`, if it is one.
    fn named(prefix: &str) -> Option<Self> {
        let (first, names) = match prefix {
            "emnist-letters" => (1, vec![LOWER]),
            "emnist-digits" | "emnist-mnist" => (0, vec![DIGITS]),
            "emnist-balanced" | "emnist-bymerge" => (0, vec![DIGITS, UPPER, UNLIKE]),
            "emnist-byclass" => (0, vec![DIGITS, UPPER, LOWER]),
            _ => return None,
        };
        let classes = names.concat().chars().map(String::from).collect();
        Some(Self { classes, first })
    }

    /// Returns which set `files` are of, if it is one, and the files in the roles of any other.
    pub(super) fn of(files: &[InputFile]) -> (Option<Self>, Vec<InputFile>) {
        let prefix = files.first().and_then(|file| file.role.split_once(' '));
        let set = prefix.and_then(|(prefix, _)| Self::named(prefix));
        let plain = files.iter().map(|file| {
            let role = file.role.split_once(' ').map_or(file.role.as_str(), |(_, role)| role);
            InputFile { role: role.to_owned(), path: file.path.clone() }
        });
        (set, plain.collect())
    }
}

/// Turns images of `[h, w]` that stand column by column upright; they are `[w, h]` from then on.
pub(super) fn upright(images: &mut [u8], (h, w): (usize, usize)) {
    let mut turned = vec![0; h * w];
    for image in images.chunks_exact_mut(h * w) {
        for (at, level) in image.iter().enumerate() {
            turned[at % w * h + at / w] = *level;
        }
        image.copy_from_slice(&turned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn a_set_is_found_by_what_its_names_begin_with() {
        let scratch = Scratch::new("emnist");
        for which in ["train-images-idx3", "train-labels-idx1", "test-images-idx3"] {
            scratch.write(&format!("gzip/emnist-letters-{which}-ubyte.gz"), b"");
        }
        assert_eq!(find(scratch.path(), None).expect("one set"), None);
        scratch.write("gzip/emnist-letters-test-labels-idx1-ubyte.gz", b"");
        let files = find(scratch.path(), None).expect("one set").expect("it is whole");
        let (set, plain) = Emnist::of(&files);
        assert_eq!(set, Emnist::named("emnist-letters"));
        let roles: Vec<&str> = plain.iter().map(|file| file.role.as_str()).collect();
        assert_eq!(roles, ["test-images", "test-labels", "train-images", "train-labels"]);
        for which in
            ["train-images.idx3", "train-labels.idx1", "t10k-images.idx3", "t10k-labels.idx1"]
        {
            scratch.write(&format!("gzip/mine_{which}-ubyte"), b"");
        }
        let problem = find(scratch.path(), None).expect_err("there are two");
        assert!(problem.message.ends_with("has several sets: `emnist-letters`, `mine`"));
        let mine = find(scratch.path(), Some("mine")).expect("one").expect("it is whole");
        assert_eq!(Emnist::of(&mine), (None, mine));
    }

    #[test]
    fn columns_become_rows() {
        let mut images = vec![1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16];
        upright(&mut images, (2, 3));
        assert_eq!(images, [1, 4, 2, 5, 3, 6, 11, 14, 12, 15, 13, 16]);
        assert_eq!(Emnist::named("emnist-balanced").expect("it is one").classes.len(), 47);
    }
}
