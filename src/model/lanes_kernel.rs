//! The walk of sixteen trees, written once and compiled for each kind of vector: so the order of operations cannot differ.

/// Defines `walk`, with the functions `splat`, `load`, `store`, `add`, `sub`, `mul`, `mul_where`, `select` and `bits` of the place where
/// it is used, and the types `Vector` and `Mask`. `$attribute` goes on every function.
macro_rules! lanes_kernel {
    ($(#[$attribute:meta])*) => {
        /// Adds what every split of a block moved to `values`. `right` says where each tree's row goes right, `live` which splits
        /// can move anything.
        $(#[$attribute])*
        pub(super) fn walk<const POINTS: usize>(
            block: &Block<POINTS>,
            points: &[LanePoint; POINTS],
            right: &[u64; LANES],
            live: &[u64; LANES],
            values: &mut [f32],
        ) {
            let products = points.map(|point| splat(point.weight));
            descend(&Walk { block, points, right, live }, 1, products, values);
        }

        struct Walk<'a, const POINTS: usize> {
            block: &'a Block<POINTS>,
            points: &'a [LanePoint; POINTS],
            right: &'a [u64; LANES],
            live: &'a [u64; LANES],
        }

        /// Goes down from a split whose products over the path, by point, are given; gives the sums over its leaves of what each
        /// has below the split alone.
        $(#[$attribute])*
        fn descend<const POINTS: usize>(
            walk: &Walk<'_, POINTS>,
            node: usize,
            products: [Vector; POINTS],
            values: &mut [f32],
        ) -> [Vector; POINTS] {
            let block = walk.block;
            let SplitLanes { sides, features, repeat } = &block.splits[node];
            let right = bits(walk.right, node);
            let live = bits(walk.live, node);
            // Where nothing can move, c = 0 makes every q and every factor 1.
            let taken = select(right, load(&sides[0]), load(&sides[1]));
            let taken = select(live, splat(0.0), taken);
            let before = repeat.map(|repeat| &block.repeats[repeat as usize]);
            let mut inverses = walk.points.map(|point| splat(point.fresh));
            if let Some(before) = before {
                for point in 0..POINTS {
                    inverses[point] = load(&before.inverse[point]);
                }
            }
            let (mut off, mut left_products, mut right_products) = (products, products, products);
            for point in 0..POINTS {
                let q = add(splat(1.0), mul(splat(walk.points[point].u), taken));
                off[point] = mul_where(live, products[point], inverses[point]);
                let on = mul(off[point], q);
                left_products[point] = select(right, on, off[point]);
                right_products[point] = select(right, off[point], on);
            }
            let leaves = block.leaves.get(node.wrapping_sub(block.splits.len() / 2));
            let [left_sums, right_sums] = if let Some([left, right]) = leaves {
                [[load(left); POINTS], [load(right); POINTS]]
            } else {
                let left_sums = descend(walk, 2 * node, left_products, values);
                [left_sums, descend(walk, 2 * node + 1, right_products, values)]
            };

            // The sum over both sides, that of the side taken times q = 1 + u * c.
            let (mut sums, mut moved) = (left_sums, splat(0.0));
            for point in 0..POINTS {
                let of_side = mul(taken, select(right, left_sums[point], right_sums[point]));
                let both = add(left_sums[point], right_sums[point]);
                let both = add(both, mul(splat(walk.points[point].u), of_side));
                sums[point] = mul_where(live, both, inverses[point]);
                let of_before = before.map_or(sums[point], |before| mul(load(&before.c), sums[point]));
                moved = add(moved, mul(off[point], sub(of_side, of_before)));
            }
            let moved = store(select(live, splat(0.0), moved));
            for (feature, moved) in features.iter().zip(moved) {
                values[usize::from(*feature)] += moved;
            }
            sums
        }
    };
}

pub(super) use lanes_kernel;
