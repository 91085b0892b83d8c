//! Optimisers: SGD, Adam and AdamW, step by step as PyTorch writes them.
//!
//! A parameter is a flat tensor. The state is one list of such tensors per slot, in the order of
//! the parameters, so that it is saved and restored as it is. The learning rate comes with each
//! step; where it comes from is `schedule`'s business.

use super::Tensor;
use methods::linalg::in_widest;
use rayon::prelude::*;

/// How a gradient moves a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rule {
    /// Stochastic gradient descent, dampening 0; weight decay is added to the gradient.
    Sgd { momentum: f64, nesterov: bool, weight_decay: f64 },
    /// Adam (Kingma and Ba, 2015) with betas 0.9 and 0.999, or AdamW (Loshchilov and Hutter, 2019)
    /// where `decoupled`: the decay then shrinks the parameter itself.
    Adam { weight_decay: f64, decoupled: bool },
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

// How many values one thread moves at a time.
const PIECE: usize = 1 << 14;

/// A number of one step: the host's, or a tensor of one element where a recorded step is given another each
/// time.
#[derive(Clone)]
pub(super) enum Factor {
    Host(f64),
    /// \[1\].
    Device(Box<Tensor<1>>),
}

/// What one step takes from the learning rate and from how many steps were taken.
pub(super) struct Rates<T = Factor> {
    /// What the direction is multiplied by.
    pub(super) rate: T,
    /// AdamW: what the parameter is multiplied by, for its decay.
    pub(super) shrink: T,
    /// Adam: what the root of the second moment is divided by.
    pub(super) root: T,
}

/// An update rule and its state (momentum, moments), as tensors or on the host.
#[derive(Clone)]
pub(crate) struct OptimizerState<T = Tensor<1>> {
    rule: Rule,
    /// SGD: the momentum buffers, if any. Adam: the first moments, then the second.
    slots: Vec<Vec<T>>,
    /// How many steps were taken.
    steps: u64,
}

impl Factor {
    fn times(&self, tensor: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Host(number) => tensor.mul_scalar(*number),
            Self::Device(factor) => tensor * (**factor).clone(),
        }
    }

    fn divides(&self, tensor: Tensor<1>) -> Tensor<1> {
        match self {
            Self::Host(number) => tensor.div_scalar(*number),
            Self::Device(factor) => tensor / (**factor).clone(),
        }
    }
}

impl<T> Rates<T> {
    /// Returns them with each number turned into something else.
    pub(super) fn map<U>(&self, turn: impl Fn(&T) -> U) -> Rates<U> {
        let Self { rate, shrink, root } = self;
        Rates { rate: turn(rate), shrink: turn(shrink), root: turn(root) }
    }
}

impl Rule {
    /// Returns how many tensors are remembered for each parameter.
    pub(super) fn slots(&self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Self::Adam { .. } => 2,
        }
    }

    /// Returns the numbers of the step that is the `steps`-th, counted from 1.
    fn rates(self, lr: f64, steps: u64) -> Rates<f64> {
        match self {
            Self::Sgd { .. } => Rates { rate: lr, shrink: 1.0, root: 1.0 },
            Self::Adam { weight_decay, .. } => {
                let age = steps as f64;
                let (unbias_1, unbias_2) = (1.0 - BETAS.0.powf(age), 1.0 - BETAS.1.powf(age));
                Rates {
                    rate: lr / unbias_1,
                    shrink: 1.0 - lr * weight_decay,
                    root: unbias_2.sqrt(),
                }
            }
        }
    }

    /// Moves some values of a parameter, at the step that is the `steps`-th.
    #[inline(always)]
    fn apply(
        self,
        param: &mut [f32],
        gradient: &[f32],
        [first, second]: [&mut [f32]; 2],
        (lr, steps): (f64, u64),
    ) {
        match self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                let (rate, momentum, decay) = (lr as f32, momentum as f32, weight_decay as f32);
                let decayed = |g: f32, p: f32| if decay == 0.0 { g } else { g + p * decay };
                if first.is_empty() {
                    for (p, g) in param.iter_mut().zip(gradient) {
                        *p -= decayed(*g, *p) * rate;
                    }
                    return;
                }
                for ((p, g), buffer) in param.iter_mut().zip(gradient).zip(first) {
                    let g = decayed(*g, *p);
                    *buffer = *buffer * momentum + g;
                    let move_by = if nesterov { g + *buffer * momentum } else { *buffer };
                    *p -= move_by * rate;
                }
            }
            Self::Adam { weight_decay, decoupled } => {
                let Rates { rate, shrink, root } = self.rates(lr, steps).map(|rate| *rate as f32);
                let decay = weight_decay as f32;
                let (keep_1, keep_2) = (BETAS.0 as f32, BETAS.1 as f32);
                let (take_1, take_2) = ((1.0 - BETAS.0) as f32, (1.0 - BETAS.1) as f32);
                let moments = first.iter_mut().zip(second);
                for ((p, g), (first, second)) in param.iter_mut().zip(gradient).zip(moments) {
                    let (old, g) = match (decoupled, decay == 0.0) {
                        (true, _) => (*p * shrink, *g),
                        (false, true) => (*p, *g),
                        (false, false) => (*p, *g + *p * decay),
                    };
                    *first = *first * keep_1 + g * take_1;
                    *second = *second * keep_2 + (g * g) * take_2;
                    let scale = second.sqrt() / root + EPSILON as f32;
                    *p = old - *first / scale * rate;
                }
            }
        }
    }
}

in_widest! {
    fn apply(
        rule: Rule,
        param: &mut [f32],
        gradient: &[f32],
        slots: [&mut [f32]; 2],
        step: (f64, u64),
    ) {
        rule.apply(param, gradient, slots, step);
    }
}

impl<T> OptimizerState<T> {
    /// Returns it with everything it remembers turned into something else.
    pub(super) fn map<U>(&self, turn: impl Fn(&T) -> U) -> OptimizerState<U> {
        let slots = self.slots.iter().map(|slot| slot.iter().map(&turn).collect()).collect();
        OptimizerState { rule: self.rule, slots, steps: self.steps }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }
}

impl OptimizerState<Vec<f32>> {
    /// Moves each of `params` against its gradient, in one go and to the same bits as tensors.
    pub(super) fn step_host(&mut self, params: &mut [Vec<f32>], gradients: &[Vec<f32>], lr: f64) {
        self.steps += 1;
        let (rule, steps) = (self.rule, self.steps);
        let mut slots = self.slots.iter_mut();
        let (mut first, mut second) = (slots.next(), slots.next());
        for (at, (param, gradient)) in params.iter_mut().zip(gradients).enumerate() {
            let pieces = param.par_chunks_mut(PIECE).zip(gradient.par_chunks(PIECE));
            match (&mut first, &mut second) {
                (None, _) => pieces.for_each(|(param, gradient)| {
                    apply(rule, param, gradient, [&mut [], &mut []], (lr, steps));
                }),
                (Some(first), None) => pieces.zip(first[at].par_chunks_mut(PIECE)).for_each(
                    |((param, gradient), first)| {
                        apply(rule, param, gradient, [first, &mut []], (lr, steps));
                    },
                ),
                (Some(first), Some(second)) => {
                    let slots = first[at].par_chunks_mut(PIECE);
                    let slots = slots.zip(second[at].par_chunks_mut(PIECE));
                    pieces.zip(slots).for_each(|((param, gradient), (first, second))| {
                        apply(rule, param, gradient, [first, second], (lr, steps));
                    });
                }
            }
        }
    }
}

impl OptimizerState {
    /// Returns the optimiser before its first step.
    pub(super) fn new(rule: Rule, params: &[Tensor<1>]) -> Self {
        let zeros = || params.iter().map(Tensor::zeros_like).collect();
        Self { rule, slots: (0..rule.slots()).map(|_| zeros()).collect(), steps: 0 }
    }

    /// Returns the optimiser after `steps` steps, which left `slots`.
    pub(super) fn restored(rule: Rule, slots: Vec<Vec<Tensor<1>>>, steps: u64) -> Self {
        Self { rule, slots, steps }
    }

    pub(super) fn slots(&self) -> &[Vec<Tensor<1>>] {
        &self.slots
    }

    pub(super) fn slots_mut(&mut self) -> &mut [Vec<Tensor<1>>] {
        &mut self.slots
    }

    /// Takes what `other` remembers, and none of its steps.
    pub(super) fn take_slots_of(&mut self, other: Self) {
        self.slots = other.slots;
    }

    /// Returns the numbers of the next step.
    pub(super) fn next_rates(&self, lr: f64) -> Rates<f64> {
        self.rule.rates(lr, self.steps + 1)
    }

    /// Counts a step that was taken elsewhere.
    pub(super) fn count_step(&mut self) {
        self.steps += 1;
    }

    /// Moves each of `params` against its gradient. A parameter without one stays.
    pub(super) fn step(
        &mut self,
        params: &mut [Tensor<1>],
        gradients: Vec<Option<Tensor<1>>>,
        rates: &Rates,
    ) {
        self.steps += 1;
        for (at, (param, gradient)) in params.iter_mut().zip(gradients).enumerate() {
            let Some(gradient) = gradient else { continue };
            let old = param.clone();
            *param = match self.rule {
                Rule::Sgd { momentum, nesterov, weight_decay } => {
                    let mut move_by = decayed(gradient, &old, weight_decay);
                    if let Some(slot) = self.slots.first_mut() {
                        // The buffer starts at 0, which makes the first one the gradient itself.
                        let buffer = slot[at].clone().mul_scalar(momentum) + move_by.clone();
                        slot[at] = buffer.clone();
                        move_by =
                            if nesterov { move_by + buffer.mul_scalar(momentum) } else { buffer };
                    }
                    old - rates.rate.times(move_by)
                }
                Rule::Adam { weight_decay, decoupled } => {
                    let (old, gradient) = if decoupled {
                        (rates.shrink.times(old), gradient)
                    } else {
                        let gradient = decayed(gradient, &old, weight_decay);
                        (old, gradient)
                    };
                    let [first, second] = &mut self.slots[..] else {
                        unreachable!("Adam has two slots")
                    };
                    let squared = gradient.clone() * gradient.clone();
                    first[at] =
                        first[at].clone().mul_scalar(BETAS.0) + gradient.mul_scalar(1.0 - BETAS.0);
                    second[at] =
                        second[at].clone().mul_scalar(BETAS.1) + squared.mul_scalar(1.0 - BETAS.1);
                    let scale = rates.root.divides(second[at].clone().sqrt());
                    let direction = first[at].clone() / scale.add_scalar(EPSILON);
                    old - rates.rate.times(direction)
                }
            };
        }
    }
}

fn decayed(gradient: Tensor<1>, param: &Tensor<1>, weight_decay: f64) -> Tensor<1> {
    if weight_decay == 0.0 { gradient } else { gradient + param.clone().mul_scalar(weight_decay) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    // One parameter, 1.0; its gradient is 0.5, then 0.25; the learning rate 0.1.
    fn trace(rule: Rule) -> [f32; 2] {
        let device = Device::CPU.inner();
        let mut params = [Tensor::<1>::from_floats([1.0], &device)];
        let mut optimizer = OptimizerState::new(rule, &params);
        [0.5, 0.25].map(|gradient| {
            let gradient = Tensor::<1>::from_floats([gradient], &device);
            let rates = optimizer.next_rates(0.1).map(|rate| Factor::Host(*rate));
            optimizer.step(&mut params, vec![Some(gradient)], &rates);
            params[0].to_data().as_slice::<f32>().expect("it is f32")[0]
        })
    }

    fn trace_host(rule: Rule) -> [f32; 2] {
        let slots = (0..rule.slots()).map(|_| vec![vec![0.0]]).collect();
        let mut optimizer = OptimizerState { rule, slots, steps: 0 };
        let mut params = [vec![1.0]];
        [0.5, 0.25].map(|gradient| {
            optimizer.step_host(&mut params, &[vec![gradient]], 0.1);
            params[0][0]
        })
    }

    fn near(found: [f32; 2], want: [f32; 2]) {
        for (found, want) in found.into_iter().zip(want) {
            assert!((found - want).abs() < 2e-6, "{found} is not {want}");
        }
    }

    fn check(rule: Rule, want: [f32; 2]) {
        near(trace(rule), want);
        near(trace_host(rule), want);
    }

    #[test]
    fn traces_worked_by_hand() {
        // g = .5 + .01 = .51, b = .51, step .51 + .9*.51 = .969, p = .9031;
        // g = .25 + .009031 = .259031, b = .459 + .259031 = .718031, step .259031 + .6462279.
        let sgd = |nesterov| Rule::Sgd { momentum: 0.9, nesterov, weight_decay: 0.01 };
        check(sgd(true), [0.9031, 0.812_574_1]);
        // p = 1 - .051 = .949; g = .25949, b = .459 + .25949 = .71849.
        check(sgd(false), [0.949, 0.877_151]);
        check(Rule::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }, [0.95, 0.925]);
        // Step 1 is lr * g/|g|. Step 2: m = .045 + .025 = .07, /.19 = .368421;
        // v = .00024975 + .0000625 = .00031225, /.001999 = .156203, root .395225; ratio .932180.
        check(Rule::Adam { weight_decay: 0.0, decoupled: false }, [0.9, 0.806_782]);
        // Decoupled decay .1 * .1 shrinks by .99 before each: .99 - .1, then .8811 - .0932180.
        check(Rule::Adam { weight_decay: 0.1, decoupled: true }, [0.89, 0.787_882]);
    }
}
