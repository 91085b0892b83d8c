//! A training step recorded once on an accelerator and then replayed as one launch: a CUDA graph.
//!
//! A step of a network is hundreds of small kernels, and on a GPU the host that launches them is what takes
//! the time. A recorded step reads and writes the buffers it was recorded with, so the values of the training
//! (parameters, optimiser, statistics) and the batch lie in buffers of their own for as long as it is replayed:
//! a batch is written into them before, and at the end of an epoch the values are copied out.
//!
//! A replayed step is the same kernels on the same numbers: no result depends on whether one was recorded.

use super::{
    Tensor,
    epoch::{EpochJob, gradients},
    forward::Batch,
    memory,
    optim::{Factor, OptimizerState, Rates},
    settings::Length,
    state::State,
    values::NetworkValues,
};
use crate::device::{alone, beside};
use burn::tensor::{Graph, TensorData, capture};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// The recorded steps of one training, by how many samples they take.
#[derive(Default)]
pub(crate) struct Replays {
    /// The values that the steps read and write; there are some as long as there is a step.
    values: Option<Rc<RefCell<FixedValues>>>,
    steps: BTreeMap<usize, Replay>,
    /// Whether recording failed: then no other is tried.
    failed: bool,
}

// Recording takes the time of some four steps, and the memory that a recorded step works in stays taken.
const WORTH_IT: u64 = 40;

struct Replay {
    batch: Rc<RefCell<FixedBatch>>,
    graph: Graph<Tensor<2>, Box<dyn FnMut() -> Tensor<2>>>,
}

/// What every recorded step of a training reads and writes, in buffers that stay where they are.
struct FixedValues {
    network: NetworkValues,
    optimizer: OptimizerState,
    /// \[3\]: the numbers of the step, in the order of [`Rates`].
    rates: Tensor<1>,
}

/// The batch of a recorded step, in buffers that stay where they are.
struct FixedBatch {
    input: Batch,
    /// \[b, classes\].
    targets: Tensor<2>,
}

impl Replays {
    /// Whether a step with `size` samples was recorded, or recording one would pay.
    pub(super) fn takes(&self, job: &EpochJob<'_>, state: &State, size: usize) -> bool {
        self.steps.contains_key(&size) || (!self.failed && pays(job, state, size))
    }

    /// Takes one step with this batch, recorded before or now. Returns the logits, or nothing if it cannot be
    /// recorded; nothing was done then.
    pub(super) fn step(
        &mut self,
        job: &EpochJob<'_>,
        state: &mut State,
        (input, targets): (Batch, Tensor<2>),
        lr: f64,
    ) -> Option<Tensor<2>> {
        let size = targets.dims()[0];
        if !self.steps.contains_key(&size) {
            self.record(job, state, (&input, &targets));
        }
        let replay = self.steps.get_mut(&size)?;
        let mut values = self.values.as_ref()?.borrow_mut();
        Some(beside(|| {
            let Rates { rate, shrink, root } = state.optimizer.next_rates(lr);
            let rates = [rate, shrink, root].map(|rate| rate as f32);
            let device = job.feed.device().inner();
            assign(&mut values.rates, Tensor::from_data(TensorData::from(rates), &device));
            replay.batch.borrow_mut().assign(input, targets);
            state.optimizer.count_step();
            // SAFETY: what the step reads and writes is held by its own closure; this thread alone uses it,
            // on the stream it was recorded on.
            #[expect(unsafe_code, reason = "the tensor library checks no replay")]
            let logits = unsafe { replay.graph.replay() };
            // The next replay writes over them.
            copied(logits)
        }))
    }

    /// Does `step`, which moves the values of `state`, where recorded steps have theirs.
    pub(super) fn aside<T>(&mut self, state: &mut State, step: impl FnOnce(&mut State) -> T) -> T {
        let Some(values) = &self.values else { return step(state) };
        let mut values = values.borrow_mut();
        state.values = values.network.clone();
        state.optimizer.take_slots_of(values.optimizer.clone());
        let out = step(state);
        values.assign(&state.values, &state.optimizer);
        out
    }

    /// Copies the values of recorded steps to `state`, at the end of an epoch.
    pub(super) fn put(&self, state: &mut State) {
        if let Some(values) = &self.values {
            let values = values.borrow();
            state.values = values.network.map(copied);
            state.optimizer.take_slots_of(values.optimizer.map(copied));
        }
    }

    /// Records a step for batches like this one. The values stay those before it.
    fn record(&mut self, job: &EpochJob<'_>, state: &mut State, batch: (&Batch, &Tensor<2>)) {
        let (values, batch, before) = beside(|| {
            // Between two epochs, and before the first recording, these are the newest.
            self.put(state);
            let values = self.values.take().unwrap_or_else(|| FixedValues::new(state));
            let batch = Rc::new(RefCell::new(FixedBatch::new(batch)));
            (values, batch, (state.values.clone(), state.optimizer.clone()))
        });
        let step = recordable(job, Rc::clone(&values), Rc::clone(&batch));
        let graph = alone(|| capture(&job.feed.device().inner(), step));
        if graph.is_hardware() {
            // Steps were taken on the way to it.
            beside(|| values.borrow_mut().assign(&before.0, &before.1));
            self.values = Some(values);
            self.steps.insert(batch.borrow().len(), Replay { batch: Rc::clone(&batch), graph });
        } else {
            // What a recording that failed was to write cannot be read any more.
            *self = Self { failed: true, ..Self::default() };
        }
    }
}

/// Whether so many steps with `size` samples are to come that recording one pays.
fn pays(job: &EpochJob<'_>, state: &State, size: usize) -> bool {
    let plan = &job.plan;
    let device = job.feed.device().capabilities();
    if !device.graphs || size > plan.micro || job.network.drops() {
        return false;
    }
    let left = job.steps().saturating_sub(job.reached(state));
    // The last batch of an epoch counts if each has one of this size.
    let each = matches!(plan.length, Length::Epochs(_)) && !plan.sampler.varies();
    let times = match size == plan.batch {
        true => left,
        false if each => left / job.per_epoch().max(1),
        false => 0,
    };
    times >= WORTH_IT && has_room(job)
}

/// Whether another step's memory may stay taken: an estimate, of which there is to be twice as much.
fn has_room(job: &EpochJob<'_>) -> bool {
    let needed = memory::estimate(job.network, &job.plan, true);
    job.feed.device().free_memory().is_none_or(|free| 2.0 * needed < free as f64)
}

/// Returns what is recorded: a step from the values and the batch in their buffers, and back into them. It
/// returns the logits, \[b, classes\].
fn recordable(
    job: &EpochJob<'_>,
    values: Rc<RefCell<FixedValues>>,
    batch: Rc<RefCell<FixedBatch>>,
) -> Box<dyn FnMut() -> Tensor<2>> {
    let (network, precision) = (job.network.clone(), job.plan.precision);
    Box::new(move || {
        let (mut values, batch) = (values.borrow_mut(), batch.borrow());
        let batch = (batch.input.clone(), batch.targets.clone());
        let pass = gradients(&network, precision, &values.network, batch, None);
        let (mut next, mut optimizer) = (values.network.clone(), values.optimizer.clone());
        optimizer.step(&mut next.params, pass.gradients, &values.rates());
        next.stats = pass.stats;
        values.assign(&next, &optimizer);
        pass.logits
    })
}

impl FixedValues {
    fn new(state: &State) -> Rc<RefCell<Self>> {
        let (network, optimizer) = (state.values.map(copied), state.optimizer.map(copied));
        let rates = Tensor::ones([3], &network.params[0].device());
        Rc::new(RefCell::new(Self { network, optimizer, rates }))
    }

    fn rates(&self) -> Rates {
        let at = |i: usize| Factor::Device(Box::new(self.rates.clone().slice(i..i + 1)));
        Rates { rate: at(0), shrink: at(1), root: at(2) }
    }

    fn assign(&mut self, network: &NetworkValues, optimizer: &OptimizerState) {
        let all = |fixed: &mut [Tensor<1>], new: &[Tensor<1>]| {
            for (fixed, new) in fixed.iter_mut().zip(new) {
                assign(fixed, new.clone());
            }
        };
        all(&mut self.network.params, &network.params);
        all(&mut self.network.stats, &network.stats);
        for (fixed, new) in self.optimizer.slots_mut().iter_mut().zip(optimizer.slots()) {
            all(fixed, new);
        }
    }
}

impl FixedBatch {
    fn new((input, targets): (&Batch, &Tensor<2>)) -> Self {
        let input = match input {
            Batch::Flat(x) => Batch::Flat(copied(x)),
            Batch::Map(x) => Batch::Map(copied(x)),
        };
        Self { input, targets: copied(targets) }
    }

    fn len(&self) -> usize {
        self.targets.dims()[0]
    }

    fn assign(&mut self, input: Batch, targets: Tensor<2>) {
        match (&mut self.input, input) {
            (Batch::Flat(x), Batch::Flat(new)) => assign(x, new),
            (Batch::Map(x), Batch::Map(new)) => assign(x, new),
            _ => unreachable!("all batches of a feed have one form"),
        }
        assign(&mut self.targets, targets);
    }
}

/// Writes `new` into the buffer of `fixed`. That buffer is kept because nothing else holds the old value.
fn assign<const D: usize>(fixed: &mut Tensor<D>, new: Tensor<D>) {
    let whole = new.dims().map(|side| 0..side);
    let old = std::mem::replace(fixed, new.clone());
    *fixed = old.slice_assign(whole, new);
}

/// Returns the same numbers in a buffer of their own.
fn copied<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().mul_scalar(1.0)
}
