//! Eigenvalues and eigenvectors of a symmetric matrix.

/// Returns the eigenvalues of the symmetric matrix `a`, \[n, n\] row-major, in no order, and
/// their eigenvectors of length 1, one after the other: \[n, n\]. In f64, on one thread, O(n^3).
///
/// Householder's reflections make it tridiagonal, then implicit QL steps make it diagonal (Bowdler, Martin,
/// Reinsch & Wilkinson 1968: `tred2` and `tql2` of EISPACK).
///
/// # Panics
///
/// Panics if `a` does not fill the shape.
pub(crate) fn symmetric_eigen(a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(a.len(), n * n, "the elements fill the shape");
    if n == 0 {
        return (vec![], vec![]);
    }
    let mut state = Tridiagonal { n, v: a, d: vec![0.0; n], e: vec![0.0; n] };
    state.reduce();
    state.accumulate();
    state.diagonalize();
    (state.d, state.v)
}

/// A matrix on its way to a diagonal one.
struct Tridiagonal {
    n: usize,
    /// What turns it back, column by column: at the end the eigenvectors.
    v: Vec<f64>,
    /// The diagonal.
    d: Vec<f64>,
    /// What is beside the diagonal.
    e: Vec<f64>,
}

impl Tridiagonal {
    /// Makes it tridiagonal from the last row up; the reflections are left in `v`.
    fn reduce(&mut self) {
        let Self { n, v, d, e } = self;
        let n = *n;
        for j in 0..n {
            d[j] = v[j * n + n - 1];
        }
        for i in (1..n).rev() {
            let scale: f64 = d[..i].iter().map(|value| value.abs()).sum();
            if scale == 0.0 {
                e[i] = d[i - 1];
                for j in 0..i {
                    d[j] = v[j * n + i - 1];
                    v[j * n + i] = 0.0;
                    v[i * n + j] = 0.0;
                }
                d[i] = 0.0;
                continue;
            }
            d[..i].iter_mut().for_each(|value| *value /= scale);
            let mut h: f64 = d[..i].iter().map(|value| value * value).sum();
            let f = d[i - 1];
            let g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            for j in 0..i {
                let f = d[j];
                v[i * n + j] = f;
                let column = &v[j * n..j * n + i];
                let mut g = e[j] + column[j] * f;
                for k in j + 1..i {
                    g += column[k] * d[k];
                    e[k] += column[k] * f;
                }
                e[j] = g;
            }
            let mut f = 0.0;
            for j in 0..i {
                e[j] /= h;
                f += e[j] * d[j];
            }
            let half = f / (h + h);
            for j in 0..i {
                e[j] -= half * d[j];
            }
            for j in 0..i {
                let (f, g) = (d[j], e[j]);
                let column = &mut v[j * n..(j + 1) * n];
                for k in j..i {
                    column[k] -= f * e[k] + g * d[k];
                }
                d[j] = column[i - 1];
                column[i] = 0.0;
            }
            d[i] = h;
        }
    }

    /// Multiplies the reflections.
    fn accumulate(&mut self) {
        let Self { n, v, d, e } = self;
        let n = *n;
        for i in 0..n - 1 {
            v[i * n + n - 1] = v[i * n + i];
            v[i * n + i] = 1.0;
            let h = d[i + 1];
            let (before, next) = v.split_at_mut((i + 1) * n);
            if h != 0.0 {
                for k in 0..=i {
                    d[k] = next[k] / h;
                }
                for column in before.chunks_exact_mut(n) {
                    let mut g = 0.0;
                    for k in 0..=i {
                        g += next[k] * column[k];
                    }
                    for k in 0..=i {
                        column[k] -= g * d[k];
                    }
                }
            }
            next[..=i].fill(0.0);
        }
        for j in 0..n {
            d[j] = v[j * n + n - 1];
            v[j * n + n - 1] = 0.0;
        }
        v[n * n - 1] = 1.0;
        e[0] = 0.0;
    }

    /// Makes what is beside the diagonal vanish, one eigenvalue after the other.
    fn diagonalize(&mut self) {
        let n = self.n;
        self.e.copy_within(1.., 0);
        self.e[n - 1] = 0.0;
        let (mut shift, mut largest) = (0.0, 0.0f64);
        for l in 0..n {
            largest = largest.max(self.d[l].abs() + self.e[l].abs());
            let small = f64::EPSILON * largest;
            // The last is 0.
            let m = (l..n).find(|m| self.e[*m].abs() <= small).unwrap_or(n - 1);
            while m > l && self.e[l].abs() > small {
                shift += self.step(l, m);
            }
            self.d[l] += shift;
            self.e[l] = 0.0;
        }
    }

    /// Takes one QL step between `l` and `m`, and returns by how much all later eigenvalues were shifted.
    fn step(&mut self, l: usize, m: usize) -> f64 {
        let Self { n, v, d, e } = self;
        let n = *n;
        let length = |a: f64, b: f64| (a * a + b * b).sqrt();
        let g = d[l];
        let p = (d[l + 1] - g) / (2.0 * e[l]);
        let r = if p < 0.0 { -length(p, 1.0) } else { length(p, 1.0) };
        d[l] = e[l] / (p + r);
        d[l + 1] = e[l] * (p + r);
        let next = d[l + 1];
        let shift = g - d[l];
        d[l + 2..].iter_mut().for_each(|value| *value -= shift);
        let mut p = d[m];
        let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
        let (mut s, mut s2) = (0.0, 0.0);
        let beside = e[l + 1];
        for i in (l..m).rev() {
            (c3, c2, s2) = (c2, c, s);
            let (g, h) = (c * e[i], c * p);
            let r = length(p, e[i]);
            e[i + 1] = s * r;
            (s, c) = (e[i] / r, p / r);
            p = c * d[i] - s * g;
            d[i + 1] = h + s * (c * g + s * d[i]);
            let (lower, upper) = v.split_at_mut((i + 1) * n);
            let (lower, upper) = (&mut lower[i * n..], &mut upper[..n]);
            for k in 0..n {
                let h = upper[k];
                upper[k] = s * lower[k] + c * h;
                lower[k] = c * lower[k] - s * h;
            }
        }
        p = -s * s2 * c3 * beside * e[l] / next;
        e[l] = s * p;
        d[l] = c * p;
        shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::noise;

    #[test]
    fn two_by_two_worked_by_hand() {
        // (2, 1; 1, 2): 1 with (1, -1), and 3 with (1, 1).
        let (values, vectors) = symmetric_eigen(vec![2.0, 1.0, 1.0, 2.0], 2);
        let (small, large) = if values[0] < values[1] { (0, 1) } else { (1, 0) };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{values:?} {vectors:?}");
        near(values[small], 1.0);
        near(values[large], 3.0);
        near(vectors[2 * small], -vectors[2 * small + 1]);
        near(vectors[2 * large], vectors[2 * large + 1]);
    }

    #[test]
    fn values_and_vectors_make_the_matrix() {
        for (n, rank) in [(1, 1), (7, 7), (40, 9)] {
            let x: Vec<f64> = noise(n * rank, 3).into_iter().map(f64::from).collect();
            let row = |i: usize| &x[i * rank..(i + 1) * rank];
            let inner = |i: usize, j: usize| row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
            let a: Vec<f64> = (0..n * n).map(|at| inner(at / n, at % n)).collect();
            let (values, vectors) = symmetric_eigen(a.clone(), n);
            let vector = |t: usize| &vectors[t * n..(t + 1) * n];
            for i in 0..n {
                for j in 0..n {
                    let made: f64 = (0..n).map(|t| values[t] * vector(t)[i] * vector(t)[j]).sum();
                    assert!((made - a[i * n + j]).abs() < 1e-10);
                    let product: f64 = vector(i).iter().zip(vector(j)).map(|(a, b)| a * b).sum();
                    assert!((product - f64::from(i == j)).abs() < 1e-10);
                }
            }
            assert_eq!(values.iter().filter(|value| **value > 1e-9).count(), rank);
        }
    }
}
