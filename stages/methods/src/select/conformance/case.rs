//! One conformance case on disk: its arrays, its parameters, what is expected.

use artifacts::{ClassId, Matrix};
use serde_json::Value;
use std::path::PathBuf;

/// One case on disk.
pub(super) struct Case {
    folder: PathBuf,
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
        let mut case = Self { folder: root.join(name), expected: Value::Null };
        case.expected = case.json("expected.json")["expected"].clone();
        case
    }

    /// Returns a JSON file of the case.
    pub(super) fn json(&self, file: &str) -> Value {
        let text = std::fs::read(self.folder.join(file)).expect("the case is there");
        serde_json::from_slice(&text).expect("it is JSON")
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

    pub(super) fn labels(&self) -> Vec<ClassId> {
        let (_, bytes) = self.array("in_labels", "<i8");
        ClassId::list(bytes.chunks_exact(8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])))
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
