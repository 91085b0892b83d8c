//! Networks as data: layers, the names and shapes of their tensors, how they start. The forward and
//! backward passes are not here.

mod families;
mod foreign;
mod layer;

use crate::units::Count;
pub use families::Family;
pub use foreign::{AdoptError, AdoptedWeights, adopt, with_torchvision_names};
pub use layer::{Layer, LayerError, NamedLayer, Role, Shape, Spec, trace};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// An architecture and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// The family, such as ResNet-18.
    pub name: Family,
    /// How wide it is. Left out where the family has no width.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Count>,
}

/// A network without its values.
#[derive(Clone, Debug)]
pub struct Network {
    layers: Vec<NamedLayer>,
    specs: Vec<Spec>,
    input: Shape,
    embedding: usize,
}

impl Network {
    /// Returns the network for samples of `sample`'s shape: \[d\] or \[c, h, w\].
    ///
    /// # Errors
    ///
    /// Says why the architecture cannot take such samples.
    pub fn new(
        architecture: Architecture,
        sample: &[usize],
        classes: usize,
    ) -> Result<Self, LayerError> {
        let shape = match *sample {
            [d] => Shape::Flat(d),
            [c, h, w] => Shape::Map([c, h, w]),
            _ => return Err(LayerError::Sample(sample.to_vec())),
        };
        let Architecture { name, width } = architecture;
        let width = width.or(name.width()).map_or(0, Count::get);
        let layers = name.layers(shape, classes, width);
        let (head, body) = layers.split_last().expect("every family ends in its head");
        let mut specs = vec![];
        let embedding = match trace(body, "", shape, &mut specs)? {
            Shape::Flat(d) => d,
            Shape::Map(_) => unreachable!("every family is flat before its head"),
        };
        trace(std::slice::from_ref(head), "", Shape::Flat(embedding), &mut specs)?;
        Ok(Self { layers, specs, input: shape, embedding })
    }

    /// Returns a network of `layers`, to look at what goes into a head of one class.
    #[must_use]
    pub fn of_layers(mut layers: Vec<NamedLayer>, input: Shape) -> Self {
        let mut specs = vec![];
        let body = trace(&layers, "", input, &mut specs).expect("it fits");
        let Shape::Flat(embedding) = body else { panic!("it ends flat") };
        layers.push(("head".to_owned(), Layer::Flatten));
        Self { layers, specs, embedding, input }
    }

    /// Returns its layers; the last is the head.
    pub fn layers(&self) -> &[NamedLayer] {
        &self.layers
    }

    /// Returns the shape of a sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Returns its tensors, the trained ones and the running statistics, in the order of the layers.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Whether training draws at random what to leave out (dropout).
    pub fn drops(&self) -> bool {
        // It takes flat values, and blocks of layers pass maps on.
        self.layers.iter().any(|(_, layer)| matches!(layer, Layer::Dropout { .. }))
    }

    /// Returns how many features the head takes.
    pub fn embedding(&self) -> usize {
        self.embedding
    }

    /// Returns the name of the head's weight, such as `linear.weight`.
    pub fn head(&self) -> String {
        let (name, _) = self.layers.last().expect("every family ends in its head");
        format!("{name}.weight")
    }

    /// Returns the first values of every tensor, drawn in order.
    pub fn start(&self, rng: &mut impl Rng) -> Vec<Vec<f32>> {
        self.specs.iter().map(|spec| spec.start(rng)).collect()
    }
}
