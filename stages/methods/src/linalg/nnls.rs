//! Small dense systems in f64: Cholesky solves, and the same with no negative weights.

use super::strided;
use rayon::prelude::*;

// Columns factored together: what is left of the matrix is then updated by products.
const BLOCK: usize = 64;

/// Factors `l`, \[n, n\] row-major, in place: what comes to stand on and below its diagonal times
/// its transpose is what stood there. `None` if that was not positive definite.
fn factor(l: &mut [f64], n: usize) -> Option<()> {
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let width = end - start;
        // What the columns before say of these, a strip of rows at a time.
        let strips: Vec<Vec<f64>> = (start..n)
            .step_by(BLOCK)
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|row| {
                let rows = BLOCK.min(n - row);
                let mut known = vec![0.0; rows * width];
                let (left, right) = (&l[row * n..], &l[start * n..]);
                let step = n.cast_signed();
                let shape = (rows, width, start);
                strided(shape, (left, step, 1), (right, 1, step), (&mut known, width));
                known
            })
            .collect();
        l[start * n..].par_chunks_mut(BLOCK * n).zip(&strips).for_each(|(rows, known)| {
            for (row, known) in rows.chunks_exact_mut(n).zip(known.chunks_exact(width)) {
                row[start..end].iter_mut().zip(known).for_each(|(value, known)| *value -= known);
            }
        });
        for i in start..end {
            for j in start..=i {
                let known = inner(&l[i * n + start..i * n + j], &l[j * n + start..j * n + j]);
                let rest = l[i * n + j] - known;
                if j < i {
                    l[i * n + j] = rest / l[j * n + j];
                } else if rest > 0.0 {
                    l[i * n + i] = rest.sqrt();
                } else {
                    return None;
                }
            }
        }
        let (top, below) = l.split_at_mut(end * n);
        below.par_chunks_exact_mut(n.max(1)).with_min_len(16).for_each(|row| {
            for j in start..end {
                let known = inner(&row[start..j], &top[j * n + start..j * n + j]);
                row[j] = (row[j] - known) / top[j * n + j];
            }
        });
    }
    Some(())
}

/// Solves `q x = c` for a symmetric positive definite `q`, row-major; `None` if it is not.
fn cholesky_solve(q: Vec<f64>, c: &[f64]) -> Option<Vec<f64>> {
    positive_solve(q, vec![c.to_vec()])?.pop()
}

/// Solves `q x = c` for each of the `columns` c and a symmetric positive definite `q`, row-major; `None`
/// if it is not.
pub(crate) fn positive_solve(mut q: Vec<f64>, mut columns: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let n = columns.first().map_or(0, Vec::len);
    factor(&mut q, n)?;
    columns.par_iter_mut().for_each(|column| substitute(&q, column));
    Some(columns)
}

/// Solves `l l' x = c` in place, `l` being the lower half of what is given.
fn substitute(q: &[f64], x: &mut [f64]) {
    let n = x.len();
    for i in 0..n {
        x[i] = (x[i] - inner(&q[i * n..i * n + i], &x[..i])) / q[i * n + i];
    }
    for i in (0..n).rev() {
        x[i] /= q[i * n + i];
        let (before, here) = x.split_at_mut(i);
        before.iter_mut().zip(&q[i * n..]).for_each(|(x, l)| *x -= l * here[0]);
    }
}

// Four running sums, so that the adder need not wait for itself.
fn inner(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, b_chunks) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    let mut sums = [0.0f64; 4];
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..4 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Returns the `x >= 0` that makes `x'q x / 2 - c'x` smallest, for a symmetric positive definite
/// `q`: block principal pivoting (Portugal, Judice & Vicente 1994) with Murty's single pivots as
/// the fallback that makes it finite. `None` if `q` is not positive definite.
pub(crate) fn nonnegative(q: &[f64], c: &[f64]) -> Option<Vec<f64>> {
    let n = c.len();
    let mut free = vec![true; n];
    let (mut fewest, mut patience) = (n + 1, 3);
    // Single pivots end by themselves; the bound only guards against rounding that cycles.
    for _ in 0..(20 * n + 100) {
        let inside: Vec<usize> = (0..n).filter(|i| free[*i]).collect();
        let size = inside.len();
        let mut part = vec![0.0; size * size];
        for (a, i) in inside.iter().enumerate() {
            for (b, j) in inside.iter().enumerate() {
                part[a * size + b] = q[i * n + j];
            }
        }
        let right: Vec<f64> = inside.iter().map(|i| c[*i]).collect();
        let solved = cholesky_solve(part, &right)?;
        let mut x = vec![0.0; n];
        for (value, i) in solved.iter().zip(&inside) {
            x[*i] = *value;
        }
        let scale = c.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        let wrong: Vec<usize> = (0..n)
            .filter(|i| {
                if free[*i] {
                    x[*i] < 0.0
                } else {
                    let gradient: f64 =
                        c[*i] - inside.iter().map(|j| q[i * n + j] * x[*j]).sum::<f64>();
                    gradient > 1e-12 * scale
                }
            })
            .collect();
        if wrong.is_empty() {
            return Some(x);
        }
        let all = if wrong.len() < fewest {
            fewest = wrong.len();
            patience = 3;
            true
        } else if patience > 0 {
            patience -= 1;
            true
        } else {
            false
        };
        let flipped = if all { &wrong[..] } else { &wrong[wrong.len() - 1..] };
        for i in flipped {
            free[*i] = !free[*i];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::lanes::noise;

    #[test]
    fn the_constrained_optimum_meets_its_conditions() {
        for seed in 0..20 {
            let n = 12;
            let a: Vec<f64> = noise(n * n, seed).into_iter().map(f64::from).collect();
            let mut q = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    q[i * n + j] = (0..n).map(|t| a[i * n + t] * a[j * n + t]).sum();
                }
                q[i * n + i] += 0.01;
            }
            let c: Vec<f64> = noise(n, seed + 99).into_iter().map(f64::from).collect();
            let x = nonnegative(&q, &c).expect("it is positive definite");
            for i in 0..n {
                let gradient: f64 = (0..n).map(|j| q[i * n + j] * x[j]).sum::<f64>() - c[i];
                assert!(x[i] >= 0.0 && gradient > -1e-9 && (gradient * x[i]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_system_of_several_blocks_is_solved() {
        let n = 2 * BLOCK + 17;
        let a: Vec<f64> = noise(n * n, 3).into_iter().map(f64::from).collect();
        let mut q = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                q[i * n + j] = inner(&a[i * n..(i + 1) * n], &a[j * n..(j + 1) * n]);
            }
            q[i * n + i] += 1.0;
        }
        let c: Vec<f64> = noise(n, 4).into_iter().map(f64::from).collect();
        let x = cholesky_solve(q.clone(), &c).expect("it is positive definite");
        for (row, c) in q.chunks_exact(n).zip(&c) {
            assert!((inner(row, &x) - c).abs() < 1e-9);
        }
        // Not positive definite beyond the first block.
        q[(n - 1) * n + n - 1] = -1.0;
        assert!(cholesky_solve(q, &c).is_none());
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_refused() {
        assert!(cholesky_solve(vec![1.0, 2.0, 2.0, 1.0], &[1.0, 1.0]).is_none());
        assert_eq!(cholesky_solve(vec![4.0, 0.0, 0.0, 9.0], &[8.0, 4.5]), Some(vec![2.0, 0.5]));
    }
}
