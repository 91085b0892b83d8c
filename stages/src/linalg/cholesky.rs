//! The Cholesky factor of a kernel matrix, grown one chosen row at a time.

use rayon::prelude::*;

/// For a chosen sequence S of a kernel K (with a ridge on its diagonal): the rows of
/// `L⁻¹ K[S, :]`, where `L` is the Cholesky factor of `K[S, S]`. Each choice costs O(n |S|).
pub(crate) struct PartialCholesky {
    n: usize,
    rows: Vec<Vec<f32>>,
}

const CHUNK: usize = 1024;

impl PartialCholesky {
    /// Starts with nothing chosen from `n`.
    pub(crate) fn new(n: usize) -> Self {
        Self { n, rows: vec![] }
    }

    /// Chooses `j`, whose kernel row is `kernel` (the ridge not in it). Returns the new row and the new
    /// entry on the diagonal of `L`; both are zero if nothing of `j`, ridge included, is outside
    /// the span of those chosen before.
    pub(crate) fn choose(&mut self, j: usize, kernel: &[f32], ridge: f64) -> (&[f32], f64) {
        let at: Vec<f64> = self.rows.iter().map(|row| f64::from(row[j])).collect();
        let square = f64::from(kernel[j]) + ridge - at.iter().map(|v| v * v).sum::<f64>();
        // Below the last digits of an f32 kernel there is only noise to divide by.
        let floor = 1e-6 * f64::from(kernel[j]).max(0.0);
        let pivot = if square > floor { square.sqrt() } else { 0.0 };
        let mut new = vec![0.0f32; self.n];
        if pivot > 0.0 {
            new.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
                let start = chunk * CHUNK;
                let mut rest = [0.0f64; CHUNK];
                let rest = &mut rest[..out.len()];
                for (rest, value) in rest.iter_mut().zip(&kernel[start..]) {
                    *rest = f64::from(*value);
                }
                for (row, at) in self.rows.iter().zip(&at) {
                    for (rest, value) in rest.iter_mut().zip(&row[start..]) {
                        *rest -= f64::from(*value) * at;
                    }
                }
                for (out, rest) in out.iter_mut().zip(rest) {
                    *out = (*rest / pivot) as f32;
                }
            });
        }
        self.rows.push(new);
        (self.rows.last().expect("it was pushed just now"), pivot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::lanes::noise;

    #[test]
    fn the_rows_rebuild_the_kernel_of_the_chosen() {
        let (n, d) = (9, 5);
        let x = noise(n * d, 3);
        let k = |i: usize, j: usize| -> f32 { (0..d).map(|t| x[i * d + t] * x[j * d + t]).sum() };
        let mut factor = PartialCholesky::new(n);
        let chosen = [4usize, 0, 7, 2];
        // Row t of L: what the rows before have at its choice, then the pivot.
        let (mut rows, mut l): (Vec<Vec<f32>>, Vec<Vec<f64>>) = (vec![], vec![]);
        for j in chosen {
            let row: Vec<f32> = (0..n).map(|i| k(j, i)).collect();
            let mut below: Vec<f64> = rows.iter().map(|row| f64::from(row[j])).collect();
            let (new, pivot) = factor.choose(j, &row, 0.25);
            below.push(pivot);
            rows.push(new.to_vec());
            l.push(below);
        }
        for (s, a) in chosen.iter().enumerate() {
            for (t, b) in chosen.iter().enumerate() {
                let both = s.min(t);
                let built: f64 = (0..=both).map(|u| l[s][u] * l[t][u]).sum();
                let ridge = if s == t { 0.25 } else { 0.0 };
                assert!((built - f64::from(k(*a, *b)) - ridge).abs() < 1e-5);
            }
        }
        // A column that was not chosen: L times the rows gives the kernel back.
        let built: f64 = (0..4).map(|u| l[3][u] * f64::from(rows[u][8])).sum();
        assert!((built - f64::from(k(2, 8))).abs() < 1e-5);
    }
}
