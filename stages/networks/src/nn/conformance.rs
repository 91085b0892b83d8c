//! Tests of the numerics of training against what PyTorch and DeepCore gave.

use super::{
    Tensor,
    loss::{self, BatchWeights},
    optim::{Factor, OptimizerState, Rule},
    schedule::{Schedule, ScheduleKind},
};
use crate::device::Device;
use artifacts::units::Count;
use burn::tensor::TensorData;
use case::{Case, assert_close, floats};

#[path = "../../../methods/src/select/conformance/case.rs"]
mod case;

#[test]
fn losses_and_steps_19() {
    let case = Case::open("19_training_numerics");
    let (labels, logits) = (case.labels(), case.matrix("in_logits"));
    let (_, bytes) = case.array("in_weights", "<f8");
    let weights: Vec<f32> = bytes
        .chunks_exact(8)
        .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
        .collect();
    let shape = [logits.rows(), logits.cols()];
    let inner = Device::CPU.inner();
    let loss_of = |weights: Option<&[f32]>| {
        let weights = BatchWeights::of(weights.map(<[f32]>::to_vec), shape[0]);
        let targets = loss::targets(&labels, &weights, shape[1], 0.0);
        let targets = Tensor::<2>::from_data(TensorData::new(targets, shape), &inner);
        let data = TensorData::new(logits.data().to_vec(), shape);
        let leaf = Tensor::from_inner(Tensor::<2>::from_data(data, &inner)).require_grad();
        let loss = loss::loss(leaf.clone(), Tensor::from_inner(targets));
        let mut gradients = loss.backward();
        let gradient = leaf.grad_remove(&mut gradients).expect("it has one");
        let value = loss.to_data().as_slice::<f32>().expect("it is f32")[0];
        (f64::from(value), gradient.to_data().try_to_vec::<f32>().expect("it is f32"))
    };
    let number = |name: &str| case.expected[name].as_f64().expect("it is a number");
    let (weighted, gradient) = loss_of(Some(&weights));
    assert_close(
        [weighted, loss_of(None).0],
        &[number("weighted_loss"), number("plain_mean_loss")],
        1e-4,
        1e-6,
    );
    let row = gradient[..shape[1]].iter().map(|g| f64::from(*g));
    assert_close(row, &floats(&case.expected["weighted_loss_grad_row0"]), 1e-3, 1e-7);

    let trace = &case.expected["sgd_nesterov_trace"];
    let start: Vec<f32> = floats(&trace["w0"]).into_iter().map(|w| w as f32).collect();
    let tensor = |values: Vec<f32>| Tensor::<1>::from_data(TensorData::new(values, [2]), &inner);
    let mut params = [tensor(start)];
    let value = |name: &str| trace[name].as_f64().expect("it is a number");
    let (momentum, weight_decay) = (value("momentum"), value("weight_decay"));
    let rule = Rule::Sgd { momentum, nesterov: true, weight_decay };
    let mut optimizer = OptimizerState::new(rule, &params);
    let list = |name: &str| trace[name].as_array().expect("it is a list").clone();
    for (gradient, after) in list("grads").iter().zip(list("w_after_each_step")) {
        let gradient = tensor(floats(gradient).into_iter().map(|g| g as f32).collect());
        let rates = optimizer.next_rates(value("lr")).map(|rate| Factor::Host(*rate));
        optimizer.step(&mut params, vec![Some(gradient)], &rates);
        let found = params[0].to_data().try_to_vec::<f32>().expect("it is f32");
        assert_close(found.into_iter().map(f64::from), &floats(&after), 1e-5, 1e-6);
    }
}

#[test]
fn late_schedules_19() {
    let case = Case::open("19_training_numerics");
    let expected = case.expected.as_object().expect("it is an object");
    let names: Vec<&str> =
        expected.keys().filter_map(|name| name.strip_prefix("cosine/")).collect();
    assert!(!names.is_empty(), "the case has schedules");
    for name in names {
        let cosine = &case.expected[format!("cosine/{name}")];
        let count = |name: &str| cosine[name].as_u64().expect("it is a whole number");
        let (per_epoch, epochs) = (count("steps_per_epoch"), count("epochs"));
        let total = per_epoch * epochs;
        let rates = |schedule: Schedule| {
            let schedule = Schedule { late: true, ..schedule }.resolved(0.1);
            let rate = move |step| schedule.rate(0.1, step, per_epoch, total);
            ((0..epochs).map(|e| rate(e * per_epoch)).collect::<Vec<_>>(), rate(total - 1))
        };
        let (found, last) = rates(Schedule::default());
        assert_close(found, &floats(&cosine["lr_at_epoch_start"]), 5e-4, 0.0);
        // DeepCore's last step of 20 epochs of 5 is ten times the cosine's end, as it is late.
        let wanted = cosine["last_step_lr"].as_f64().expect("it is a number");
        assert_close([last], &[wanted], 5e-4, 0.0);
        let step = &case.expected[format!("steplr/{name}")];
        let size = step["step_size_epochs"].as_u64().expect("it is a whole number");
        let schedule = Schedule {
            kind: ScheduleKind::Step,
            step: Count::try_from(size).ok(),
            ..Default::default()
        };
        assert_close(rates(schedule).0, &floats(&step["lr_at_epoch_start"]), 5e-4, 0.0);
    }
}
