//! DeepFool as DeepCore runs it.

use crate::score::deepfool::{BoundaryDistance, DeepFool, InputGradients};
use artifacts::units::{Count, NonNegative};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the boundary is looked for: among all classes, and never overshot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct DeepCoreDeepFool {
    /// After how many steps a sample is left where it is.
    pub iterations: Count,
}

impl Default for DeepCoreDeepFool {
    fn default() -> Self {
        Self { iterations: DeepFool::default().iterations }
    }
}

impl BoundaryDistance for DeepCoreDeepFool {
    const NAME: &'static str = "score.deepcore.deepfool";
    const SUMMARY: &'static str =
        "DeepFool as DeepCore runs it: the squared distance; near is hard";
    const REVISION: u32 = 1;
    const MANUAL: &'static str = "\
`score.deepfool`, but the length is squared, no step goes further than the boundary, and every class is looked
at. The square changes no ranking; the missing overshoot makes some samples take all 50 steps. Release
of February 2023 (commit 74ec709); that of 2022 does the same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `score.deepfool`.";

    fn distances(&self, network: &mut dyn InputGradients, start: Vec<f32>) -> Vec<f32> {
        let all = Count::try_from(network.classes() as u64).expect("a network has classes");
        let overshoot = NonNegative::try_from(0.0).expect("0 is not negative");
        let rule = DeepFool { iterations: self.iterations, candidates: all, overshoot };
        rule.squares(network, start).into_iter().map(|square| square as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::deepfool::tests::Line;

    #[test]
    fn squares_of_distances_to_a_line_worked_by_hand() {
        // |3x + 4y - 5| / 5: 1 at the origin, 2 at (5, 0); nothing moves (10, 0).
        let points = vec![0.0, 0.0, 5.0, 0.0, 10.0, 0.0];
        let squares = DeepCoreDeepFool::default().distances(&mut Line, points);
        assert!((squares[0] - 1.0).abs() < 1e-4 && (squares[1] - 4.0).abs() < 1e-4, "{squares:?}");
        assert!(squares[2].is_infinite());
    }
}
