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
            let mut off = products;
            for point in 0..POINTS {
                off[point] = mul_where(live, products[point], inverses[point]);
            }
            let here = Here { right, live, taken, c: before.map(|before| load(&before.c)), inverses, off };
            let leaves = block.leaves.get(node.wrapping_sub(block.splits.len() / 2));
            let (sums, moved) = if let Some([left, right]) = leaves {
                combine(walk, &here, [load(left); POINTS], [load(right); POINTS])
            } else {
                let (mut left_products, mut right_products) = (off, off);
                for point in 0..POINTS {
                    let q = add(splat(1.0), mul(splat(walk.points[point].u), taken));
                    let on = mul(off[point], q);
                    left_products[point] = select(right, on, off[point]);
                    right_products[point] = select(right, off[point], on);
                }
                let left_sums = descend(walk, 2 * node, left_products, values);
                let right_sums = descend(walk, 2 * node + 1, right_products, values);
                combine(walk, &here, left_sums, right_sums)
            };
            let moved = store(select(live, splat(0.0), moved));
            for (feature, moved) in features.iter().zip(moved) {
                values[usize::from(*feature)] += moved;
            }
            sums
        }

        /// What is known of a split on the way down.
        struct Here<const POINTS: usize> {
            right: Mask,
            live: Mask,
            /// c of the side taken.
            taken: Vector,
            /// c of the edge before on the same feature, and 1 / q of it; 1 and that of 1 where there is none.
            c: Option<Vector>,
            inverses: [Vector; POINTS],
            /// The products of the side not taken.
            off: [Vector; POINTS],
        }

        /// The sums over both sides of a split, and what it moved.
        #[inline]
        $(#[$attribute])*
        fn combine<const POINTS: usize>(
            walk: &Walk<'_, POINTS>,
            here: &Here<POINTS>,
            left_sums: [Vector; POINTS],
            right_sums: [Vector; POINTS],
        ) -> ([Vector; POINTS], Vector) {
            let (mut sums, mut moved) = (left_sums, splat(0.0));
            for point in 0..POINTS {
                // The side taken counts q = 1 + u * c times.
                let of_side = mul(here.taken, select(here.right, left_sums[point], right_sums[point]));
                let both = add(left_sums[point], right_sums[point]);
                let both = add(both, mul(splat(walk.points[point].u), of_side));
                sums[point] = mul_where(here.live, both, here.inverses[point]);
                let of_before = here.c.map_or(sums[point], |c| mul(c, sums[point]));
                moved = add(moved, mul(here.off[point], sub(of_side, of_before)));
            }
            (sums, moved)
        }
    };
}

pub(super) use lanes_kernel;
