//! Where names stand in a picture of points, so that they cover neither points nor each other.

/// A rectangle in pixels: left, top, right, bottom.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Area {
    /// Its left edge.
    pub left: f64,
    /// Its upper edge.
    pub top: f64,
    /// Its right edge.
    pub right: f64,
    /// Its lower edge.
    pub bottom: f64,
}

impl Area {
    /// Around a point.
    pub fn around((x, y): (f64, f64), radius: f64) -> Self {
        Self { left: x - radius, top: y - radius, right: x + radius, bottom: y + radius }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn is_within(&self, other: &Self) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}

/// A point that wants a name.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Named {
    /// Where it is, in pixels.
    pub at: (f64, f64),
    /// How large it is.
    pub radius: f64,
    /// How wide its name is.
    pub width: f64,
    /// How high.
    pub height: f64,
}

/// In which directions a name is tried: to the right first, as one reads.
const DIRECTIONS: [(f64, f64); 8] =
    [(1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (-1.0, -1.0), (-1.0, 1.0)];
/// How far from its point, in heights of the name.
const DISTANCES: [f64; 5] = [0.15, 1.0, 2.0, 3.2, 4.5];

/// The place of each name, or none where there is no room; earlier points choose first. `taken` is covered already.
pub fn places(points: &[Named], bounds: &Area, mut taken: Vec<Area>) -> Vec<Option<Area>> {
    taken.extend(points.iter().map(|point| Area::around(point.at, point.radius)));
    let mut places = Vec::with_capacity(points.len());
    for point in points {
        let tries = DISTANCES.iter().flat_map(|distance| {
            DIRECTIONS.iter().map(move |direction| place(point, *direction, distance * point.height))
        });
        let mut free =
            tries.filter(|it| it.is_within(bounds) && !taken.iter().any(|other| it.overlaps(other)));
        let found = free.next();
        taken.extend(found);
        places.push(found);
    }
    places
}

fn place(point: &Named, (right, down): (f64, f64), distance: f64) -> Area {
    let away = point.radius + 2.0 + distance;
    // Beside the point a name is centred on its height; over and under it, on its width.
    let x = match right {
        right if right > 0.0 => point.at.0 + if down == 0.0 { away } else { point.radius.min(away) },
        right if right < 0.0 => {
            point.at.0 - point.width - if down == 0.0 { away } else { point.radius.min(away) }
        }
        _ => point.at.0 - point.width / 2.0,
    };
    let y = match down {
        down if down > 0.0 => point.at.1 + away,
        down if down < 0.0 => point.at.1 - away - point.height,
        _ => point.at.1 - point.height / 2.0,
    };
    Area { left: x, top: y, right: x + point.width, bottom: y + point.height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_covers_another_one_or_a_point_and_none_leaves_the_picture() {
        let bounds = Area { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };
        // A crowd, and points at the edges.
        let at = |number: i32| (f64::from(number * 37 % 120) + 100.0, f64::from(number * 53 % 90) + 100.0);
        let edges = [(1.0, 1.0), (399.0, 150.0), (200.0, 299.0)];
        let points: Vec<Named> = (0..40)
            .map(at)
            .chain(edges)
            .map(|at| Named { at, radius: 3.0, width: 60.0, height: 10.0 })
            .collect();
        let taken = Area { left: 300.0, top: 0.0, right: 400.0, bottom: 60.0 };
        let places = places(&points, &bounds, vec![taken]);
        let found: Vec<Area> = places.iter().flatten().copied().collect();
        assert!(found.len() >= 20, "{} of {}", found.len(), points.len());
        assert!(places[0].is_some(), "the first one chooses first");
        for (number, place) in found.iter().enumerate() {
            assert!(place.is_within(&bounds) && !place.overlaps(&taken), "{place:?}");
            assert!(!found[..number].iter().any(|other| other.overlaps(place)), "{place:?}");
            assert!(!points.iter().any(|point| Area::around(point.at, point.radius).overlaps(place)));
        }
    }
}
