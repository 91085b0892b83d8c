//! A batch of feature maps in the layout of the CPU's kernels: blocks of sixteen samples, channel by channel, a
//! pixel's sixteen values side by side. Flat vectors have a layout of their own, in `rows.rs`.

use super::{buffer::Buffer, wide::LANES};
use rayon::prelude::*;
use std::sync::Arc;

/// The shape of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dims {
    pub(super) n: usize,
    pub(super) c: usize,
    pub(super) h: usize,
    pub(super) w: usize,
}

impl Dims {
    pub(super) fn blocks(self) -> usize {
        self.n.div_ceil(LANES)
    }

    pub(super) fn pixels(self) -> usize {
        self.h * self.w
    }

    /// Returns how many floats one channel of a block takes: an odd number of lanes, so that the pixels of
    /// different channels do not map to the same cache set. The padding past the last pixel is arbitrary.
    pub(super) fn plane(self) -> usize {
        (self.pixels() | 1) * LANES
    }

    pub(super) fn block(self) -> usize {
        self.c * self.plane()
    }

    pub(super) fn len(self) -> usize {
        self.blocks() * self.block()
    }

    /// Returns how many lanes of `block` hold a sample.
    pub(super) fn live(self, block: usize) -> usize {
        (self.n - block * LANES).min(LANES)
    }
}

/// A batch of maps. Clones share their values.
#[derive(Clone, Debug)]
pub(super) struct MapBatch {
    pub(super) dims: Dims,
    pub(super) data: Arc<Buffer>,
}

impl MapBatch {
    pub(super) fn new(dims: Dims, data: Buffer) -> Self {
        debug_assert_eq!(data.len(), dims.len());
        Self { dims, data: Arc::new(data) }
    }

    /// Lays out samples that stand one after the other.
    pub(super) fn pack(samples: &[f32], dims: Dims) -> Self {
        let (pixels, each) = (dims.pixels(), dims.c * dims.pixels());
        let mut data = Buffer::zeros(dims.len());
        let blocks = data.par_chunks_mut(dims.block());
        blocks.zip(samples.par_chunks(LANES * each)).for_each(|(block, samples)| {
            for (lane, sample) in samples.chunks_exact(each).enumerate() {
                let planes = block.chunks_exact_mut(dims.plane());
                for (plane, channel) in planes.zip(sample.chunks_exact(pixels)) {
                    for (to, from) in plane.chunks_exact_mut(LANES).zip(channel) {
                        to[lane] = *from;
                    }
                }
            }
        });
        Self::new(dims, data)
    }

    /// Returns the samples one after the other.
    pub(super) fn unpack(&self) -> Vec<f32> {
        let dims = self.dims;
        let (pixels, each) = (dims.pixels(), dims.c * dims.pixels());
        let mut out = vec![0f32; dims.n * each];
        out.par_chunks_mut(each).enumerate().for_each(|(at, sample)| {
            let (lane, block) = (at % LANES, &self.data[at / LANES * dims.block()..]);
            let planes = block.chunks_exact(dims.plane());
            for (plane, channel) in planes.zip(sample.chunks_exact_mut(pixels)) {
                for (from, to) in plane.chunks_exact(LANES).zip(channel) {
                    *to = from[lane];
                }
            }
        });
        out
    }

    /// Returns the same maps with `pad` columns of zeros on either side.
    pub(super) fn widened(&self, pad: usize) -> Self {
        let from = self.dims;
        let to = Dims { w: from.w + 2 * pad, ..from };
        let mut data = Buffer::zeros(to.len());
        let planes = data.par_chunks_mut(to.plane()).zip(self.data.par_chunks(from.plane()));
        planes.for_each(|(to_plane, plane)| {
            let rows = plane.chunks_exact(from.w * LANES).take(from.h);
            for (row, to) in rows.zip(to_plane.chunks_exact_mut(to.w * LANES)) {
                to[pad * LANES..][..from.w * LANES].copy_from_slice(row);
            }
        });
        Self::new(to, data)
    }

    /// Returns the values to be changed in place, copied only if another holds them too.
    pub(super) fn change(&mut self) -> &mut [f32] {
        let data: &mut Buffer = Arc::make_mut(&mut self.data);
        data
    }
}
