//! Gauss-Legendre quadrature on [0, 1].

/// A point in [0, 1], what is left to 1, and its weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) t: f64,
    pub(super) rest: f64,
    pub(super) weight: f64,
}

/// Gauss-Legendre points and weights on [0, 1]: exact for polynomials up to degree 2 * `count` - 1. The points are the roots
/// of the Legendre polynomial, found by Newton's method from Tricomi's estimate; its cosine is that of the crate libm, which is the
/// same on every machine.
pub(super) fn gauss_legendre(count: u8) -> Vec<Point> {
    let n = f64::from(count);
    (0..count)
        .map(|index| {
            let mut x = libm::cos(std::f64::consts::PI * (f64::from(index) + 0.75) / (n + 0.5));
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut previous, mut value) = (1.0, x);
                for degree in 2..=count {
                    let k = f64::from(degree);
                    (previous, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k);
                }
                slope = n * (x * value - previous) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            let weight = 1.0 / ((1.0 - x * x) * slope * slope);
            Point { t: f64::midpoint(1.0, x), rest: f64::midpoint(1.0, -x), weight }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_integrate_polynomials_exactly() {
        for count in 1..=32_u8 {
            let points = gauss_legendre(count);
            for power in 0..2 * i32::from(count) {
                let integral: f64 = points.iter().map(|point| point.weight * point.t.powi(power)).sum();
                let exact = 1.0 / (f64::from(power) + 1.0);
                assert!((integral - exact).abs() < 1e-13, "{count} points, degree {power}");
            }
        }
    }
}
