//! Other training samples made of those a data set has: fewer, in another order, or some of them twice.

use super::{CleanLabels, Dataset, Inputs};
use crate::SampleId;

impl Inputs {
    /// Returns the samples at `from`, in that order, of `each` elements.
    fn take(&self, from: &[SampleId], each: usize) -> Self {
        fn gather<T: Copy>(all: &[T], from: &[SampleId], each: usize) -> Vec<T> {
            let mut out = Vec::with_capacity(from.len() * each);
            from.iter().for_each(|at| out.extend_from_slice(&all[at.index() * each..][..each]));
            out
        }
        match self {
            Self::Images(all) => Self::Images(gather(all, from, each).into()),
            Self::Features(all) => Self::Features(gather(all, from, each)),
        }
    }
}

impl Dataset {
    /// Makes the training sample at each position that which was at `from` there, with its label and all
    /// that is known about it. A sample that is not in `from` is gone.
    ///
    /// # Panics
    ///
    /// Panics if a sample of `from` is not in the training set.
    pub fn take(&mut self, from: &[SampleId]) {
        let each = self.meta.each();
        self.train.inputs = self.train.inputs.take(from, each);
        self.train.labels = picked(&self.train.labels, from);
        self.meta.train = from.len();
        if let Some(clean) = &mut self.clean {
            *clean = clean.take(from);
        }
        if let Some(groups) = &mut self.groups {
            groups.train = picked(&groups.train, from);
        }
        if let Some(origins) = &mut self.origins {
            *origins = origins.take(from);
        }
        if let Some(columns) = &mut self.columns {
            *columns = columns.take(from);
        }
        if let Some(rows) = &mut self.rows {
            *rows = rows.take(from);
        }
    }
}

impl CleanLabels {
    fn take(&self, from: &[SampleId]) -> Self {
        let was = |old: &SampleId| self.touched.binary_search(old).is_ok();
        let pairs = SampleId::all(from.len()).zip(from);
        let touched = pairs.filter(|(_, old)| was(old)).map(|(new, _)| new).collect();
        Self { labels: picked(&self.labels, from), touched }
    }
}

/// Returns the values at `from`, in that order.
fn picked<T: Copy>(all: &[T], from: &[SampleId]) -> Vec<T> {
    from.iter().map(|at| all[at.index()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ClassId, GroupId,
        columns::SampleColumns,
        dataset::{DatasetMeta, Groups, Split},
    };

    #[test]
    fn what_is_known_about_a_sample_goes_with_it() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let meta = DatasetMeta {
            name: "three".into(),
            classes: names.to_vec(),
            sample: vec![2],
            train: 3,
            test: 1,
            mean: vec![0.0],
            std: vec![1.0],
            space: None,
        };
        let split = |values: &[f32], labels: &[u32]| Split {
            inputs: Inputs::Features(values.to_vec()),
            labels: ClassId::list(labels.to_vec()),
        };
        let mut data = Dataset {
            meta,
            train: split(&[0.0, 0.1, 1.0, 1.1, 2.0, 2.1], &[0, 1, 2]),
            test: split(&[9.0, 9.1], &[1]),
            clean: Some(CleanLabels {
                labels: ClassId::list([1, 1, 2]),
                touched: SampleId::list([0]),
            }),
            groups: Some(Groups {
                names: names.to_vec(),
                train: GroupId::list([2, 1, 0]),
                test: GroupId::list([1]),
            }),
            origins: None,
            columns: Some(SampleColumns {
                ids: Some(names.to_vec()),
                counts: [("tokens".to_owned(), vec![7, 8, 9])].into(),
            }),
            rows: None,
        };
        data.take(&SampleId::list([2, 0, 0]));
        assert_eq!(data.meta.train, 3);
        assert_eq!(data.train, split(&[2.0, 2.1, 0.0, 0.1, 0.0, 0.1], &[2, 0, 0]));
        let clean =
            CleanLabels { labels: ClassId::list([2, 1, 1]), touched: SampleId::list([1, 2]) };
        assert_eq!(data.clean, Some(clean));
        let groups = data.groups.as_ref().expect("they stay");
        assert_eq!(groups.train, GroupId::list([0, 2, 2]));
        assert_eq!(groups.test, GroupId::list([1]));
        let columns = data.columns.as_ref().expect("they stay");
        assert_eq!(columns.ids.as_deref(), Some(&["c", "a", "a"].map(str::to_owned)[..]));
        assert_eq!(columns.counts["tokens"], [9, 7, 7]);
        data.take(&SampleId::list([1]));
        assert_eq!((data.meta.train, data.train.labels.clone()), (1, ClassId::list([0])));
        assert_eq!(data.test, split(&[9.0, 9.1], &[1]));
    }
}
