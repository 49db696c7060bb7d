//! Where an attempt was, in eight bytes.

use serde::{Deserialize, Serialize};

use crate::domain::transaction::Location;

/// A place to the nearest ten-millionth of a degree: 11 mm at most, so a distance is right to some 2 cm. The same place is the
/// same bits, however it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    latitude: i32,
    longitude: i32,
}

impl Place {
    const PER_DEGREE: f64 = 1e7;
    /// Stands for no place: no latitude is that small.
    const NONE: u64 = 1 << 63;

    /// `None` for a location that is not on earth (NaN, or out of range).
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    pub(crate) fn of(location: Location) -> Option<Self> {
        let Location { latitude, longitude } = location;
        let is_on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_on_earth.then(|| Self {
            latitude: (latitude * Self::PER_DEGREE).round() as i32,
            longitude: (longitude * Self::PER_DEGREE).round() as i32,
        })
    }

    /// The great-circle distance in kilometres.
    pub(crate) fn distance_km(self, other: Self) -> f64 {
        self.location().distance_km(other.location())
    }

    fn location(self) -> Location {
        Location {
            latitude: f64::from(self.latitude) / Self::PER_DEGREE,
            longitude: f64::from(self.longitude) / Self::PER_DEGREE,
        }
    }

    /// As a block holds it.
    pub(crate) fn to_bits(place: Option<Self>) -> u64 {
        place.map_or(Self::NONE, |place| {
            u64::from(place.latitude.cast_unsigned()) << 32 | u64::from(place.longitude.cast_unsigned())
        })
    }

    /// From what a block holds.
    #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        (bits != Self::NONE).then(|| Self {
            latitude: ((bits >> 32) as u32).cast_signed(),
            longitude: (bits as u32).cast_signed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_bits_and_stays_within_two_centimetres() {
        for (latitude, longitude) in
            [(52.520_008_1, 13.404_954_9), (-90.0, 180.0), (90.0, -180.0), (0.0, -0.0)]
        {
            let location = Location { latitude, longitude };
            let place = Place::of(location).unwrap();
            assert_eq!(Place::from_bits(Place::to_bits(Some(place))), Some(place));
            assert!(place.location().distance_km(location) < 2e-5);
        }
        assert_eq!(Place::from_bits(Place::to_bits(None)), None);
        for (latitude, longitude) in [(f64::NAN, 0.0), (0.0, f64::INFINITY), (90.1, 0.0)] {
            assert_eq!(Place::of(Location { latitude, longitude }), None);
        }
    }
}
