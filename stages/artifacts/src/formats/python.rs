//! What NumPy and PyTorch put into a pickle: arrays, numbers, texts, tensors. Anything else is passed over.

use super::{
    Array, FormatError, Scalar, Values,
    npy::{Element, Layout},
    pickle::{Object, ObjectId, Pickle},
};
use std::{borrow::Cow, collections::BTreeMap};

/// Dictionaries within dictionaries are looked into so far.
const DEEPEST: usize = 4;

/// What tensors' elements lie in.
pub(super) struct Storages<'s> {
    /// Returns the bytes of a tensor's storage, by its key.
    pub(super) read: &'s dyn Fn(&str) -> Option<Vec<u8>>,
    /// Whether the bytes of an element begin with the most significant one.
    pub(super) big_endian: bool,
}

impl Storages<'static> {
    /// There are none.
    pub(super) const NONE: Self = Self { read: &|_| None, big_endian: false };
}

/// What a file holds: arrays and texts, each with its name.
#[derive(Debug, Default)]
pub(super) struct Decoded<'a> {
    pub(super) found: Vec<(String, Values<'a>)>,
    /// The names of what is an array or a list, and is not read.
    pub(super) unread: Vec<String>,
}

impl Decoded<'_> {
    /// Returns what is wrong with a file that holds nothing that is read.
    pub(super) fn nothing(&self) -> FormatError {
        match self.unread.first() {
            Some(name) => FormatError::UnreadArray { name: name.clone() },
            None => FormatError::NoArrays,
        }
    }

    /// Returns the same, independent of what it was read from.
    pub(super) fn into_owned(self) -> Decoded<'static> {
        let found = self.found.into_iter();
        let found = found.map(|(name, values)| (name, values.into_owned())).collect();
        Decoded { found, unread: self.unread }
    }
}

/// Returns the arrays and texts of a pickle, each with its name: the keys that lead to it, joined by dots.
/// A pickle of a single array has one without a name. A tensor whose storage is not among `storages` is
/// not read.
pub(super) fn columns<'a>(pickle: &Pickle<'a>, storages: &Storages<'_>) -> Decoded<'a> {
    let mut reader = Reader { pickle, storages, decoded: Decoded::default() };
    reader.look(String::new(), pickle.top(), 0);
    reader.decoded
}

/// Whether what was pickled is one of pandas' tables or columns.
pub(super) fn is_pandas(pickle: &Pickle<'_>) -> bool {
    let Object::Call { callable, .. } = pickle.get(pickle.top()) else { return false };
    matches!(pickle.get(*callable), Object::Global(name) if name.starts_with("pandas."))
}

struct Reader<'p, 'a> {
    pickle: &'p Pickle<'a>,
    storages: &'p Storages<'p>,
    decoded: Decoded<'a>,
}

impl<'a> Reader<'_, 'a> {
    /// Finds what is in `id`, and in what it holds.
    fn look(&mut self, name: String, id: ObjectId, depth: usize) {
        if let Some(values) = self.values(id) {
            self.decoded.found.push((name, values));
            return;
        }
        if self.is_array(id) && self.objects(id).is_none() {
            self.decoded.unread.push(name);
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
            // An array of one object, as `numpy.save` makes of a dictionary; or an object with its fields.
            Object::Call { state, .. } => match (self.objects(id).as_deref(), state) {
                (Some([one]), _) => self.look(name, *one, depth + 1),
                (Some(_), _) => self.decoded.unread.push(name),
                (None, Some(state)) if matches!(self.pickle.get(*state), Object::Dict(_)) => {
                    self.look(name, *state, depth + 1);
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// Whether an object is one of NumPy's arrays or PyTorch's tensors.
    fn is_array(&self, id: ObjectId) -> bool {
        let Some((callable, _, _)) = self.pickle.call(id) else { return false };
        callable.starts_with("torch._utils._rebuild_")
            || callable == "torch._tensor._rebuild_from_type_v2"
            || (callable.starts_with("numpy.") && callable.ends_with("._reconstruct"))
            || (callable.starts_with("numpy.") && callable.ends_with("._frombuffer"))
    }

    fn key(&self, id: ObjectId) -> Option<String> {
        let number = || self.pickle.whole(id).map(|number| number.to_string());
        self.pickle.text(id).map(str::to_owned).or_else(number)
    }

    /// Returns what an object holds, if that is an array, a tensor, or a list of numbers or texts.
    fn values(&self, id: ObjectId) -> Option<Values<'a>> {
        match self.pickle.get(id) {
            Object::List(members) => self.list(members).or_else(|| self.stacked(members)),
            Object::Tuple(members) => self.list(members),
            Object::Call { .. } => match self.objects(id) {
                Some(members) => self.list(&members).or_else(|| self.stacked(&members)),
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

    /// Returns arrays of one dimension and the same length below each other.
    fn stacked(&self, members: &[ObjectId]) -> Option<Values<'a>> {
        let mut all: Option<(Scalar, usize, Vec<u8>)> = None;
        for member in members {
            let Values::Numbers(Array { scalar, shape, data }) = self.array(*member, 0)? else {
                return None;
            };
            let [width] = shape[..] else { return None };
            match &mut all {
                None => all = Some((scalar, width, data.into_owned())),
                Some((first, wanted, all)) if (*first, *wanted) == (scalar, width) => {
                    all.extend_from_slice(&data);
                }
                Some(_) => return None,
            }
        }
        let (scalar, width, data) = all.filter(|(_, width, _)| *width > 0)?;
        let shape = vec![members.len(), width];
        Some(Values::Numbers(Array { scalar, shape, data: data.into() }))
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
            "torch._utils._rebuild_tensor_v2"
            | "torch._utils._rebuild_tensor_v3"
            | "torch._utils._rebuild_tensor" => self.rebuilt(arguments),
            _ => None,
        }
    }

    fn rebuilt(&self, arguments: &[ObjectId]) -> Option<Values<'a>> {
        let [storage, offset, sizes, strides, ..] = arguments else { return None };
        let Object::Persistent(name) = self.pickle.get(*storage) else { return None };
        let [_, kind, key, ..] = self.pickle.members(*name)? else { return None };
        let Object::Global(kind) = self.pickle.get(*kind) else { return None };
        // Newer types have their name behind, and a storage of bytes.
        let named = arguments.get(6).and_then(|dtype| match self.pickle.get(*dtype) {
            Object::Global(dtype) => Some(dtype.as_str()),
            _ => None,
        });
        let scalar = named.map_or_else(|| storage_scalar(kind), dtype_scalar)?;
        // A view that turns signs round says so behind.
        if arguments[4..].iter().any(|one| self.is_negated(*one)) {
            return None;
        }
        let mut data = (self.storages.read)(&self.key(*key)?)?;
        if self.storages.big_endian {
            data.chunks_exact_mut(scalar.size()).for_each(<[u8]>::reverse);
        }
        let offset = usize::try_from(self.pickle.whole(*offset)?).ok()?;
        let (shape, strides) = (self.pickle.sizes(*sizes)?, self.pickle.sizes(*strides)?);
        let data = strided(&data, scalar.size(), offset, &shape, &strides)?;
        Some(Values::Numbers(Array { scalar, shape, data: data.into() }))
    }

    fn is_negated(&self, id: ObjectId) -> bool {
        let Object::Dict(items) = self.pickle.get(id) else { return false };
        let is_neg = |(key, value): &(ObjectId, ObjectId)| {
            self.pickle.text(*key) == Some("neg") && self.pickle.whole(*value) == Some(1)
        };
        items.iter().any(is_neg)
    }
}

/// Returns the type of the elements in each storage that a pickle names, by its key.
pub(super) fn storages(pickle: &Pickle<'_>) -> BTreeMap<String, Scalar> {
    let one = |object: &Object<'_>| {
        let Object::Persistent(name) = object else { return None };
        let [_, kind, key, ..] = pickle.members(*name)? else { return None };
        let Object::Global(kind) = pickle.get(*kind) else { return None };
        Some((pickle.text(*key)?.to_owned(), storage_scalar(kind)?))
    };
    pickle.objects().filter_map(one).collect()
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

fn dtype_scalar(dtype: &str) -> Option<Scalar> {
    Some(match dtype.strip_prefix("torch.")? {
        "uint16" => Scalar::U16,
        "uint32" => Scalar::U32,
        "uint64" => Scalar::U64,
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

    /// Returns what a pickle holds: the names, and what of it is not read.
    fn names(pickle: &[u8]) -> (Vec<(String, Vec<usize>)>, Vec<String>) {
        let pickle = Pickle::read(pickle).expect("it reads");
        let read = |_: &str| Some(vec![0; 64]);
        let all = columns(&pickle, &Storages { read: &read, big_endian: false });
        let shape = |values: Values<'_>| match values {
            Values::Numbers(array) => array.shape,
            Values::Texts(texts) => vec![texts.len()],
        };
        (all.found.into_iter().map(|(name, one)| (name, shape(one))).collect(), all.unread)
    }

    #[test]
    fn what_is_not_read_is_not_passed_over() {
        // {'x': TENSOR, 'y': [1]}, the tensor of so many complex numbers, or a negated view.
        let tensor = |kind: &str, more: &str| {
            let rest = "(Vstorage\nctorch\nKIND\nV0\nVcpu\nI4\ntQI0\n(I4\nt(I1\ntI00\nNMOREtR";
            rest.replace("KIND", kind).replace("MORE", more)
        };
        for (tensor, unread) in [
            (tensor("FloatStorage", ""), vec![]),
            (tensor("ComplexFloatStorage", ""), vec!["x".to_owned()]),
            (tensor("FloatStorage", "(dVneg\nI01\ns"), vec!["x".to_owned()]),
        ] {
            let pickle =
                format!("(dVx\nctorch._utils\n_rebuild_tensor_v2\n({tensor}sVy\n(lI1\nas.");
            let (found, left) = names(pickle.as_bytes());
            assert_eq!((found.last(), left), (Some(&("y".to_owned(), vec![1])), unread));
        }
        let row = tensor("FloatStorage", "");
        let rows = format!("ctorch._utils\n_rebuild_tensor_v2\n({row}");
        let stacked = names(format!("(l{rows}a{rows}a.").as_bytes()).0;
        assert_eq!(stacked, [(String::new(), vec![2, 4])]);
    }

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
