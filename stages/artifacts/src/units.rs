//! Numbers that cannot be out of range.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use thiserror::Error;

/// A share of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Fraction(f64);

/// A number that should have been from 0 to 1 was not.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("a fraction lies between 0 and 1, but {0} does not")]
pub struct OutOfRange(f64);

impl Fraction {
    /// Returns this share of `n`, rounded to the nearest whole.
    #[must_use]
    pub fn of(self, n: usize) -> usize {
        (self.0 * n as f64).round() as usize
    }
}

impl TryFrom<f64> for Fraction {
    type Error = OutOfRange;
    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(OutOfRange(value)) }
    }
}

impl From<Fraction> for f64 {
    fn from(fraction: Fraction) -> Self {
        fraction.0
    }
}

// Derived, the schema would be that of `f64`: schemars follows `try_from` and forgets the range.
impl JsonSchema for Fraction {
    fn schema_name() -> Cow<'static, str> {
        "Fraction".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

/// A number above 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Positive(f64);

/// A number that should have been above 0 was not.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{0} is not above 0")]
pub struct NotPositive(f64);

impl TryFrom<f64> for Positive {
    type Error = NotPositive;
    fn try_from(value: f64) -> Result<Self, NotPositive> {
        if value > 0.0 && value.is_finite() { Ok(Self(value)) } else { Err(NotPositive(value)) }
    }
}

impl From<Positive> for f64 {
    fn from(positive: Positive) -> Self {
        positive.0
    }
}

impl JsonSchema for Positive {
    fn schema_name() -> Cow<'static, str> {
        "Positive".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0 })
    }
}

/// A number that is not below 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct NonNegative(f64);

/// A number that should not have been below 0 was.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{0} is not a number from 0 up")]
pub struct Negative(f64);

impl TryFrom<f64> for NonNegative {
    type Error = Negative;
    fn try_from(value: f64) -> Result<Self, Negative> {
        if value >= 0.0 && value.is_finite() { Ok(Self(value)) } else { Err(Negative(value)) }
    }
}

impl From<NonNegative> for f64 {
    fn from(number: NonNegative) -> Self {
        number.0
    }
}

impl JsonSchema for NonNegative {
    fn schema_name() -> Cow<'static, str> {
        "NonNegative".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// How many: a whole number of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Count(u64);

/// A count was 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("at least 1 is needed")]
pub struct NoneAtAll;

impl Count {
    /// Returns the number.
    #[must_use]
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl TryFrom<u64> for Count {
    type Error = NoneAtAll;
    fn try_from(value: u64) -> Result<Self, NoneAtAll> {
        if value > 0 { Ok(Self(value)) } else { Err(NoneAtAll) }
    }
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        count.0
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1 })
    }
}
