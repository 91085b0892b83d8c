//! What NumPy and PyTorch put into a pickle: arrays, numbers, texts, tensors. Anything else is passed over.

use super::{
    Array, Scalar, Values,
    npy::{Element, Layout},
    pickle::{Object, ObjectId, Pickle},
};
use std::borrow::Cow;

/// Dictionaries within dictionaries are looked into so far.
const DEEPEST: usize = 4;

/// The bytes of a tensor's storage, by its key.
pub(super) type Storages<'s> = dyn Fn(&str) -> Option<Vec<u8>> + 's;

/// Returns the arrays and texts of a pickle, each with its name: the keys that lead to it, joined by dots.
/// A pickle of a single array has one without a name. A tensor whose storage is not among `storages` is
/// passed over.
pub(super) fn columns<'a>(
    pickle: &Pickle<'a>,
    storages: &Storages<'_>,
) -> Vec<(String, Values<'a>)> {
    let mut reader = Reader { pickle, storages, found: vec![] };
    reader.look(String::new(), pickle.top(), 0);
    reader.found
}

/// Whether what was pickled is one of pandas' tables or columns.
pub(super) fn is_pandas(pickle: &Pickle<'_>) -> bool {
    let Object::Call { callable, .. } = pickle.get(pickle.top()) else { return false };
    matches!(pickle.get(*callable), Object::Global(name) if name.starts_with("pandas."))
}

struct Reader<'p, 'a> {
    pickle: &'p Pickle<'a>,
    storages: &'p Storages<'p>,
    found: Vec<(String, Values<'a>)>,
}

impl<'a> Reader<'_, 'a> {
    /// Finds what is in `id`, and in what it holds.
    fn look(&mut self, name: String, id: ObjectId, depth: usize) {
        if let Some(values) = self.values(id) {
            self.found.push((name, values));
            return;
        }
        if depth == DEEPEST {
            return;
        }
        let below = |key: &str| match name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        };
        match self.pickle.get(id) {
            Object::Dict(items) | Object::Call { items, .. } if !items.is_empty() => {
                for (key, value) in items {
                    if let Some(key) = self.key(*key) {
                        self.look(below(&key), *value, depth + 1);
                    }
                }
            }
            Object::List(members) | Object::Tuple(members) => {
                for (at, member) in members.iter().enumerate() {
                    self.look(below(&at.to_string()), *member, depth + 1);
                }
            }
            // An array of one object, as `numpy.save` makes of a dictionary.
            Object::Call { .. } => {
                if let Some([one]) = self.objects(id).as_deref() {
                    self.look(name, *one, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn key(&self, id: ObjectId) -> Option<String> {
        let number = || self.pickle.whole(id).map(|number| number.to_string());
        self.pickle.text(id).map(str::to_owned).or_else(number)
    }

    /// Returns what an object holds, if that is an array, a tensor, or a list of numbers or texts.
    fn values(&self, id: ObjectId) -> Option<Values<'a>> {
        match self.pickle.get(id) {
            Object::List(members) | Object::Tuple(members) => self.list(members),
            Object::Call { .. } => match self.objects(id) {
                Some(members) => self.list(&members),
                None => self.array(id, 0),
            },
            _ => None,
        }
    }

    /// Returns the members of NumPy's array of objects.
    fn objects(&self, id: ObjectId) -> Option<Vec<ObjectId>> {
        let (_, state) = self.numpy(id, "_reconstruct")?;
        let state = self.pickle.members(state?)?;
        match self.pickle.get(*state.get(4)?) {
            Object::List(members) => Some(members.clone()),
            _ => None,
        }
    }

    /// Returns the arguments and the state of a call of NumPy's function `name`.
    fn numpy(&self, id: ObjectId, name: &str) -> Option<(Vec<ObjectId>, Option<ObjectId>)> {
        let (callable, arguments, state) = self.pickle.call(id)?;
        // `numpy.core.multiarray`, and `numpy._core.multiarray` since version 2.
        let is_it = callable.starts_with("numpy.") && callable.ends_with(&format!(".{name}"));
        is_it.then(|| (arguments.to_vec(), state))
    }

    fn array(&self, id: ObjectId, depth: usize) -> Option<Values<'a>> {
        if let Some((_, state)) = self.numpy(id, "_reconstruct") {
            let [_, shape, dtype, columns_first, data, ..] = self.pickle.members(state?)? else {
                return None;
            };
            let fortran = *self.pickle.get(*columns_first) == Object::Bool(true);
            return self.laid_out(*shape, *dtype, fortran, self.bytes(*data)?);
        }
        if let Some((arguments, _)) = self.numpy(id, "_frombuffer") {
            let [data, dtype, shape, order, ..] = arguments[..] else { return None };
            let fortran = self.pickle.text(order) == Some("F");
            return self.laid_out(shape, dtype, fortran, self.bytes(data)?);
        }
        self.tensor(id, depth)
    }

    fn laid_out(
        &self,
        shape: ObjectId,
        dtype: ObjectId,
        fortran: bool,
        data: Cow<'a, [u8]>,
    ) -> Option<Values<'a>> {
        let (element, swapped) = self.dtype(dtype)?;
        let shape = self.pickle.sizes(shape)?;
        Layout { element, swapped, fortran, shape }.values(data).ok()
    }

    /// Returns the type of an array's elements, and whether their bytes are the other way round.
    fn dtype(&self, id: ObjectId) -> Option<(Element, bool)> {
        let (callable, arguments, state) = self.pickle.call(id)?;
        let kind = self.pickle.text(*arguments.first()?)?;
        let state = state.and_then(|state| self.pickle.members(state));
        let order = state.and_then(|state| self.pickle.text(*state.get(1)?)).unwrap_or("|");
        let order = if order == "=" { "<" } else { order };
        (callable == "numpy.dtype").then(|| Element::named(&format!("{order}{kind}")))?.ok()
    }

    fn bytes(&self, id: ObjectId) -> Option<Cow<'a, [u8]>> {
        match self.pickle.get(id) {
            Object::Bytes(bytes) => Some(bytes.clone()),
            // A bytearray is a call around its bytes.
            Object::Call { arguments, .. } => {
                self.bytes(*self.pickle.members(*arguments)?.first()?)
            }
            _ => None,
        }
    }

    /// Returns a number: Python's own, or one of NumPy's.
    fn number(&self, id: ObjectId) -> Option<PythonNumber> {
        match self.pickle.get(id) {
            Object::Float(value) => Some(PythonNumber::Float(*value)),
            Object::Int(_) | Object::Bool(_) => Some(PythonNumber::Whole(self.pickle.whole(id)?)),
            Object::Call { .. } => {
                let Values::Numbers(array) = self.scalar(id)? else { return None };
                match array.wholes() {
                    Some(wholes) => Some(PythonNumber::Whole(*wholes.first()?)),
                    None => Some(PythonNumber::Float(*array.doubles().first()?)),
                }
            }
            _ => None,
        }
    }

    /// Returns a text: Python's own, or one of NumPy's.
    fn text(&self, id: ObjectId) -> Option<String> {
        if let Some(text) = self.pickle.text(id) {
            return Some(text.to_owned());
        }
        match self.scalar(id)? {
            Values::Texts(texts) => texts.into_iter().next(),
            Values::Numbers(_) => None,
        }
    }

    /// Returns one of NumPy's numbers or texts, as an array of one.
    fn scalar(&self, id: ObjectId) -> Option<Values<'a>> {
        let (arguments, _) = self.numpy(id, "scalar")?;
        let [dtype, data, ..] = arguments[..] else { return None };
        let (element, swapped) = self.dtype(dtype)?;
        Layout { element, swapped, fortran: false, shape: vec![1] }.values(self.bytes(data)?).ok()
    }

    fn list(&self, members: &[ObjectId]) -> Option<Values<'a>> {
        if members.is_empty() {
            return None;
        }
        let texts = members.iter().map(|one| self.text(*one));
        if let Some(texts) = texts.collect::<Option<Vec<String>>>() {
            return Some(Values::Texts(texts));
        }
        let numbers = members.iter().map(|one| self.number(*one));
        if let Some(numbers) = numbers.collect::<Option<Vec<PythonNumber>>>() {
            return Some(Values::Numbers(array_of(&numbers, vec![members.len()])));
        }
        // A list of lists of the same length.
        let rows = members.iter().map(|one| self.pickle.members(*one));
        let rows = rows.collect::<Option<Vec<&[ObjectId]>>>()?;
        let width = rows.first().map(|row| row.len()).filter(|width| *width > 0)?;
        let numbers: Option<Vec<PythonNumber>> =
            rows.concat().into_iter().map(|one| self.number(one)).collect();
        let same = rows.iter().all(|row| row.len() == width);
        let array = same.then(|| Some(array_of(&numbers?, vec![members.len(), width])))??;
        Some(Values::Numbers(array))
    }

    /// Returns one of PyTorch's tensors.
    fn tensor(&self, id: ObjectId, depth: usize) -> Option<Values<'a>> {
        let (callable, arguments, _) = self.pickle.call(id)?;
        match callable {
            "torch._utils._rebuild_parameter" if depth < DEEPEST => {
                self.array(*arguments.first()?, depth + 1)
            }
            "torch._tensor._rebuild_from_type_v2" => {
                self.rebuilt(self.pickle.members(*arguments.get(2)?)?)
            }
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor" => {
                self.rebuilt(arguments)
            }
            _ => None,
        }
    }

    fn rebuilt(&self, arguments: &[ObjectId]) -> Option<Values<'a>> {
        let [storage, offset, sizes, strides, ..] = arguments else { return None };
        let Object::Persistent(name) = self.pickle.get(*storage) else { return None };
        let [_, kind, key, ..] = self.pickle.members(*name)? else { return None };
        let Object::Global(kind) = self.pickle.get(*kind) else { return None };
        let scalar = storage_scalar(kind)?;
        let data = (self.storages)(&self.key(*key)?)?;
        let offset = usize::try_from(self.pickle.whole(*offset)?).ok()?;
        let (shape, strides) = (self.pickle.sizes(*sizes)?, self.pickle.sizes(*strides)?);
        let data = strided(&data, scalar.size(), offset, &shape, &strides)?;
        Some(Values::Numbers(Array { scalar, shape, data: data.into() }))
    }
}

enum PythonNumber {
    Whole(i128),
    Float(f64),
}

/// Returns numbers as an array: of whole numbers where all are.
fn array_of<'a>(numbers: &[PythonNumber], shape: Vec<usize>) -> Array<'a> {
    let wholes: Option<Vec<i64>> = numbers
        .iter()
        .map(|number| match number {
            PythonNumber::Whole(value) => i64::try_from(*value).ok(),
            PythonNumber::Float(_) => None,
        })
        .collect();
    if let Some(wholes) = wholes {
        let data: Vec<u8> = wholes.into_iter().flat_map(i64::to_le_bytes).collect();
        return Array { scalar: Scalar::I64, shape, data: data.into() };
    }
    let floats = numbers.iter().map(|number| match number {
        PythonNumber::Whole(value) => *value as f64,
        PythonNumber::Float(value) => *value,
    });
    let data: Vec<u8> = floats.flat_map(f64::to_le_bytes).collect();
    Array { scalar: Scalar::F64, shape, data: data.into() }
}

fn storage_scalar(kind: &str) -> Option<Scalar> {
    Some(match kind.strip_prefix("torch.")?.trim_start_matches("cuda.") {
        "FloatStorage" => Scalar::F32,
        "DoubleStorage" => Scalar::F64,
        "HalfStorage" => Scalar::F16,
        "BFloat16Storage" => Scalar::Bf16,
        "LongStorage" => Scalar::I64,
        "IntStorage" => Scalar::I32,
        "ShortStorage" => Scalar::I16,
        "CharStorage" => Scalar::I8,
        "ByteStorage" => Scalar::U8,
        "BoolStorage" => Scalar::Bool,
        _ => return None,
    })
}

/// Returns the elements of `size` bytes that a tensor picks out of its storage, row by row; `None` if one is
/// beyond its end.
pub(super) fn strided(
    data: &[u8],
    size: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
) -> Option<Vec<u8>> {
    let all = shape.iter().try_fold(1usize, |all, one| all.checked_mul(*one))?;
    let bytes = all.checked_mul(size)?;
    if shape.len() != strides.len() {
        return None;
    }
    // A stride of 0 repeats an element: what comes out may be longer than what goes in, but not by surprise.
    if bytes > data.len() && strides.contains(&0) && bytes > 1 << 30 {
        return None;
    }
    let row_major = shape
        .iter()
        .zip(strides)
        .rev()
        .try_fold(1usize, |step, (n, stride)| (*n <= 1 || *stride == step).then(|| step * n));
    if row_major.is_some() {
        let from = offset.checked_mul(size)?;
        return Some(data.get(from..from.checked_add(bytes)?)?.to_vec());
    }
    let mut out = Vec::with_capacity(bytes);
    let mut place = vec![0; shape.len()];
    for _ in 0..all {
        let at = place.iter().zip(strides).try_fold(offset, |at, (place, stride)| {
            at.checked_add(usize::checked_mul(*place, *stride)?)
        });
        let from = at?.checked_mul(size)?;
        out.extend_from_slice(data.get(from..from.checked_add(size)?)?);
        for (place, n) in place.iter_mut().zip(shape).rev() {
            *place += 1;
            if *place < *n {
                break;
            }
            *place = 0;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_pick_rows_out_of_a_storage() {
        let data: Vec<u8> = (0..12).collect();
        let picked =
            |offset, shape: &[usize], strides: &[usize]| strided(&data, 1, offset, shape, strides);
        assert_eq!(picked(2, &[2, 3], &[3, 1]), Some(vec![2, 3, 4, 5, 6, 7]));
        assert_eq!(picked(0, &[3, 2], &[1, 3]), Some(vec![0, 3, 1, 4, 2, 5]));
        assert_eq!(picked(5, &[2, 2], &[0, 1]), Some(vec![5, 6, 5, 6]));
        assert_eq!(picked(10, &[3], &[1]), None);
        assert_eq!(picked(0, &[usize::MAX, 2], &[1, 1]), None);
    }
}
