//! DeepFool, on a linear network and on one with a hidden layer.

use super::*;
use crate::{
    score::{BoundaryDistance, DeepCoreDeepFool, DeepFool, InputGradients},
    select::bottom::Bottom,
};
use artifacts::ClassId;

/// z = `outer` tanh(`inner` x + `shift`) + `bias`; without `inner`, z = `outer` x + `bias`.
struct RecordedGradients {
    inner: Option<(Matrix<'static>, Vec<f32>)>,
    outer: Matrix<'static>,
    bias: Vec<f32>,
}

impl RecordedGradients {
    fn hidden(&self, x: &[f32]) -> Vec<f64> {
        match &self.inner {
            None => x.iter().map(|v| f64::from(*v)).collect(),
            Some((rows, shift)) => (0..rows.rows())
                .map(|at| (dot(rows.row(at), x) + f64::from(shift[at])).tanh())
                .collect(),
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

impl InputGradients for RecordedGradients {
    fn features(&self) -> usize {
        self.inner.as_ref().map_or(self.outer.cols(), |(rows, _)| rows.cols())
    }

    fn classes(&self) -> usize {
        self.outer.rows()
    }

    fn logits(&mut self, x: &[f32]) -> Vec<f32> {
        let one = |x: &[f32]| {
            let hidden = self.hidden(x);
            let z = |at: usize| {
                let row = self.outer.row(at).iter().zip(&hidden);
                row.map(|(w, h)| f64::from(*w) * h).sum::<f64>() + f64::from(self.bias[at])
            };
            (0..self.outer.rows()).map(|at| z(at) as f32).collect::<Vec<_>>()
        };
        x.chunks_exact(self.features()).flat_map(one).collect()
    }

    fn gradients(&mut self, x: &[f32], classes: &[ClassId]) -> Vec<f32> {
        let d = self.features();
        let k = classes.len() / (x.len() / d);
        let mut out = vec![];
        for (x, classes) in x.chunks_exact(d).zip(classes.chunks_exact(k)) {
            let hidden = self.hidden(x);
            for class in classes {
                let row = self.outer.row(class.index());
                out.extend((0..d).map(|at| match &self.inner {
                    None => row[at],
                    Some((rows, _)) => {
                        let through = (0..rows.rows()).map(|j| {
                            let slope = 1.0 - hidden[j] * hidden[j];
                            f64::from(row[j]) * slope * f64::from(rows.row(j)[at])
                        });
                        through.sum::<f64>() as f32
                    }
                }));
            }
        }
        out
    }
}

#[test]
fn deepfool_10() {
    let case = Case::open("10_deepfool");
    let (labels, inputs) = (case.labels(), case.matrix("in_inputs"));
    let vector = |name: &str| case.matrix(name).data().to_vec();
    let linear =
        RecordedGradients { inner: None, outer: case.matrix("in_W"), bias: vector("in_b") };
    let tanh = RecordedGradients {
        inner: Some((case.matrix("in_W1"), vector("in_b1"))),
        outer: case.matrix("in_W2"),
        bias: vector("in_b2"),
    };
    let total = budget::rounded(case.fraction(), labels.len());
    for (name, mut network) in [("linear", linear), ("mlp_tanh", tanh)] {
        let start = inputs.data().to_vec();
        let squares = DeepCoreDeepFool::default().distances(&mut network, start);
        let key = |what: &str| &case.expected[format!("{name}_{what}")];
        assert_close(squares.iter().map(|s| f64::from(*s)), &floats(key("scores")), 5e-3, 1e-6);
        if name == "linear" {
            let closed = floats(key("closed_form"));
            assert_close(squares.iter().map(|s| f64::from(*s)), &closed, 5e-3, 1e-6);
        }
        // Nearest first: a short move is a hard sample.
        let ground = TrainingSet { scores: Some(&doubles(&squares)), ..none(&labels) };
        let picked = balanced(&Bottom::default(), &ground, case.fraction());
        assert_eq!(each_in_order(&picked), indices(key("balanced_in_order")));
        let picked = whole(&Bottom::default(), &ground, total);
        assert_eq!(in_order(&picked), indices(key("unbalanced_in_order")));

        // With the paper's overshoot the lengths grow by its share, where one step was enough.
        let lengths = DeepFool::default().distances(&mut network, inputs.data().to_vec());
        for (length, square) in lengths.iter().zip(&squares) {
            assert!(*length >= square.sqrt() * 0.99, "{length} is not beyond {square}");
        }
    }
}
