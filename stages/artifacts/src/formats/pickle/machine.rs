//! The stack machine that a pickle is a program for.

use super::{Object, ObjectId, PickleError};
use std::collections::BTreeMap;

/// The stack machine that a pickle is a program for.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    /// Where the next instruction is.
    pub(super) at: usize,
    pub(super) objects: Vec<Object<'a>>,
    /// Objects, and `None` for a mark.
    stack: Vec<Option<ObjectId>>,
    memo: BTreeMap<u64, ObjectId>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, objects: vec![], stack: vec![], memo: BTreeMap::new() }
    }

    fn broken(&self, what: &'static str) -> PickleError {
        PickleError::Broken { what, at: self.at }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(n).ok_or(PickleError::Cut)?;
        let taken = self.bytes.get(self.at..end).ok_or(PickleError::Cut)?;
        self.at = end;
        Ok(taken)
    }

    /// Takes a little-endian number of `n` bytes, at most 8.
    fn number(&mut self, n: usize) -> Result<u64, PickleError> {
        let bytes = self.take(n)?;
        Ok(bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    }

    /// Takes a length of `n` bytes, and as many bytes as it says.
    fn counted(&mut self, n: usize) -> Result<&'a [u8], PickleError> {
        let length = self.number(n)?;
        self.take(usize::try_from(length).map_err(|_| PickleError::Cut)?)
    }

    /// Takes the bytes before the end of the line.
    fn raw_line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(PickleError::Cut)?;
        self.at += end + 1;
        Ok(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }

    /// Takes what stands before the end of the line.
    fn line(&mut self) -> Result<&'a str, PickleError> {
        let line = self.raw_line()?;
        std::str::from_utf8(line).map_err(|_| self.broken("a line is no text"))
    }

    fn text(&self, bytes: &'a [u8]) -> Result<Object<'a>, PickleError> {
        // Python lets lone surrogates through; what they stand for is no text.
        let text = std::str::from_utf8(bytes).map_err(|_| self.broken("a text is not UTF-8"))?;
        Ok(Object::Text(text.into()))
    }

    fn push(&mut self, object: Object<'a>) -> Result<(), PickleError> {
        self.objects.push(object);
        self.stack.push(Some(ObjectId(self.objects.len() - 1)));
        Ok(())
    }

    fn pop(&mut self) -> Result<ObjectId, PickleError> {
        self.stack.pop().flatten().ok_or_else(|| self.broken("the stack is empty"))
    }

    fn last(&self) -> Result<ObjectId, PickleError> {
        self.stack.last().copied().flatten().ok_or_else(|| self.broken("the stack is empty"))
    }

    /// Takes what lies above the last mark, and the mark.
    fn marked(&mut self) -> Result<Vec<ObjectId>, PickleError> {
        let mark = self.stack.iter().rposition(Option::is_none);
        let mark = mark.ok_or_else(|| self.broken("there is no mark"))?;
        let above = self.stack.split_off(mark);
        Ok(above.into_iter().flatten().collect())
    }

    fn pairs(&mut self) -> Result<Vec<(ObjectId, ObjectId)>, PickleError> {
        let all = self.marked()?;
        let (pairs, rest) = all.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|pair| (pair[0], pair[1])).collect())
        } else {
            Err(self.broken("a key has no value"))
        }
    }

    fn call(&mut self, callable: ObjectId, arguments: ObjectId) -> Result<(), PickleError> {
        let latin = self.encoded(callable, arguments);
        self.push(match latin {
            Some(bytes) => Object::Bytes(bytes.into()),
            None => Object::Call { callable, arguments, state: None, items: vec![] },
        })
    }

    /// Returns the bytes that protocol 2 writes as a text to be encoded in Latin-1.
    fn encoded(&self, callable: ObjectId, arguments: ObjectId) -> Option<Vec<u8>> {
        let is_encode =
            matches!(&self.objects[callable.0], Object::Global(name) if name == "_codecs.encode");
        let Object::Tuple(all) = &self.objects[arguments.0] else { return None };
        match (is_encode, all.first().map(|first| &self.objects[first.0])) {
            (true, Some(Object::Text(text))) => {
                text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
            }
            _ => None,
        }
    }

    fn set_items(&mut self, pairs: Vec<(ObjectId, ObjectId)>) -> Result<(), PickleError> {
        let into = self.last()?;
        match &mut self.objects[into.0] {
            Object::Dict(items) | Object::Call { items, .. } => items.extend(pairs),
            _ => return Err(self.broken("items are put into what is no dictionary")),
        }
        Ok(())
    }

    fn append(&mut self, all: Vec<ObjectId>) -> Result<(), PickleError> {
        let into = self.last()?;
        match &mut self.objects[into.0] {
            Object::List(members) => members.extend(all),
            // Something that behaves like a list; what is in it is not looked at.
            Object::Call { .. } => {}
            _ => return Err(self.broken("members are added to what is no list")),
        }
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<(), PickleError> {
        let last = self.last()?;
        self.memo.insert(key, last);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), PickleError> {
        let id = self.memo.get(&key).ok_or_else(|| self.broken("the memo lacks an entry"))?;
        self.stack.push(Some(*id));
        Ok(())
    }

    fn key_in_line(&mut self) -> Result<u64, PickleError> {
        let line = self.line()?;
        line.parse().map_err(|_| self.broken("a memo's key is no number"))
    }

    /// Runs to the end. Returns what is then on the stack.
    pub(super) fn run(&mut self) -> Result<ObjectId, PickleError> {
        loop {
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.pop();
            }
            if !(self.constant(code)? || self.container(code)? || self.machinery(code)?) {
                return Err(PickleError::Instruction { code, at: self.at - 1 });
            }
        }
    }

    /// Does an instruction that pushes a constant; returns whether `code` is one.
    fn constant(&mut self, code: u8) -> Result<bool, PickleError> {
        let object = match code {
            b'N' => Object::None,
            0x88 => Object::Bool(true),
            0x89 => Object::Bool(false),
            b'J' => Object::Int(i128::from(self.number(4)? as u32 as i32)),
            b'K' => Object::Int(i128::from(self.number(1)?)),
            b'M' => Object::Int(i128::from(self.number(2)?)),
            0x8a => {
                let bytes = self.counted(1)?;
                Object::Int(self.long(bytes)?)
            }
            0x8b => {
                let bytes = self.counted(4)?;
                Object::Int(self.long(bytes)?)
            }
            b'I' | b'L' => match self.line()? {
                "00" => Object::Bool(false),
                "01" => Object::Bool(true),
                line => {
                    let number = line.trim_end_matches('L').parse();
                    Object::Int(number.map_err(|_| self.broken("a number is none"))?)
                }
            },
            b'G' => {
                let bits = self.number(8)?.swap_bytes();
                Object::Float(f64::from_bits(bits))
            }
            b'F' => {
                let line = self.line()?;
                Object::Float(line.parse().map_err(|_| self.broken("a number is none"))?)
            }
            0x8c => {
                let bytes = self.counted(1)?;
                self.text(bytes)?
            }
            b'X' => {
                let bytes = self.counted(4)?;
                self.text(bytes)?
            }
            0x8d => {
                let bytes = self.counted(8)?;
                self.text(bytes)?
            }
            b'V' => Object::Text(raw_unicode(self.raw_line()?).into()),
            b'S' => {
                let line = self.line()?.trim();
                let inside =
                    line.strip_prefix(['\'', '"']).and_then(|l| l.strip_suffix(['\'', '"']));
                let inside = inside.ok_or_else(|| self.broken("a text has no quotes"))?;
                Object::Bytes(unescaped(inside).into())
            }
            b'U' | b'C' => Object::Bytes(self.counted(1)?.into()),
            b'T' | b'B' => Object::Bytes(self.counted(4)?.into()),
            0x8e | 0x96 => Object::Bytes(self.counted(8)?.into()),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Object::Global(format!("{module}.{name}"))
            }
            _ => return Ok(false),
        };
        self.push(object)?;
        Ok(true)
    }

    /// Does an instruction that makes or fills a container; returns whether `code` is one.
    fn container(&mut self, code: u8) -> Result<bool, PickleError> {
        match code {
            b']' | 0x8f => self.push(Object::List(vec![]))?,
            b')' => self.push(Object::Tuple(vec![]))?,
            b'}' => self.push(Object::Dict(vec![]))?,
            b'(' => self.stack.push(None),
            b'l' | 0x91 => {
                let all = self.marked()?;
                self.push(Object::List(all))?;
            }
            b't' => {
                let all = self.marked()?;
                self.push(Object::Tuple(all))?;
            }
            b'd' => {
                let pairs = self.pairs()?;
                self.push(Object::Dict(pairs))?;
            }
            0x85..=0x87 => {
                let n = usize::from(code - 0x84);
                let mut all = vec![];
                for _ in 0..n {
                    all.push(self.pop()?);
                }
                all.reverse();
                self.push(Object::Tuple(all))?;
            }
            b'a' => {
                let one = self.pop()?;
                self.append(vec![one])?;
            }
            b'e' | 0x90 => {
                let all = self.marked()?;
                self.append(all)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![(key, value)])?;
            }
            b'u' => {
                let pairs = self.pairs()?;
                self.set_items(pairs)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Does an instruction that calls, remembers or moves; returns whether `code` is one.
    fn machinery(&mut self, code: u8) -> Result<bool, PickleError> {
        match code {
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'0' => drop(self.stack.pop()),
            b'1' => drop(self.marked()?),
            b'2' => {
                let last = self.last()?;
                self.stack.push(Some(last));
            }
            b'p' => {
                let key = self.key_in_line()?;
                self.remember(key)?;
            }
            b'q' => {
                let key = self.number(1)?;
                self.remember(key)?;
            }
            b'r' => {
                let key = self.number(4)?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let key = self.key_in_line()?;
                self.recall(key)?;
            }
            b'h' => {
                let key = self.number(1)?;
                self.recall(key)?;
            }
            b'j' => {
                let key = self.number(4)?;
                self.recall(key)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Object::Text(name), Object::Text(module)) =
                    (&self.objects[name.0], &self.objects[module.0])
                else {
                    return Err(self.broken("a class has no name"));
                };
                let name = format!("{module}.{name}");
                self.push(Object::Global(name))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => {
                let given = self.pop()?;
                let into = self.last()?;
                if let Object::Call { state, .. } = &mut self.objects[into.0] {
                    *state = Some(given);
                }
            }
            b'Q' => {
                let name = self.pop()?;
                self.push(Object::Persistent(name))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns a little-endian number in two's complement.
    fn long(&self, bytes: &[u8]) -> Result<i128, PickleError> {
        if bytes.len() > 16 {
            return Err(self.broken("a number has more than 128 bits"));
        }
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut all = [fill; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        Ok(i128::from_le_bytes(all))
    }
}

/// Returns a text of which each byte is a character, but for those written as `\u` or `\U` and their number.
fn raw_unicode(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let digits = match (first, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let number = after.get(1..=digits).filter(|_| digits > 0);
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = number.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match escaped.and_then(char::from_u32) {
            Some(character) => {
                out.push(character);
                rest = &after[1 + digits..];
            }
            None => {
                out.push(char::from(*first));
                rest = after;
            }
        }
    }
    out
}

/// Returns the bytes of a text in Python's notation.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = vec![];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                out.extend(u8::from_str_radix(&digits, 16));
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}
