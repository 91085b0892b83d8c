//! One conformance case on disk: its arrays, its parameters, what is expected.

use artifacts::Matrix;
use serde_json::Value;
use std::path::PathBuf;

/// One case on disk.
pub(super) struct Case {
    folder: PathBuf,
    pub(super) params: Value,
    pub(super) expected: Value,
}

impl Case {
    #[expect(clippy::disallowed_methods, reason = "a test may be pointed at other cases")]
    pub(super) fn open(name: &str) -> Self {
        let root = match std::env::var("CORESIFT_CONFORMANCE") {
            Ok(root) => PathBuf::from(root),
            Err(_) => {
                PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/deepcore")
            }
        };
        let folder = root.join(name);
        let json = |file: &str| -> Value {
            let text = std::fs::read(folder.join(file)).expect("the case is there");
            serde_json::from_slice(&text).expect("it is JSON")
        };
        let params = json("params.json")["params"].clone();
        let expected = json("expected.json")["expected"].clone();
        Self { folder, params, expected }
    }

    /// Returns the shape and the raw elements of an array, and the size of one.
    pub(super) fn array(&self, name: &str, kind: &str) -> (Vec<usize>, Vec<u8>) {
        let bytes = std::fs::read(self.folder.join(format!("{name}.npy"))).expect("it is there");
        let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let text = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
        assert!(text.contains(&format!("'{kind}'")) && text.contains("False"), "{name}: {text}");
        let shape = text.split('(').nth(1).and_then(|rest| rest.split(')').next());
        let shape = shape.expect("it has a shape").split(',').map(str::trim);
        let shape = shape.filter(|size| !size.is_empty()).map(|size| size.parse());
        let shape = shape.collect::<Result<_, _>>().expect("sizes are numbers");
        (shape, bytes[10 + header..].to_vec())
    }

    pub(super) fn matrix(&self, name: &str) -> Matrix<'static> {
        let (shape, bytes) = self.array(name, "<f4");
        let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let cols = shape.get(1).copied().unwrap_or(1);
        Matrix::new(values.collect::<Vec<f32>>(), shape[0], cols)
    }

    pub(super) fn labels(&self) -> Vec<u32> {
        let (_, bytes) = self.array("in_labels", "<i8");
        bytes.chunks_exact(8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    pub(super) fn fraction(&self) -> f64 {
        self.params["fraction"].as_f64().expect("it is a number")
    }

    pub(super) fn number(&self, name: &str) -> usize {
        self.params[name].as_u64().expect("it is a whole number") as usize
    }

    /// Returns the logits `H W' + b`, in f64 before they are rounded.
    pub(super) fn head(&self, suffix: &str) -> (Matrix<'static>, Matrix<'static>) {
        let h = self.matrix(&format!("in_embeddings{suffix}"));
        let w = self.matrix(&format!("in_W{suffix}"));
        let b = self.matrix(&format!("in_b{suffix}"));
        let mut logits = vec![];
        for i in 0..h.rows() {
            for c in 0..w.rows() {
                let pairs = h.row(i).iter().zip(w.row(c));
                let z: f64 = pairs.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                logits.push((z + f64::from(b.data()[c])) as f32);
            }
        }
        (Matrix::new(logits, h.rows(), w.rows()), h)
    }
}

pub(super) fn floats(value: &Value) -> Vec<f64> {
    value.as_array().expect("it is a list").iter().map(|v| v.as_f64().expect("a number")).collect()
}

pub(super) fn assert_close(
    found: impl IntoIterator<Item = f64>,
    expected: &[f64],
    relative: f64,
    absolute: f64,
) {
    let found: Vec<f64> = found.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let most = relative * expected.abs() + absolute;
        assert!((found - expected).abs() <= most, "at {at}: {found} is not {expected}");
    }
}
