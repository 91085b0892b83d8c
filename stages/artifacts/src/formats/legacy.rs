//! What `torch.save` wrote before PyTorch 1.6, and writes with `_use_new_zipfile_serialization=False`: pickles one
//! behind the other, and then the storages.

use super::{
    FormatError,
    pickle::{Object, Pickle, PickleError},
    python::{self, Decoded, Storages},
};
use std::collections::BTreeMap;

/// What such a file begins with: a pickle of the number 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Returns the tensors of a file, each with its name; `None` if it does not begin as such files do.
pub(super) fn tensors(bytes: &[u8]) -> Result<Option<Decoded<'static>>, FormatError> {
    if !bytes.starts_with(MAGIC) {
        return Ok(None);
    }
    let mut rest = &bytes[MAGIC.len()..];
    let _protocol = next(&mut rest)?;
    let system = next(&mut rest)?;
    let program = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let scalars = python::storages(&program);
    let mut parts: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for key in keys.members(keys.top()).unwrap_or_default() {
        // Behind a storage whose elements have an unknown size nothing is found.
        let Some((key, scalar)) = keys.text(*key).and_then(|key| Some((key, scalars.get(key)?)))
        else {
            break;
        };
        let (count, behind) = rest.split_first_chunk().ok_or(PickleError::Cut)?;
        let bytes = usize::try_from(u64::from_le_bytes(*count)).ok();
        let bytes = bytes.and_then(|count| count.checked_mul(scalar.size()));
        let part = bytes.and_then(|bytes| behind.split_at_checked(bytes));
        let (part, behind) = part.ok_or(PickleError::Cut)?;
        parts.insert(key, part);
        rest = behind;
    }
    let read = |key: &str| parts.get(key).map(|part| part.to_vec());
    let all =
        python::columns(&program, &Storages { read: &read, big_endian: is_big_endian(&system) });
    if all.found.is_empty() { Err(all.nothing()) } else { Ok(Some(all.into_owned())) }
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<Pickle<'a>, PickleError> {
    let pickle = Pickle::read(rest)?;
    *rest = rest.get(pickle.length..).unwrap_or_default();
    Ok(pickle)
}

fn is_big_endian(system: &Pickle<'_>) -> bool {
    let Object::Dict(items) = system.get(system.top()) else { return false };
    let is_it =
        |(key, _): &&(super::ObjectId, super::ObjectId)| system.text(*key) == Some("little_endian");
    items.iter().find(is_it).is_some_and(|(_, value)| system.whole(*value) == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{DataFile, Values};
    use std::path::Path;

    #[test]
    fn storages_stand_behind_the_pickles() {
        // torch.save({'x': torch.tensor([[1.], [2.]])}, ..., _use_new_zipfile_serialization=False).
        let file = |little: &[u8], storage: &[u8]| {
            let protocol = b"\x80\x02M\xe9\x03.";
            let system = [b"\x80\x02}X\x0d\x00\x00\x00little_endian", little, b"s."].concat();
            let program = b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00\
                storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpuK\x02NtQK\x00K\x02K\x01\
                \x86K\x01K\x01\x86\x89NtRs.";
            let keys = b"\x80\x02]X\x01\x00\x00\x007a.";
            let count = 2_u64.to_le_bytes();
            let parts = [MAGIC, protocol, &system, program, keys, &count, storage];
            DataFile::new(Path::new("a.pt"), parts.concat())
        };
        let little: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|one| one.to_le_bytes()).collect();
        let big: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|one| one.to_be_bytes()).collect();
        for (flag, storage) in [(b"\x88", &little), (b"\x89", &big)] {
            let file = file(flag, storage).expect("it is one of PyTorch's");
            let Ok(Values::Numbers(x)) = file.get("x") else { panic!("it is a tensor") };
            assert_eq!((x.shape.clone(), x.floats()), (vec![2, 1], Some(vec![1.0, 2.0])));
        }
        assert!(file(b"\x88", &little[..7]).is_err());
    }
}
