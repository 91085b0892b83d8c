//! What each class is labelled as: a matrix of probabilities, and the labels drawn from it.
//!
//! Row y is the distribution of the given label of a sample of class y.

use crate::select::divide;
use artifacts::ClassId;
use rand::{Rng, RngExt as _, seq::SliceRandom as _};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use thiserror::Error;

/// How far from 1 the sum of a row may be.
const TOLERANCE: f64 = 1e-6;

/// The probability of each label (column) for the samples of each class (row): square, and every row
/// sums to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f64>>", into = "Vec<Vec<f64>>")]
pub(super) struct LabelMatrix(Vec<Vec<f64>>);

/// What is wrong with the rows of a matrix. They are counted from 0, as classes are.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub(super) enum LabelMatrixError {
    /// There is no row.
    #[error("a matrix has a row for each class, but this one has none")]
    Empty,
    /// There are not as many labels as classes.
    #[error("a matrix of {rows} rows has as many columns, but row {row} has {found}")]
    Columns {
        /// The row.
        row: usize,
        /// How many numbers it has.
        found: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// A number is no probability.
    #[error("a probability lies between 0 and 1, but {value} in row {row} does not")]
    OutOfRange {
        /// The row.
        row: usize,
        /// The number.
        value: f64,
    },
    /// Something is left over, or missing.
    #[error("a row sums to 1, but row {row} to {sum:.6}")]
    Sum {
        /// The row.
        row: usize,
        /// Its sum.
        sum: f64,
    },
}

impl LabelMatrix {
    /// Returns of how many classes it is.
    pub(super) fn classes(&self) -> usize {
        self.0.len()
    }
}

impl TryFrom<Vec<Vec<f64>>> for LabelMatrix {
    type Error = LabelMatrixError;
    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self, LabelMatrixError> {
        if rows.is_empty() {
            return Err(LabelMatrixError::Empty);
        }
        for (row, values) in rows.iter().enumerate() {
            if values.len() != rows.len() {
                let (found, rows) = (values.len(), rows.len());
                return Err(LabelMatrixError::Columns { row, found, rows });
            }
            if let Some(value) = values.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                return Err(LabelMatrixError::OutOfRange { row, value: *value });
            }
            let sum: f64 = values.iter().sum();
            if (sum - 1.0).abs() > TOLERANCE {
                return Err(LabelMatrixError::Sum { row, sum });
            }
        }
        Ok(Self(rows))
    }
}

impl From<LabelMatrix> for Vec<Vec<f64>> {
    fn from(matrix: LabelMatrix) -> Self {
        matrix.0
    }
}

// Derived, the schema would be that of any numbers.
impl JsonSchema for LabelMatrix {
    fn schema_name() -> Cow<'static, str> {
        "LabelMatrix".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let row = json!({
            "type": "array", "minItems": 1, "items": { "type": "number", "minimum": 0, "maximum": 1 }
        });
        json_schema!({ "type": "array", "minItems": 1, "items": row })
    }
}

/// A matrix that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Preset {
    /// The worst of three people's labels of each training image of CIFAR-10.
    Cifar10nWorst,
}

/// In thousandths, row = clean. CIFAR-10N: Wei et al., *Learning with Noisy Labels Revisited: A Study Using
/// Real-World Human Annotations*, ICLR 2022, arXiv:2110.12088. Counted in `worse_label` of the published
/// `CIFAR-10_human.pt`, 5,000 images a class, and rounded, so that rows sum to 1 but for a few thousandths.
const CIFAR10N_WORST: [[u16; 10]; 10] = [
    [650, 66, 72, 19, 19, 23, 19, 17, 85, 31],
    [43, 592, 15, 26, 17, 15, 14, 14, 16, 247],
    [55, 37, 632, 46, 59, 48, 50, 33, 24, 17],
    [40, 34, 79, 487, 43, 206, 47, 24, 21, 19],
    [39, 33, 70, 40, 488, 106, 39, 152, 21, 12],
    [33, 28, 53, 183, 40, 580, 27, 29, 12, 13],
    [38, 38, 84, 76, 51, 58, 594, 29, 20, 13],
    [40, 28, 24, 22, 51, 62, 23, 722, 17, 11],
    [82, 73, 22, 14, 21, 19, 16, 22, 683, 48],
    [42, 282, 17, 21, 18, 18, 12, 14, 26, 551],
];

impl Preset {
    /// Returns the matrix, its rows divided by their sums.
    pub(super) fn matrix(self) -> LabelMatrix {
        let Self::Cifar10nWorst = self;
        let row = |row: [u16; 10]| {
            let sum: f64 = row.iter().map(|count| f64::from(*count)).sum();
            row.map(|count| f64::from(count) / sum).to_vec()
        };
        LabelMatrix(CIFAR10N_WORST.map(row).into())
    }
}

/// Returns the labels after, of which each class has as many as its row of `matrix` says, rounded by
/// the largest remainders, of equal ones by the lower label; which samples get them is drawn.
pub(super) fn exact(matrix: &LabelMatrix, labels: &[ClassId], rng: &mut impl Rng) -> Vec<ClassId> {
    let mut members = vec![vec![]; matrix.classes()];
    for (at, label) in labels.iter().enumerate() {
        members[label.index()].push(at);
    }
    let mut after = labels.to_vec();
    for (members, row) in members.into_iter().zip(&matrix.0) {
        let available = vec![members.len(); row.len()];
        let counts = divide(members.len(), row, &available);
        let counts = counts.expect("a label of positive probability can be given to all");
        let pairs = ClassId::all(row.len()).zip(counts);
        let mut given: Vec<ClassId> =
            pairs.flat_map(|(label, count)| std::iter::repeat_n(label, count)).collect();
        given.shuffle(rng);
        for (at, label) in members.into_iter().zip(given) {
            after[at] = label;
        }
    }
    after
}

/// Returns the labels after, each drawn on its own from the row of its class.
pub(super) fn each(matrix: &LabelMatrix, labels: &[ClassId], rng: &mut impl Rng) -> Vec<ClassId> {
    let draw = |label: &ClassId| label_at(&matrix.0[label.index()], rng.random());
    labels.iter().map(draw).collect()
}

/// Returns the label of `row` in whose part of 0 to 1 `drawn` lies: one of positive probability.
pub(super) fn label_at(row: &[f64], drawn: f64) -> ClassId {
    let mut left = drawn * row.iter().sum::<f64>();
    let mut last = ClassId::at(0);
    for (label, probability) in ClassId::all(row.len()).zip(row) {
        if *probability > 0.0 {
            last = label;
            if left < *probability {
                break;
            }
        }
        left -= probability;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    fn read(rows: &[&[f64]]) -> Result<LabelMatrix, LabelMatrixError> {
        rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>().try_into()
    }

    fn matrix(rows: &[&[f64]]) -> LabelMatrix {
        read(rows).expect("rows sum to 1")
    }

    #[test]
    fn rows_are_distributions() {
        assert!(read(&[&[1.0]]).is_ok() && read(&[&[0.1_f64; 10][..]; 10]).is_ok());
        assert!(read(&[&[0.3333333_f64; 3][..]; 3]).is_ok(), "1e-7 is missing");
        let cases: [(&[&[f64]], _); 5] = [
            (&[], LabelMatrixError::Empty),
            (&[&[1.0, 0.0]], LabelMatrixError::Columns { row: 0, found: 2, rows: 1 }),
            (&[&[1.0, 0.0], &[0.25, 0.5]], LabelMatrixError::Sum { row: 1, sum: 0.75 }),
            (&[&[1.0, 0.0], &[-0.5, 1.0]], LabelMatrixError::OutOfRange { row: 1, value: -0.5 }),
            (&[&[1.5, -0.5], &[0.0, 1.0]], LabelMatrixError::OutOfRange { row: 0, value: 1.5 }),
        ];
        for (rows, wanted) in cases {
            assert_eq!(read(rows), Err(wanted));
        }
        let nan = read(&[&[f64::NAN]]);
        assert!(matches!(nan, Err(LabelMatrixError::OutOfRange { row: 0, .. })));
        let says = LabelMatrixError::Sum { row: 3, sum: 0.1 + 0.2 }.to_string();
        assert_eq!(says, "a row sums to 1, but row 3 to 0.300000");
    }

    #[test]
    fn counts_are_rounded_by_the_largest_remainders() {
        let matrix = matrix(&[&[0.5, 0.3, 0.2], &[0.0, 1.0, 0.0], &[1.0 / 3.0; 3]]);
        let labels = ClassId::list([vec![0; 7], vec![1; 5], vec![2; 4]].concat());
        let after = exact(&matrix, &labels, &mut Streams::new(1, &["labels"]).get("labels"));
        let count = |part: &[ClassId]| {
            [0, 1, 2].map(|class| part.iter().filter(|one| one.index() == class).count())
        };
        // 3.5, 2.1, 1.4: the one left goes to the first.
        assert_eq!(count(&after[..7]), [4, 2, 1]);
        assert_eq!(count(&after[7..12]), [0, 5, 0]);
        // 4/3 each: to the lower of equals.
        assert_eq!(count(&after[12..]), [2, 1, 1]);
    }

    #[test]
    fn a_number_falls_into_its_label() {
        let row = [0.0, 0.25, 0.0, 0.5, 0.25, 0.0];
        for (drawn, wanted) in [(0.0, 1), (0.24, 1), (0.25, 3), (0.74, 3), (0.75, 4), (1.0, 4)] {
            assert_eq!(label_at(&row, drawn).index(), wanted, "{drawn}");
        }
    }

    #[test]
    fn every_label_is_drawn_as_often_as_its_row_says() {
        let matrix = matrix(&[&[0.7, 0.1, 0.2], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]]);
        let after = each(
            &matrix,
            &[ClassId::at(0); 30_000],
            &mut Streams::new(1, &["labels"]).get("labels"),
        );
        for (label, wanted) in [(0, 21_000), (1, 3_000), (2, 6_000)] {
            let found = after.iter().filter(|one| one.index() == label).count();
            // Five standard deviations of the most uncertain, 79.
            assert!(found.abs_diff(wanted) < 400, "{label}: {found}");
        }
    }

    #[test]
    fn the_preset_is_what_people_confuse() {
        let matrix = Preset::Cifar10nWorst.matrix();
        assert_eq!(LabelMatrix::try_from(matrix.0.clone()).as_ref(), Ok(&matrix));
        let right: f64 = matrix.0.iter().enumerate().map(|(class, row)| row[class]).sum();
        // 40.21 % of the published labels are wrong; the rounding costs up to 0.05 %.
        assert!((1.0 - right / 10.0 - 0.4021).abs() < 0.0005, "{right}");
        // Cats are taken for dogs, automobiles for trucks.
        assert!(matrix.0[3][5] > 0.2 && matrix.0[1][9] > 0.24);
    }
}
