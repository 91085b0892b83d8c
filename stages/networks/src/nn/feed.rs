//! From stored samples to normalised batches, with the augmentation on the way.
//!
//! On the CPU the samples stay u8 in memory and a batch is built by all threads. On an accelerator
//! they are uploaded once, as i16, and a batch is gathered, moved and normalised there; only
//! positions go over. Which samples make a batch is the training loop's business.
//!
//! As i16, because a product of matrices of the tensor library (in cubek-matmul 0.2.0) read beyond the end of
//! a padded row what earlier buffers left there, and counted on that times 0 being 0. Four bytes of white
//! pixels are a NaN; two i16 of 0 to 255 are a finite f32.

use super::{
    Tensor,
    forward::Batch,
    zoom::{Tap, Zoom, between},
};
use crate::{
    AugmentError,
    device::{Device, beside},
};
use artifacts::dataset::Inputs;
use artifacts::draw;
use burn::tensor::{DType, Int, TensorData};
use methods::linalg::in_widest;
use rand::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done to a training image before each use of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Augment {
    /// Nothing.
    #[default]
    None,
    /// A crop of the same size out of the image padded by 4 pixels on each side, mirrored ones.
    Crop,
    /// Left and right exchanged, for every other image.
    Flip,
    /// First the crop, then the flip.
    CropFlip,
    /// A part of the image, 8 to 100 percent of its area with sides 3:4 to 4:3 of its own, brought
    /// to the size of the whole, then the flip.
    ResizedCropFlip,
}

/// How one image is moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Move {
    down: u8,
    right: u8,
    flip: bool,
    /// The part that becomes the whole; `down` and `right` then mean nothing.
    zoom: Option<Zoom>,
}

const PAD: usize = 4;

impl Augment {
    /// Draws one move. The same draws are made whatever is chosen, and more for a zoom.
    pub(super) fn draw(self, rng: &mut impl Rng) -> Move {
        let span = 2 * PAD as u32 + 1;
        let (down, right, flip) =
            (draw::below(rng, span), draw::below(rng, span), draw::below(rng, 2));
        let (crop, mirror) = match self {
            Self::None => (false, false),
            Self::Crop => (true, false),
            Self::Flip | Self::ResizedCropFlip => (false, true),
            Self::CropFlip => (true, true),
        };
        let still = PAD as u8;
        Move {
            down: if crop { down as u8 } else { still },
            right: if crop { right as u8 } else { still },
            flip: mirror && flip == 1,
            zoom: (self == Self::ResizedCropFlip).then(|| Zoom::draw(rng)),
        }
    }

    /// Checks that samples of this shape can be moved so.
    pub(super) fn check(self, sample: &[usize]) -> Result<(), AugmentError> {
        match (self, sample) {
            (Self::None, _) => Ok(()),
            (Self::Flip | Self::ResizedCropFlip, [_, _, _]) => Ok(()),
            (_, [_, h, w]) if *h > PAD && *w > PAD => Ok(()),
            (_, [_, height, width]) => {
                Err(AugmentError::TooSmall { height: *height, width: *width })
            }
            _ => Err(AugmentError::NotImages),
        }
    }
}

impl Move {
    fn row(self, y: usize, height: usize) -> usize {
        reflect(y + self.down as usize, height)
    }

    fn column(self, x: usize, width: usize) -> usize {
        let x = if self.flip { width - 1 - x } else { x };
        reflect(x + self.right as usize, width)
    }
}

// `at` counts from the padding's edge; the outermost pixel itself is not repeated.
fn reflect(at: usize, side: usize) -> usize {
    match at.checked_sub(PAD) {
        None => PAD - at,
        Some(inside) if inside < side => inside,
        Some(past) => 2 * (side - 1) - past,
    }
}

/// What a network expects of a sample: its shape, and how its values are brought to scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputNormalisation {
    /// \[d\] or \[c, h, w\].
    pub(crate) sample: Vec<usize>,
    /// Per channel: what to subtract, with images scaled to 0..1.
    pub(crate) mean: Vec<f32>,
    /// Per channel: what to divide by after that.
    pub(crate) std: Vec<f32>,
}

/// The samples of one split, ready to be batched.
pub(crate) struct Feed {
    device: Device,
    sample: Vec<usize>,
    n: usize,
    /// Per channel: what to multiply by, then what to add.
    norm: Vec<(f32, f32)>,
    store: BatchSource,
}

enum BatchSource {
    Host(Inputs),
    /// \[n, c, h * w\], i16, and what each channel is multiplied by and what is added, \[1, c, 1\] both.
    Images(Tensor<3, Int>, Box<[Tensor<3>; 2]>),
    /// \[n, d\].
    Features(Tensor<2>),
}

/// How many bytes a pixel takes on an accelerator.
pub(super) const PIXEL: usize = size_of::<i16>();

// Kernels count elements in 32 bits; a split beyond that is batched on the host.
const RESIDENT: usize = i32::MAX as usize;

impl Feed {
    /// Takes `inputs`, to be normalised as `form` says and batched on `device`.
    pub(crate) fn new(device: Device, form: &InputNormalisation, inputs: Inputs) -> Self {
        let resident = device.capabilities().own_memory && inputs.len() < RESIDENT;
        Self::with(device, form, inputs, resident)
    }

    fn with(device: Device, form: &InputNormalisation, inputs: Inputs, resident: bool) -> Self {
        let full = match inputs {
            Inputs::Images(_) => 255.0,
            Inputs::Features(_) => 1.0,
        };
        // A channel that never varies has a deviation of 0, and nothing to scale.
        let std = |std: f32| if std == 0.0 { 1.0 } else { f64::from(std) };
        let norm = form.mean.iter().zip(&form.std).map(|(mean, deviation)| {
            let deviation = std(*deviation);
            ((1.0 / (full * deviation)) as f32, (-f64::from(*mean) / deviation) as f32)
        });
        let norm: Vec<(f32, f32)> = norm.collect();
        let sample = form.sample.clone();
        let n = inputs.len() / sample.iter().product::<usize>().max(1);
        let inner = device.inner();
        let store = beside(|| match (inputs, &sample[..]) {
            (Inputs::Images(values), [c, h, w]) if resident => {
                let levels: Vec<i16> = values.into_vec().into_iter().map(i16::from).collect();
                let data = TensorData::new(levels, [n, *c, h * w]);
                let column = |part: fn(&(f32, f32)) -> f32| {
                    let values = (0..*c).map(|at| norm.get(at).or(norm.first()).map_or(0.0, part));
                    let data = TensorData::new(values.collect::<Vec<f32>>(), [1, *c, 1]);
                    Tensor::<3>::from_data(data, &inner)
                };
                let columns = Box::new([column(|norm| norm.0), column(|norm| norm.1)]);
                BatchSource::Images(Tensor::from_data(data, (&inner, DType::I16)), columns)
            }
            (Inputs::Features(values), [d]) if resident => {
                BatchSource::Features(Tensor::from_data(TensorData::new(values, [n, *d]), &inner))
            }
            (inputs, _) => BatchSource::Host(inputs),
        });
        Self { device, sample, n, norm, store }
    }

    /// Returns how many samples there are.
    pub(crate) fn len(&self) -> usize {
        self.n
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Returns the samples at `rows`, normalised, as they are or each moved by its own move.
    pub(super) fn batch(&self, rows: &[u32], moves: Option<&[Move]>) -> Batch {
        match &self.store {
            BatchSource::Host(inputs) => {
                let (n, device) = (rows.len(), self.device.inner());
                let values = self.normalised(inputs, rows, moves);
                match self.sample[..] {
                    [c, h, w] => {
                        let data = TensorData::new(values, [n, c, h, w]);
                        Batch::Map(Tensor::from_data(data, &device))
                    }
                    _ => {
                        let each = values.len() / n.max(1);
                        let data = TensorData::new(values, [n, each]);
                        Batch::Flat(Tensor::from_data(data, &device))
                    }
                }
            }
            BatchSource::Images(images, norm) => self.gathered((images, norm), rows, moves),
            BatchSource::Features(features) => {
                let (scale, shift) = self.norm(0);
                let rows = self.positions(rows.iter().map(|row| *row as i32).collect());
                Batch::Flat(features.clone().select(0, rows).mul_scalar(scale).add_scalar(shift))
            }
        }
    }

    fn norm(&self, channel: usize) -> (f32, f32) {
        self.norm.get(channel).or(self.norm.first()).copied().unwrap_or((1.0, 0.0))
    }

    fn positions(&self, values: Vec<i32>) -> Tensor<1, Int> {
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n]), (&self.device.inner(), DType::I32))
    }

    /// Returns what [`Self::batch`] does, one sample after the other, if they are kept on the host.
    pub(super) fn on_host(&self, rows: &[u32], moves: Option<&[Move]>) -> Option<Vec<f32>> {
        match &self.store {
            BatchSource::Host(inputs) => Some(self.normalised(inputs, rows, moves)),
            BatchSource::Images(..) | BatchSource::Features(_) => None,
        }
    }

    /// Returns the shape of one sample.
    pub(super) fn sample(&self) -> &[usize] {
        &self.sample
    }

    fn normalised(&self, inputs: &Inputs, rows: &[u32], moves: Option<&[Move]>) -> Vec<f32> {
        let each: usize = self.sample.iter().product();
        let mut out = vec![0f32; rows.len() * each];
        let places = out.par_chunks_exact_mut(each.max(1)).zip(rows).enumerate();
        match (inputs, &self.sample[..]) {
            (Inputs::Images(pixels), &[channels, height, width]) => {
                pixels.were_read(rows.len(), each);
                let norms: Vec<(f32, f32)> = (0..channels).map(|at| self.norm(at)).collect();
                let table = |(scale, shift): &(f32, f32)| {
                    std::array::from_fn(|level| level as f32 * scale + shift)
                };
                let tables: Vec<[f32; 256]> = norms.iter().map(table).collect();
                places.for_each(|(at, (place, row))| {
                    let image = &pixels[*row as usize * each..][..each];
                    let planes = place.chunks_exact_mut(height * width);
                    let planes = planes.zip(image.chunks_exact(height * width));
                    for ((to, from), (table, norm)) in planes.zip(tables.iter().zip(&norms)) {
                        match moves {
                            None => leveled(from, *norm, to),
                            Some(moves) => {
                                let step = moves[at];
                                if let Some(zoom) = step.zoom {
                                    let right = zoom.columns(width, step.flip);
                                    for (to, down) in
                                        to.chunks_exact_mut(width).zip(zoom.rows(height))
                                    {
                                        let row = |y: usize| &from[y * width..][..width];
                                        let rows = (row(down.first), row(down.second));
                                        for (to, right) in to.iter_mut().zip(&right) {
                                            let along = |row: &[u8]| {
                                                let level = |x: usize| table[row[x] as usize];
                                                between(
                                                    level(right.first),
                                                    level(right.second),
                                                    right.share,
                                                )
                                            };
                                            *to = between(along(rows.0), along(rows.1), down.share);
                                        }
                                    }
                                    continue;
                                }
                                for (y, to) in to.chunks_exact_mut(width).enumerate() {
                                    let from = &from[step.row(y, height) * width..][..width];
                                    for (x, to) in to.iter_mut().enumerate() {
                                        *to = table[from[step.column(x, width)] as usize];
                                    }
                                }
                            }
                        }
                    }
                });
            }
            (Inputs::Images(pixels), _) => places.for_each(|(_, (place, row))| {
                let (scale, shift) = self.norm(0);
                leveled(&pixels[*row as usize * each..][..each], (scale, shift), place);
            }),
            (Inputs::Features(values), _) => places.for_each(|(_, (place, row))| {
                let (scale, shift) = self.norm(0);
                let from = &values[*row as usize * each..][..each];
                for (to, from) in place.iter_mut().zip(from) {
                    *to = from * scale + shift;
                }
            }),
        }
        out
    }

    fn gathered(
        &self,
        (images, [scale, shift]): (&Tensor<3, Int>, &[Tensor<3>; 2]),
        rows: &[u32],
        moves: Option<&[Move]>,
    ) -> Batch {
        let &[channels, height, width] = &self.sample[..] else {
            unreachable!("images are resident only with their three sides")
        };
        let n = rows.len();
        let rows = self.positions(rows.iter().map(|row| *row as i32).collect());
        let mut pixels = images.clone().select(0, rows).float();
        if let Some(moves) = moves
            && moves.iter().any(|step| step.zoom.is_some())
        {
            pixels = self.zoomed(&pixels, moves);
        } else if let Some(moves) = moves {
            let down = moves
                .iter()
                .flat_map(|step| (0..height).map(move |y| (step.row(y, height) * width) as i32));
            let right =
                moves.iter().flat_map(|step| (0..width).map(move |x| step.column(x, width) as i32));
            let down = self.positions(down.collect()).reshape([n, height, 1]);
            let right = self.positions(right.collect()).reshape([n, 1, width]);
            let from = down.repeat_dim(2, width) + right.repeat_dim(1, height);
            let from = from.reshape([n, 1, height * width]).repeat_dim(1, channels);
            pixels = pixels.gather(2, from);
        }
        let pixels = pixels * scale.clone() + shift.clone();
        Batch::Map(pixels.reshape([n, channels, height, width]))
    }

    /// Returns images, \[n, c, h * w\], each with a part of it brought to the size of the whole.
    fn zoomed(&self, pixels: &Tensor<3>, moves: &[Move]) -> Tensor<3> {
        let &[channels, height, width] = &self.sample[..] else {
            unreachable!("images are resident only with their three sides")
        };
        let n = moves.len();
        let zoom = |step: &Move| step.zoom.unwrap_or(Zoom::WHOLE);
        let down: Vec<Tap> = moves.iter().flat_map(|step| zoom(step).rows(height)).collect();
        let right: Vec<Tap> =
            moves.iter().flat_map(|step| zoom(step).columns(width, step.flip)).collect();
        let ints = |taps: &[Tap], at: fn(&Tap) -> usize| {
            self.positions(taps.iter().map(|tap| at(tap) as i32).collect())
        };
        let shares = |taps: &[Tap]| {
            let values: Vec<f32> = taps.iter().map(|tap| tap.share).collect();
            let n = values.len();
            Tensor::<1>::from_data(TensorData::new(values, [n]), &self.device.inner())
        };
        let row = |at: fn(&Tap) -> usize| {
            let starts = ints(&down, at).mul_scalar(width as i32).reshape([n, height, 1]);
            starts.repeat_dim(2, width)
        };
        let column =
            |at: fn(&Tap) -> usize| ints(&right, at).reshape([n, 1, width]).repeat_dim(1, height);
        let pick = |row: Tensor<3, Int>, column: Tensor<3, Int>| {
            let from = (row + column).reshape([n, 1, height * width]).repeat_dim(1, channels);
            pixels.clone().gather(2, from)
        };
        let across = shares(&right).reshape([n, 1, width]).repeat_dim(1, height);
        let across = across.reshape([n, 1, height * width]);
        let along = |row: Tensor<3, Int>| {
            let first = pick(row.clone(), column(|tap| tap.first));
            let second = pick(row, column(|tap| tap.second));
            first.clone() + (second - first) * across.clone()
        };
        let (top, bottom) = (along(row(|tap| tap.first)), along(row(|tap| tap.second)));
        let share = shares(&down).reshape([n, height, 1]).repeat_dim(2, width);
        top.clone() + (bottom - top) * share.reshape([n, 1, height * width])
    }
}

in_widest! {
    /// Writes grey levels times `scale` plus `shift`.
    fn leveled(from: &[u8], norm: (f32, f32), to: &mut [f32]) {
        let (scale, shift) = norm;
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from(*from) * scale + shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Streams;

    fn form(sample: &[usize], channels: usize) -> InputNormalisation {
        InputNormalisation {
            sample: sample.to_vec(),
            mean: (0..channels).map(|c| 0.25 * c as f32).collect(),
            std: (0..channels).map(|c| 0.5 + c as f32).collect(),
        }
    }

    fn values(batch: Batch) -> Vec<f32> {
        let Batch::Map(batch) = batch else { panic!("it was images") };
        batch.into_data().try_to_vec().expect("it is f32")
    }

    #[test]
    fn a_moved_row_worked_by_hand() {
        // One row of six pixels, padded: 4 3 2 1 | 0 1 2 3 4 5 | 4 3 2 1.
        let row = |right, flip| {
            let step = Move { down: 4, right, flip, zoom: None };
            (0..6).map(|x| step.column(x, 6)).collect::<Vec<_>>()
        };
        assert_eq!(row(4, false), [0, 1, 2, 3, 4, 5]);
        assert_eq!(row(0, false), [4, 3, 2, 1, 0, 1]);
        assert_eq!(row(8, false), [4, 5, 4, 3, 2, 1]);
        assert_eq!(row(8, true), [1, 2, 3, 4, 5, 4]);
    }

    #[test]
    fn no_pixels_beside_each_other_are_a_float_that_is_not_finite() {
        // White beside anything: on a GPU a product reads them as floats (the head of this file).
        let pixels: Vec<u8> = (0..=255).flat_map(|level| [255, 255, level, 255]).collect();
        let inputs = Inputs::Images(pixels.into());
        let feed = Feed::with(Device::CPU, &form(&[1, 32, 32], 1), inputs, true);
        let BatchSource::Images(images, _) = &feed.store else { panic!("they are resident") };
        let data = images.to_data();
        let (words, _) = data.as_bytes().as_chunks::<4>();
        assert!(words.len() >= 256);
        assert!(words.iter().all(|word| f32::from_le_bytes(*word).is_finite()));
    }

    #[test]
    fn the_accelerators_way_gives_what_the_hosts_way_gives() {
        let form = form(&[2, 6, 7], 2);
        let pixels: Vec<u8> = (0..5 * 84).map(|i| (i * 37 % 256) as u8).collect();
        let feed = |on| Feed::with(Device::CPU, &form, Inputs::Images(pixels.clone().into()), on);
        let mut rng = Streams::new(3, &["augment"]).get("augment");
        let rows = [4, 0, 0, 3, 2];
        let [crops, zooms] = [Augment::CropFlip, Augment::ResizedCropFlip]
            .map(|augment| rows.map(|_| augment.draw(&mut rng)));
        for moves in [None, Some(&crops[..]), Some(&zooms[..])] {
            let host = values(feed(false).batch(&rows, moves));
            let device = values(feed(true).batch(&rows, moves));
            for (one, other) in host.iter().zip(&device) {
                assert!((one - other).abs() < 1e-5);
            }
            assert_eq!(host.len(), device.len());
        }
        // Pixel 0 of sample 4 in channel 1: level 4 * 84 + 42 = 378, times 37, modulo 256.
        let level = (378 * 37 % 256) as f32 / 255.0;
        let first = values(feed(false).batch(&rows, None))[42];
        assert!((first - (level - 0.25) / 1.5).abs() < 1e-6);
    }
}
