//! A part that holds tensors, written as arrays, lines or JSON.

use super::{
    lines,
    table::{SampleTable, TableValue},
    wrong,
};
use crate::context::Failure;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// A part that holds tensors.
pub(super) struct TensorPart<'a> {
    pub(super) name: &'a str,
    pub(super) tensors: SafeTensors<'a>,
    /// The tensor that was asked for.
    pub(super) only: Option<&'a str>,
}

impl<'a> TensorPart<'a> {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.tensors.names().into_iter().map(|name| name.to_string()).collect();
        names.sort();
        names
    }

    /// Returns the tensor that was asked for, or the only one, or the one `usual`.
    fn one(&self, usual: &[&str]) -> Result<(String, TensorView<'a>), Failure> {
        let names = self.names();
        let found = match (self.only, &names[..]) {
            (Some(only), _) => names.iter().find(|name| *name == only),
            (None, [name]) => Some(name),
            (None, _) => usual.iter().find_map(|usual| names.iter().find(|name| name == usual)),
        };
        let view = found.and_then(|name| Some((name.clone(), self.tensors.tensor(name).ok()?)));
        view.ok_or_else(|| {
            let what = match self.only {
                Some(only) => format!("has no tensor `{only}`"),
                None => "has several tensors".to_owned(),
            };
            wrong(self.name, &what, &format!("name one with --tensor: {}", names.join(", ")))
        })
    }

    pub(super) fn npy(&self) -> Result<Vec<u8>, Failure> {
        let (name, view) = self.one(&["indices", "scores", "train"])?;
        npy(&view).ok_or_else(|| {
            let what = format!("holds `{name}` as {:?}, which NumPy does not have", view.dtype());
            wrong(self.name, &what, "take --format safetensors")
        })
    }

    pub(super) fn indices(&self) -> Result<Vec<u8>, Failure> {
        let (name, view) = self.one(&["indices", "touched", "train"])?;
        let column =
            TensorElements::of(&view).filter(|column| column.whole && view.shape().len() == 1);
        let column = column.ok_or_else(|| {
            wrong(
                self.name,
                &format!("holds no list of whole numbers in `{name}`"),
                "take --format csv",
            )
        })?;
        let mut out = String::new();
        for at in 0..column.len {
            writeln!(out, "{}", column.text(at)).ok();
        }
        Ok(out.into_bytes())
    }

    pub(super) fn json(&self) -> Result<Vec<u8>, Failure> {
        let wanted = match self.only {
            Some(_) => vec![self.one(&[])?.0],
            None => self.names(),
        };
        let mut all = Map::new();
        for name in wanted {
            let view = self.tensors.tensor(&name).ok().and_then(|view| {
                let column = TensorElements::of(&view)?;
                Some(nested(view.shape(), &mut (0..column.len).map(|at| column.json(at))))
            });
            let what = format!("holds `{name}`, which is not numbers");
            let value = view.ok_or_else(|| wrong(self.name, &what, "take --format safetensors"))?;
            all.insert(name, value);
        }
        Ok(lines(Value::Object(all).to_string().as_bytes()))
    }

    /// Returns one row per sample: its position, then each tensor's values, and the labels if given.
    pub(super) fn table(&self, labels: Option<TensorView<'a>>) -> Result<SampleTable<'a>, Failure> {
        let names = match self.only {
            Some(_) => vec![self.one(&[])?.0],
            None => {
                let names = self.names();
                let rows = |name: &String| Some(*self.tensors.tensor(name).ok()?.shape().first()?);
                let alike = names.iter().all(|name| rows(name) == rows(&names[0]));
                if alike { names } else { vec![self.one(&["train"])?.0] }
            }
        };
        let mut table = SampleTable::of(0);
        // A subset's rows are named by their indices, all others by their position.
        let positions = names.iter().find(|name| *name == "indices").cloned();
        let order = positions.iter().chain(names.iter().filter(|name| *name != "indices"));
        for name in order {
            let what = format!("holds `{name}`, which is not a table of numbers");
            let refuse = || wrong(self.name, &what, "take --format npy or safetensors");
            let view = self.tensors.tensor(name).map_err(|_| refuse())?;
            let (n, width) = match *view.shape() {
                [n] => (n, 1),
                [n, width] => (n, width),
                _ => return Err(refuse()),
            };
            let column = TensorElements::of(&view).ok_or_else(refuse)?;
            table.rows = n;
            let called = match &**name {
                "indices" => "index",
                "scores" => "score",
                "weights" => "weight",
                "train" | "test" if self.name == "labels" => "label",
                name => name,
            };
            for at in 0..width {
                let alone = view.shape().len() == 1 || called != name;
                let called = if alone { called.to_owned() } else { format!("{name}.{at}") };
                table.add(called, column, width, at);
            }
        }
        if let Some((column, view)) =
            labels.and_then(|view| Some((TensorElements::of(&view)?, view)))
            && view.shape() == [table.rows]
        {
            table.add("label".to_owned(), column, 1, 0);
        }
        if positions.is_none() {
            table.number("index");
        }
        Ok(table)
    }
}

/// The elements of a tensor, row-major.
#[derive(Clone, Copy)]
pub(super) struct TensorElements<'a> {
    data: &'a [u8],
    dtype: Dtype,
    /// Whether they are whole numbers.
    whole: bool,
    len: usize,
}

impl<'a> TensorElements<'a> {
    /// Returns the elements of `view`, or `None` if they are not numbers we know.
    pub(super) fn of(view: &TensorView<'a>) -> Option<Self> {
        let dtype = view.dtype();
        let (size, whole) = match dtype {
            Dtype::U8 | Dtype::I8 | Dtype::BOOL => (1, true),
            Dtype::I16 | Dtype::U16 => (2, true),
            Dtype::I32 | Dtype::U32 => (4, true),
            Dtype::I64 | Dtype::U64 => (8, true),
            Dtype::F16 | Dtype::BF16 => (2, false),
            Dtype::F32 => (4, false),
            Dtype::F64 => (8, false),
            _ => return None,
        };
        let data = view.data();
        Some(Self { data, dtype, whole, len: data.len() / size })
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.data[at * N..(at + 1) * N].try_into().expect("the range is N long")
    }

    fn whole(&self, at: usize) -> i128 {
        match self.dtype {
            Dtype::I8 => i8::from_le_bytes(self.bytes(at)).into(),
            Dtype::I16 => i16::from_le_bytes(self.bytes(at)).into(),
            Dtype::U16 => u16::from_le_bytes(self.bytes(at)).into(),
            Dtype::I32 => i32::from_le_bytes(self.bytes(at)).into(),
            Dtype::U32 => u32::from_le_bytes(self.bytes(at)).into(),
            Dtype::I64 => i64::from_le_bytes(self.bytes(at)).into(),
            Dtype::U64 => u64::from_le_bytes(self.bytes(at)).into(),
            _ => self.data[at].into(),
        }
    }

    /// Returns the element as a single float, unless it is a double.
    fn single(&self, at: usize) -> Option<f32> {
        match self.dtype {
            Dtype::F32 => Some(f32::from_le_bytes(self.bytes(at))),
            Dtype::F16 => Some(half(u16::from_le_bytes(self.bytes(at)))),
            Dtype::BF16 => {
                Some(f32::from_bits(u32::from(u16::from_le_bytes(self.bytes(at))) << 16))
            }
            _ => None,
        }
    }

    pub(super) fn cell(&self, at: usize) -> TableValue {
        match self.single(at) {
            _ if self.whole => TableValue::Whole(i64::try_from(self.whole(at)).unwrap_or(i64::MAX)),
            Some(value) => TableValue::Single(value),
            None => TableValue::Double(f64::from_le_bytes(self.bytes(at))),
        }
    }

    /// Returns the element in the fewest digits that read back as the same number.
    pub(super) fn text(&self, at: usize) -> String {
        if self.whole {
            return self.whole(at).to_string();
        }
        match self.single(at) {
            Some(value) if value.is_nan() => "nan".to_owned(),
            Some(value) => value.to_string(),
            None => match f64::from_le_bytes(self.bytes(at)) {
                value if value.is_nan() => "nan".to_owned(),
                value => value.to_string(),
            },
        }
    }

    /// JSON has no number for what is not finite: that is null.
    fn json(&self, at: usize) -> Value {
        if self.whole {
            let whole = self.whole(at);
            return match u64::try_from(whole) {
                Ok(value) => value.into(),
                Err(_) => i64::try_from(whole).unwrap_or(i64::MIN).into(),
            };
        }
        serde_json::from_str(&self.text(at)).unwrap_or(Value::Null)
    }
}

/// Returns a half-precision float as a single.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

/// Returns `elements` as arrays in arrays of the given shape.
fn nested(shape: &[usize], elements: &mut dyn Iterator<Item = Value>) -> Value {
    match shape {
        [] => elements.next().unwrap_or_default(),
        [n, rest @ ..] => (0..*n).map(|_| nested(rest, elements)).collect(),
    }
}

/// Returns `view` as a NumPy file, version 1; `None` if NumPy has no such numbers.
fn npy(view: &TensorView<'_>) -> Option<Vec<u8>> {
    let mut wide = vec![];
    let (descr, data): (_, &[u8]) = match view.dtype() {
        Dtype::BOOL => ("|b1", view.data()),
        Dtype::U8 => ("|u1", view.data()),
        Dtype::I8 => ("|i1", view.data()),
        Dtype::I16 => ("<i2", view.data()),
        Dtype::U16 => ("<u2", view.data()),
        Dtype::I32 => ("<i4", view.data()),
        Dtype::U32 => ("<u4", view.data()),
        Dtype::I64 => ("<i8", view.data()),
        Dtype::U64 => ("<u8", view.data()),
        Dtype::F16 => ("<f2", view.data()),
        Dtype::F32 => ("<f4", view.data()),
        Dtype::F64 => ("<f8", view.data()),
        Dtype::BF16 => {
            let column = TensorElements::of(view)?;
            wide.extend(
                (0..column.len).filter_map(|at| column.single(at)).flat_map(f32::to_le_bytes),
            );
            ("<f4", &wide)
        }
        _ => return None,
    };
    let mut out = npy_header(descr, view.shape());
    out.extend_from_slice(data);
    Some(out)
}

fn npy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let shape = match shape {
        [n] => format!("({n},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // With magic, version, and length before it and a line break behind, a multiple of 64.
    let room = (10 + text.len() + 1).next_multiple_of(64) - 10;
    while text.len() < room - 1 {
        text.push(' ');
    }
    text.push('\n');
    let length = u16::try_from(text.len()).expect("a shape of a few dimensions is short");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::{super::tensors, *};

    #[test]
    fn npy_headers_are_as_numpy_writes_them() {
        // What `numpy.save` writes for zeros((3, 2), "<f4"), up to the padding.
        let header = npy_header("<f4", &[3, 2]);
        assert_eq!(header.len(), 128);
        assert_eq!(header[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        let text = std::str::from_utf8(&header[10..]).expect("text");
        let wanted = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
        assert_eq!(text.trim_end(), wanted);
        assert!(text.ends_with(" \n"));
        let text = |shape: &[usize]| String::from_utf8(npy_header("<i8", shape)[10..].to_vec());
        assert!(text(&[7]).expect("text").contains("'shape': (7,), }"));
        assert!(text(&[]).expect("text").contains("'shape': (), }"));
    }

    fn part(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
            (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("the bytes fill it"))
        });
        safetensors::serialize(views, None).expect("tensors")
    }

    fn text(result: Result<Vec<u8>, Failure>) -> String {
        String::from_utf8(result.expect("written")).expect("text")
    }

    #[test]
    fn a_subset_becomes_lines() {
        let indices = [3_i64, 70_000].iter().flat_map(|one| one.to_le_bytes()).collect();
        let weights = [1.5_f32, 0.1].iter().flat_map(|one| one.to_le_bytes()).collect();
        let bytes = part(&[
            ("indices", Dtype::I64, vec![2], indices),
            ("weights", Dtype::F32, vec![2], weights),
        ]);
        let part = |only| TensorPart {
            name: "subset",
            tensors: tensors("subset", &bytes).expect("tensors"),
            only,
        };
        assert_eq!(text(part(None).indices()), "3\n70000\n");
        assert_eq!(
            text(part(None).table(None).map(|table| table.csv())),
            "index,weight\n3,1.5\n70000,0.1\n"
        );
        assert_eq!(text(part(None).json()), "{\"indices\":[3,70000],\"weights\":[1.5,0.1]}\n");
        assert!(part(Some("weights")).indices().is_err());
        assert!(part(Some("scores")).npy().is_err());
    }

    #[test]
    fn scores_stand_beside_their_labels() {
        let scores = [0.25_f32, f32::NAN].iter().flat_map(|one| one.to_le_bytes()).collect();
        let labels = [7_i64, 0].iter().flat_map(|one| one.to_le_bytes()).collect();
        let bytes = part(&[("scores", Dtype::F32, vec![2], scores)]);
        let with_labels = part(&[("train", Dtype::I64, vec![2], labels)]);
        let labels = tensors("labels", &with_labels).expect("tensors");
        let part = TensorPart {
            name: "scores",
            tensors: tensors("scores", &bytes).expect("tensors"),
            only: None,
        };
        let csv = part.table(labels.tensor("train").ok()).map(|table| table.csv());
        assert_eq!(text(csv), "index,score,label\n0,0.25,7\n1,nan,0\n");
        assert_eq!(text(part.json()), "{\"scores\":[0.25,null]}\n");
    }

    #[test]
    fn tables_keep_their_columns_and_halves_their_value() {
        // 1, -2, 65504, the smallest positive half, infinity, and a NaN.
        let halves = [0x3c00_u16, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x7e00];
        let bytes = halves.iter().flat_map(|one| one.to_le_bytes()).collect();
        let bytes = part(&[("logits", Dtype::F16, vec![2, 3], bytes)]);
        let part = TensorPart {
            name: "outputs",
            tensors: tensors("outputs", &bytes).expect("tensors"),
            only: None,
        };
        let wanted =
            "index,logits.0,logits.1,logits.2\n0,1,-2,65504\n1,0.000000059604645,inf,nan\n";
        assert_eq!(text(part.table(None).map(|table| table.csv())), wanted);
        assert_eq!(text(part.json()).matches("null").count(), 2);
    }
}
