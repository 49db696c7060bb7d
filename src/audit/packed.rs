//! The sealed part of a decision, packed: most of a decision's bytes are the digits of its numbers, which nobody reads in a sealed part.
//!
//! What may grow stays JSON. The feature vector and the attributions are in the wire format of `postcard` (whose specification is stable),
//! each number to the last bit. Another layout is another schema of bodies.

use serde::{Deserialize, Serialize};

use crate::audit::record::RecordError;

/// One value of a feature vector.
#[derive(Serialize, Deserialize)]
enum Number {
    Missing,
    /// Most are counts.
    Count(u32),
    Other(f64),
}

impl From<Option<f64>> for Number {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "compared with what it came from"
    )]
    fn from(number: Option<f64>) -> Self {
        let Some(number) = number else { return Self::Missing };
        let count = number as u32;
        if f64::from(count).to_bits() == number.to_bits() { Self::Count(count) } else { Self::Other(number) }
    }
}

impl From<Number> for Option<f64> {
    fn from(number: Number) -> Self {
        match number {
            Number::Missing => None,
            Number::Count(count) => Some(f64::from(count)),
            Number::Other(number) => Some(number),
        }
    }
}

/// What is packed.
#[derive(Serialize, Deserialize)]
struct Packed<'a, Numbers, Contributions> {
    json: &'a str,
    features: Numbers,
    contributions: Contributions,
}

/// Packs JSON with a feature vector and attributions.
pub(super) fn pack(
    json: &str,
    features: &[Option<f64>],
    contributions: &[(u16, f32)],
) -> Result<Vec<u8>, RecordError> {
    let features: Vec<Number> = features.iter().map(|number| (*number).into()).collect();
    let room = json.len() + features.len() * 4 + contributions.len() * 6;
    let packed = Packed { json, features, contributions };
    postcard::to_extend(&packed, Vec::with_capacity(room)).map_err(|_| RecordError::Malformed("sealed part"))
}

/// The JSON of a packed part, which stands first: its numbers are not read.
pub(super) fn json(part: &[u8]) -> Result<&str, RecordError> {
    let (json, _) = postcard::take_from_bytes(part).map_err(|_| RecordError::Malformed("sealed part"))?;
    Ok(json)
}

/// What was packed.
pub(super) struct Unpacked<'a> {
    pub(super) json: &'a str,
    pub(super) features: Vec<Option<f64>>,
    pub(super) contributions: Vec<(u16, f32)>,
}

/// Takes a packed part apart.
pub(super) fn unpack(part: &[u8]) -> Result<Unpacked<'_>, RecordError> {
    let unpacked = postcard::from_bytes(part).map_err(|_| RecordError::Malformed("sealed part"))?;
    let Packed::<Vec<Number>, Vec<(u16, f32)>> { json, features, contributions } = unpacked;
    Ok(Unpacked { json, features: features.into_iter().map(Into::into).collect(), contributions })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_bit_comes_back(
            json in ".{0,40}",
            bits in proptest::collection::vec(proptest::option::of(any::<u64>()), 0..40),
            counts in proptest::collection::vec(0_u32.., 0..40),
            contributions in proptest::collection::vec(any::<(u16, u32)>(), 0..40),
        ) {
            let mut features: Vec<Option<f64>> = bits.iter().map(|bits| bits.map(f64::from_bits)).collect();
            features.extend(counts.iter().map(|count| Some(f64::from(*count))));
            features.extend([Some(-0.0), Some(0.0), Some(0.5), Some(4_294_967_296.0)]);
            let contributions: Vec<_> = contributions.iter().map(|(slot, bits)| (*slot, f32::from_bits(*bits))).collect();
            let part = pack(&json, &features, &contributions).unwrap();
            let unpacked = unpack(&part).unwrap();
            let bits = |numbers: &[Option<f64>]| numbers.iter().map(|it| it.map(f64::to_bits)).collect::<Vec<_>>();
            prop_assert_eq!(unpacked.json, &json);
            prop_assert_eq!(super::json(&part).unwrap(), json);
            prop_assert_eq!(bits(&unpacked.features), bits(&features));
            let bits = |pairs: &[(u16, f32)]| pairs.iter().map(|(slot, it)| (*slot, it.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(&unpacked.contributions), bits(&contributions));
            prop_assert!(unpack(&part[..part.len() - 1]).is_err());
        }
    }

    /// As it is in logs: never changed.
    #[test]
    fn its_bytes_stay_what_they_are() {
        let part = pack("{}", &[None, Some(6.0), Some(300.0), Some(0.5)], &[(3, -1.0), (200, 0.25)]).unwrap();
        let expected: &[u8] = &[
            2, b'{', b'}', // the JSON
            4, 0, 1, 6, 1, 0xac, 2, 2, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f, // the features
            2, 3, 0, 0, 0x80, 0xbf, 0xc8, 1, 0, 0, 0x80, 0x3e, // the attributions
        ];
        assert_eq!(part, expected);
    }
}
