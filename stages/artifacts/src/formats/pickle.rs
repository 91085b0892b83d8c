//! A reader of Python's pickles, protocols 0 to 5, that runs no code: what a pickle would call is kept as a
//! name with its arguments, and whoever reads it decides what that stands for.
//!
//! Written here because the crates for it either refuse what NumPy and PyTorch write (calls, persistent
//! storage) or bring a tensor library.

mod machine;

use machine::Machine;
use std::borrow::Cow;
use thiserror::Error;

/// The place of an object of a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId(usize);

/// An object of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Object<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number of at most 128 bits.
    Int(i128),
    /// A float.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Bytes, or a text of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// A list, or a set.
    List(Vec<ObjectId>),
    /// A tuple.
    Tuple(Vec<ObjectId>),
    /// A dictionary, in the order of its keys.
    Dict(Vec<(ObjectId, ObjectId)>),
    /// A class or function, such as `numpy.dtype`.
    Global(String),
    /// What a call gives: its function, its arguments, and what was put into the result.
    Call {
        /// What is called.
        callable: ObjectId,
        /// Its arguments, a tuple.
        arguments: ObjectId,
        /// What its `__setstate__` is given.
        state: Option<ObjectId>,
        /// Items put into it as into a dictionary.
        items: Vec<(ObjectId, ObjectId)>,
    },
    /// An object that is kept elsewhere, by what names it.
    Persistent(ObjectId),
}

/// What is wrong with a pickle: a clause that follows the file's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It ends too early.
    #[error("is a pickle that is cut short")]
    Cut,
    /// It has an instruction that is not known, or not read.
    #[error("is a pickle with the instruction {code:#04x} at byte {at}, which is not read")]
    Instruction {
        /// The instruction.
        code: u8,
        /// Where it stands.
        at: usize,
    },
    /// Its instructions contradict each other.
    #[error("is a broken pickle: {what} at byte {at}")]
    Broken {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: usize,
    },
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    top: ObjectId,
    /// How many bytes it takes.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    ///
    /// Says what does not read.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        let mut machine = Machine::new(bytes);
        let top = machine.run()?;
        Ok(Self { objects: machine.objects, top, length: machine.at })
    }

    /// Returns the object that was pickled.
    pub fn top(&self) -> ObjectId {
        self.top
    }

    /// Returns all objects it names.
    pub fn objects(&self) -> impl Iterator<Item = &Object<'a>> {
        self.objects.iter()
    }

    /// Returns an object.
    pub fn get(&self, id: ObjectId) -> &Object<'a> {
        &self.objects[id.0]
    }

    /// Returns a text; one of Python 2 too.
    pub fn text(&self, id: ObjectId) -> Option<&str> {
        match self.get(id) {
            Object::Text(text) => Some(text),
            Object::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Returns a whole number.
    pub fn whole(&self, id: ObjectId) -> Option<i128> {
        match self.get(id) {
            Object::Int(value) => Some(*value),
            Object::Bool(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// Returns the members of a tuple or a list.
    pub fn members(&self, id: ObjectId) -> Option<&[ObjectId]> {
        match self.get(id) {
            Object::Tuple(all) | Object::List(all) => Some(all),
            _ => None,
        }
    }

    /// Returns a list of whole numbers from 0, such as a shape.
    pub fn sizes(&self, id: ObjectId) -> Option<Vec<usize>> {
        let sizes = self.members(id)?.iter().map(|one| usize::try_from(self.whole(*one)?).ok());
        sizes.collect()
    }

    /// Returns the function and the arguments of a call, and the state that was set.
    pub fn call(&self, id: ObjectId) -> Option<(&str, &[ObjectId], Option<ObjectId>)> {
        let Object::Call { callable, arguments, state, .. } = self.get(id) else { return None };
        let Object::Global(name) = self.get(*callable) else { return None };
        Some((name, self.members(*arguments)?, *state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a pickle's object as Python would print it.
    fn shown(pickle: &Pickle<'_>, id: ObjectId) -> String {
        let all = |ids: &[ObjectId]| -> String {
            ids.iter().map(|id| shown(pickle, *id)).collect::<Vec<_>>().join(", ")
        };
        match pickle.get(id) {
            Object::None => "None".to_owned(),
            Object::Bool(value) => value.to_string(),
            Object::Int(value) => value.to_string(),
            Object::Float(value) => value.to_string(),
            Object::Text(text) => format!("'{text}'"),
            Object::Bytes(bytes) => format!("b{bytes:?}"),
            Object::List(members) => format!("[{}]", all(members)),
            Object::Tuple(members) => format!("({})", all(members)),
            Object::Dict(items) => {
                let pair = |(k, v): &(ObjectId, ObjectId)| {
                    format!("{}: {}", shown(pickle, *k), shown(pickle, *v))
                };
                format!("{{{}}}", items.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Object::Global(name) => name.clone(),
            Object::Call { callable, arguments, .. } => {
                format!("{}{}", shown(pickle, *callable), shown(pickle, *arguments))
            }
            Object::Persistent(name) => format!("<{}>", shown(pickle, *name)),
        }
    }

    #[test]
    fn every_protocol_gives_the_same_object() {
        // pickle.dumps({'a': [1, -2, 300, 70000, 2.5, None, True], 'b': ('x', 2**40)}, protocol=P)
        let wanted = "{'a': [1, -2, 300, 70000, 2.5, None, true], 'b': ('x', 1099511627776)}";
        let zero =
            b"(dp0\nVa\np1\n(lp2\nI1\naI-2\naI300\naI70000\naF2.5\naNaI01\nasVb\np3\n(Vx\np4\n\
            L1099511627776L\ntp5\ns.";
        let two = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00G@\
            \x04\x00\x00\x00\x00\x00\x00N\x88eX\x01\x00\x00\x00bq\x03X\x01\x00\x00\x00xq\x04\x8a\x06\x00\x00\
            \x00\x00\x00\x01\x86q\x05u.";
        let four = b"\x80\x04\x95:\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffM\
            ,\x01Jp\x11\x01\x00G@\x04\x00\x00\x00\x00\x00\x00N\x88e\x8c\x01b\x94\x8c\x01x\x94\x8a\x06\x00\x00\
            \x00\x00\x00\x01\x86\x94u.";
        for bytes in [&zero[..], two, four] {
            let pickle = Pickle::read(bytes).expect("Python wrote it");
            assert_eq!(shown(&pickle, pickle.top()), wanted);
            assert_eq!(pickle.length, bytes.len());
            for cut in 0..bytes.len() {
                assert!(Pickle::read(&bytes[..cut]).is_err(), "{cut} bytes");
            }
        }
    }

    #[test]
    fn what_would_run_is_kept_as_a_name() {
        let bytes = b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.";
        let pickle = Pickle::read(bytes).expect("it reads");
        assert_eq!(shown(&pickle, pickle.top()), "os.system('ls')");
        let latin =
            b"\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00a\xc3\xbfX\x06\x00\x00\x00latin1\x86R.";
        let pickle = Pickle::read(latin).expect("it reads");
        assert_eq!(pickle.get(pickle.top()), &Object::Bytes(b"a\xff"[..].into()));
        let raw = Pickle::read(b"Va\xff\\u20ac\\u000a\\x\n.").expect("it reads");
        assert_eq!(raw.text(raw.top()), Some("a\u{ff}\u{20ac}\n\\x"));
        let odd = Pickle::read(b"\x80\x05\x97.").expect_err("buffers out of band are not read");
        assert_eq!(odd, PickleError::Instruction { code: 0x97, at: 2 });
        assert!(Pickle::read(b"a.").is_err() && Pickle::read(b"h\x00.").is_err());
    }
}
