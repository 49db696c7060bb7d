//! The walk of sixteen trees, written once and compiled for each kind of vector: so the order of operations cannot differ.

/// Defines `walk`, with the functions `splat`, `load`, `store`, `add`, `sub`, `mul`, `div`, `select` and `bits` of the place where
/// it is used, and the types `Vector` and `Mask`. `$attribute` goes on every function.
macro_rules! lanes_kernel {
    ($(#[$attribute:meta])*) => {
        /// What every split of a block moved, by node. `right` says where each tree's row goes right, `live` which splits can
        /// move anything.
        $(#[$attribute])*
        pub(super) fn walk<const POINTS: usize>(
            block: &Block<POINTS>,
            points: &[LanePoint; POINTS],
            right: &[u64; LANES],
            live: &[u64; LANES],
            moved: &mut [Lanes; WORD],
        ) {
            let products = points.map(|point| splat(point.weight));
            descend(&Walk { block, points, right, live }, 1, products, moved);
        }

        struct Walk<'a, const POINTS: usize> {
            block: &'a Block<POINTS>,
            points: &'a [LanePoint; POINTS],
            right: &'a [u64; LANES],
            live: &'a [u64; LANES],
        }

        /// Goes down from a node whose products, by point, are given; gives the sums over its leaves.
        $(#[$attribute])*
        fn descend<const POINTS: usize>(
            walk: &Walk<'_, POINTS>,
            node: usize,
            products: [Vector; POINTS],
            moved: &mut [Lanes; WORD],
        ) -> [Vector; POINTS] {
            let inner = walk.block.splits.len();
            if node >= inner {
                let leaf = load(&walk.block.leaves[node - inner]);
                return products.map(|product| mul(product, leaf));
            }
            let split = &walk.block.splits[node];
            let right = bits(walk.right, node);
            let live = bits(walk.live, node);
            let one = splat(1.0);
            let taken = select(right, load(&split.sides[0]), load(&split.sides[1]));
            let mut q = [one; POINTS];
            let (mut left_products, mut right_products) = (products, products);
            for point in 0..POINTS {
                q[point] = add(one, mul(splat(walk.points[point].u), taken));
                let inverse = load(&split.before_inverse[point]);
                let off = select(live, products[point], mul(products[point], inverse));
                let on = select(live, off, mul(off, q[point]));
                left_products[point] = select(right, on, off);
                right_products[point] = select(right, off, on);
            }
            let left_sums = descend(walk, 2 * node, left_products, moved);
            let right_sums = descend(walk, 2 * node + 1, right_products, moved);

            let inverses = inverses(&q);
            let (mut of_taken, mut of_all) = (splat(0.0), splat(0.0));
            let mut sums = left_sums;
            for point in 0..POINTS {
                sums[point] = add(left_sums[point], right_sums[point]);
                let scale = splat(walk.points[point].scale);
                let of_side = select(right, left_sums[point], right_sums[point]);
                of_taken = add(of_taken, mul(mul(scale, of_side), inverses[point]));
                let inverse = load(&split.before_inverse[point]);
                of_all = add(of_all, mul(mul(scale, sums[point]), inverse));
            }
            let all = sub(mul(taken, of_taken), mul(load(&split.before), of_all));
            store(&mut moved[node], select(live, splat(0.0), all));
            sums
        }

        /// 1 / q of each point, with one division for all of them.
        $(#[$attribute])*
        fn inverses<const POINTS: usize>(q: &[Vector; POINTS]) -> [Vector; POINTS] {
            // The product of all q before each.
            let mut inverses = *q;
            let mut product = splat(1.0);
            for point in 0..POINTS {
                inverses[point] = product;
                product = mul(product, q[point]);
            }
            let mut rest = div(splat(1.0), product);
            for point in (0..POINTS).rev() {
                inverses[point] = mul(inverses[point], rest);
                rest = mul(rest, q[point]);
            }
            inverses
        }
    };
}

pub(super) use lanes_kernel;
