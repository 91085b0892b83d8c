//! An accelerator for tests: plain loops in f64 on the host, whose sums differ from the kernels' in
//! their last bits. The one there really is is tested beside its own code.

use super::{Accelerator, Compute, DEFAULT_MEMORY, DeviceRows, DeviceVectors, Pairwise};
use artifacts::Matrix;
use engine::{MethodFailure, StageError};
use std::{any::Any, borrow::Cow, sync::Arc};
use thiserror::Error;

/// The stand-in was told to run out of memory.
#[derive(Debug, Error)]
#[error("`stand-in` ran out of memory")]
struct OutOfMemory {
    hint: String,
}

impl MethodFailure for OutOfMemory {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some((&*self.hint).into())
    }
}

/// Returns a place to compute that has the stand-in beside the host.
pub(crate) fn stand_in() -> Compute {
    Compute::new(Some(Arc::new(StandIn)), DEFAULT_MEMORY)
}

struct StandIn;

impl Accelerator for StandIn {
    fn name(&self) -> String {
        "stand-in".to_owned()
    }

    fn is_worth_offloading(&self, elements: usize) -> bool {
        elements > 0
    }

    fn upload(&self, spaces: &[Matrix<'_>], _: bool) -> Box<dyn DeviceVectors> {
        let copy = |one: &Matrix<'_>| Matrix::new(one.data().to_vec(), one.rows(), one.cols());
        Box::new(StandInVectors(spaces.iter().map(copy).collect()))
    }

    fn growing_rows(&self, n: usize) -> Box<dyn DeviceRows> {
        Box::new(StandInRows { n, rows: vec![] })
    }

    fn explain_panic(&self, payload: &(dyn Any + Send), hint: &str) -> Option<StageError> {
        let text = payload.downcast_ref::<String>()?;
        let is_memory = text == "out of memory";
        is_memory.then(|| OutOfMemory { hint: hint.to_owned() }.into())
    }
}

struct StandInVectors(Vec<Matrix<'static>>);

fn inner(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

impl StandInVectors {
    fn n(&self) -> usize {
        self.0[0].rows()
    }

    fn elements(&self, formula: &Pairwise, j: u32) -> Vec<f32> {
        let j = j as usize;
        let product = |i: usize| -> f64 {
            self.0.iter().map(|space| inner(space.row(i), space.row(j))).product()
        };
        let mut row: Vec<f32> = (0..self.n()).map(|i| product(i) as f32).collect();
        formula.finish_row(j, 0, &mut row);
        row
    }
}

impl DeviceVectors for StandInVectors {
    fn squared_distances(&self, point: &[f32]) -> Vec<f32> {
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        let distance = |i: usize| self.0[0].row(i).iter().zip(point).map(square).sum::<f64>();
        (0..self.n()).map(|i| distance(i) as f32).collect()
    }

    fn times(&self, factors: &[(usize, &[f32])]) -> Vec<f32> {
        let all = |i: usize| -> f64 {
            factors.iter().map(|(space, factor)| inner(self.0[*space].row(i), factor)).product()
        };
        (0..self.n()).map(|i| all(i) as f32).collect()
    }

    fn cross(&self, at: usize, t: &Matrix<'_>) -> Vec<f32> {
        super::cross(t, &self.0[at]).into_iter().map(|sum| sum as f32).collect()
    }

    fn weighted(&self, left: usize, right: usize, w: &Matrix<'_>) -> Vec<f32> {
        let w: Vec<f64> = w.data().iter().map(|value| f64::from(*value)).collect();
        let sums = super::weighted(&self.0[right], Some(&self.0[left]), &w);
        sums.into_iter().map(|sum| sum as f32).collect()
    }

    fn row(&self, formula: &Pairwise, j: u32) -> Vec<f32> {
        self.elements(formula, j)
    }

    fn excess(&self, formula: &Pairwise, rows: &[u32], floor: &[f32]) -> Vec<f64> {
        let over = |(value, floor): (f32, &f32)| f64::from((value - floor).max(0.0));
        let sum = |j: &u32| self.elements(formula, *j).into_iter().zip(floor).map(over).sum();
        rows.iter().map(sum).collect()
    }

    fn least(&self, formula: &Pairwise) -> f32 {
        let rows = (0..self.n() as u32).flat_map(|j| self.elements(formula, j));
        rows.fold(f32::INFINITY, f32::min)
    }

    fn smallest(&self, formula: &Pairwise, rows: &[u32], count: usize) -> Vec<Vec<u32>> {
        let nearest = |j: &u32| {
            let row = self.elements(formula, *j);
            let mut order: Vec<u32> = (0..row.len() as u32).collect();
            order.sort_by(|a, b| row[*a as usize].total_cmp(&row[*b as usize]).then(a.cmp(b)));
            order.truncate(count);
            order
        };
        rows.iter().map(nearest).collect()
    }
}

struct StandInRows {
    n: usize,
    rows: Vec<Vec<f32>>,
}

impl DeviceRows for StandInRows {
    fn push(&mut self, row: &[f32]) {
        self.rows.push(row.to_vec());
    }

    fn combined(&self, factors: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.n];
        for (row, factor) in self.rows.iter().zip(factors) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value) * f64::from(*factor);
            }
        }
        sums.into_iter().map(|sum| sum as f32).collect()
    }
}
