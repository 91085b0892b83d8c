//! Activations between layers on the CPU: feature maps, or flat vectors one sample after the other.

use super::{
    maps::{Dims, MapBatch},
    pool,
};
use std::sync::Arc;

/// A batch of flat vectors, one sample after the other. Clones share their values (copy on write).
#[derive(Clone, Debug)]
pub(super) struct VectorBatch {
    /// What each sample was or will be as maps; a vector has one pixel a channel.
    pub(super) dims: Dims,
    pub(super) data: Arc<Vec<f32>>,
}

impl VectorBatch {
    /// Takes `n` vectors.
    pub(super) fn flat(n: usize, data: Vec<f32>) -> Self {
        let dims = Dims { n, c: data.len() / n.max(1), h: 1, w: 1 };
        Self { dims, data: Arc::new(data) }
    }

    /// Returns how many samples there are.
    pub(super) fn len(&self) -> usize {
        self.dims.n
    }

    /// Returns how many numbers a sample has.
    pub(super) fn each(&self) -> usize {
        self.dims.c * self.dims.pixels()
    }
}

/// The activations of a batch.
#[derive(Clone, Debug)]
pub(super) enum Activation {
    MapBatch(MapBatch),
    VectorBatch(VectorBatch),
}

impl Activation {
    /// Takes samples of the shape `sample`, one after the other.
    pub(super) fn of(samples: Vec<f32>, sample: &[usize]) -> Self {
        let each: usize = sample.iter().product();
        let n = samples.len() / each.max(1);
        let dims = match *sample {
            [c, h, w] => Dims { n, c, h, w },
            _ => Dims { n, c: each, h: 1, w: 1 },
        };
        Self::VectorBatch(VectorBatch { dims, data: Arc::new(samples) })
    }

    pub(super) fn dims(&self) -> Dims {
        match self {
            Self::MapBatch(maps) => maps.dims,
            Self::VectorBatch(rows) => rows.dims,
        }
    }

    /// Returns the samples as maps of their dimensions.
    pub(super) fn maps(self) -> MapBatch {
        match self {
            Self::MapBatch(maps) => maps,
            Self::VectorBatch(rows) => MapBatch::pack(&rows.data, rows.dims),
        }
    }

    /// Returns the samples one after the other.
    pub(super) fn rows(self) -> VectorBatch {
        match self {
            Self::MapBatch(maps) => VectorBatch { dims: maps.dims, data: Arc::new(maps.unpack()) },
            Self::VectorBatch(rows) => rows,
        }
    }

    /// Returns the samples in another shape of as many numbers.
    pub(super) fn shaped(self, dims: Dims) -> Self {
        if self.dims() == dims {
            self
        } else {
            Self::VectorBatch(VectorBatch { dims, ..self.rows() })
        }
    }

    /// Returns the numbers as they lie, which for maps is not sample by sample.
    pub(super) fn numbers(&self) -> &[f32] {
        match self {
            Self::MapBatch(maps) => &maps.data,
            Self::VectorBatch(rows) => &rows.data,
        }
    }

    /// The same, to be changed in place; copied only if another holds them too.
    pub(super) fn change(&mut self) -> &mut [f32] {
        match self {
            Self::MapBatch(maps) => maps.change(),
            Self::VectorBatch(rows) => &mut *Arc::make_mut(&mut rows.data),
        }
    }

    /// Adds `other`, of the same shape.
    pub(super) fn add(&mut self, other: Self) {
        let other = other.like(self);
        pool::add(self.change(), other.numbers());
    }

    /// Lays the samples out as `other` has its own.
    pub(super) fn like(self, other: &Self) -> Self {
        match other {
            Self::MapBatch(_) => Self::MapBatch(self.maps()),
            Self::VectorBatch(_) => Self::VectorBatch(self.rows()),
        }
    }
}
