//! One decision tree: splits on numbers and on categories, leaves, and how much training weight passed each node.

/// Categories from here on cannot be told apart as f32, and go left, as negative ones do.
const CATEGORY_INVALID: f32 = 16_777_216.0;

/// What a node does with a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Test {
    /// Nothing more: the row's share of the margin.
    Leaf(f32),
    /// A value below the threshold goes left.
    Below {
        /// The feature.
        feature: u32,
        /// The threshold, finite.
        threshold: f32,
    },
    /// A value whose whole part is a category of the set goes right; every other category, seen in training or not, left.
    In {
        /// The feature.
        feature: u32,
        /// The set.
        set: CategorySet,
    },
}

/// A set of categories: which words of the forest's bits hold it, the lowest category first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CategorySet {
    /// The first word.
    pub start: u32,
    /// How many words.
    pub words: u32,
}

impl CategorySet {
    /// Whether a value, which is not missing, is in the set. `bits` are the forest's. This is libxgboost's rule: negative and
    /// infinite values are in no set, -0.0 is category 0, and fractions are cut off.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within 0..2^24, cut off on purpose"
    )]
    pub fn holds(self, bits: &[u32], x: f32) -> bool {
        if !(0.0..CATEGORY_INVALID).contains(&x) {
            return false;
        }
        let category = x as u32;
        let word = category / u32::BITS;
        word < self.words
            && bits
                .get((self.start + word) as usize)
                .is_some_and(|word| word >> (category % u32::BITS) & 1 == 1)
    }
}

/// One node.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Node {
    test: Test,
    /// The left child, from the tree's first node; the right one stands behind it.
    left: u32,
    default_left: bool,
    cover: f32,
}

impl Node {
    /// A leaf.
    pub const fn leaf(value: f32, cover: f32) -> Self {
        Self { test: Test::Leaf(value), left: 0, default_left: false, cover }
    }

    /// A split, whose missing values go where `default_left` says.
    pub const fn split(test: Test, default_left: bool, left: u32, cover: f32) -> Self {
        Self { test, left, default_left, cover }
    }

    /// A split on a number: below `threshold` goes left.
    pub const fn below(feature: u32, threshold: f32, default_left: bool, left: u32, cover: f32) -> Self {
        Self::split(Test::Below { feature, threshold }, default_left, left, cover)
    }

    /// What it does with a row.
    pub const fn test(&self) -> Test {
        self.test
    }

    /// The feature that it splits on; `None` for a leaf.
    pub const fn feature(&self) -> Option<usize> {
        match self.test {
            Test::Leaf(_) => None,
            Test::Below { feature, .. } | Test::In { feature, .. } => Some(feature as usize),
        }
    }

    /// A leaf's share of the margin; `None` for a split.
    pub const fn weight(&self) -> Option<f32> {
        match self.test {
            Test::Leaf(weight) => Some(weight),
            Test::Below { .. } | Test::In { .. } => None,
        }
    }

    /// Where a missing value goes.
    pub const fn is_default_left(&self) -> bool {
        self.default_left
    }

    /// How much training weight (sum of hessians) passed here.
    pub const fn cover(&self) -> f32 {
        self.cover
    }

    /// Both children, counted from the tree's first node.
    pub const fn children(&self) -> [usize; 2] {
        [self.left as usize, self.left as usize + 1]
    }

    /// 0 when `x` goes left, 1 when it goes right. NaN alone is missing. `bits` are the forest's.
    pub fn side(&self, bits: &[u32], x: f32) -> usize {
        let goes_left = match self.test {
            Test::Leaf(_) => true,
            _ if x.is_nan() => self.default_left,
            Test::Below { threshold, .. } => x < threshold,
            Test::In { set, .. } => !set.holds(bits, x),
        };
        usize::from(!goes_left)
    }

    /// Which share of its parent's training weight it has. Below a node that no training weight reached, half.
    pub fn share_of(&self, parent: &Self) -> f64 {
        if parent.cover > 0.0 { f64::from(self.cover) / f64::from(parent.cover) } else { 0.5 }
    }
}

/// A tree: its nodes, the root first and children behind their parents, and the bits of the forest's category sets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Tree<'a> {
    /// The nodes.
    pub nodes: &'a [Node],
    /// The bits of all category sets.
    pub bits: &'a [u32],
}

impl Tree<'_> {
    /// The leaf that a row falls into.
    pub fn leaf(&self, row: &[f32]) -> f32 {
        let mut node = &self.nodes[0];
        loop {
            match node.test {
                Test::Leaf(value) => return value,
                Test::Below { feature, .. } | Test::In { feature, .. } => {
                    node = &self.nodes[node.children()[node.side(self.bits, row[feature as usize])]];
                }
            }
        }
    }

    /// How many splits its longest path passes.
    pub fn depth(&self) -> usize {
        // Children stand behind their parents, so one pass from the root on is enough.
        let mut depths = vec![0; self.nodes.len()];
        for (number, node) in self.nodes.iter().enumerate() {
            if node.feature().is_some() {
                for child in node.children() {
                    depths[child] = depths[number] + 1;
                }
            }
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_go_where_libxgboost_sends_them() {
        // Categories 0, 3 and 33.
        let bits = [0, 0b1001, 0b10];
        let set = CategorySet { start: 1, words: 2 };
        let node = Node::split(Test::In { feature: 0, set }, true, 1, 1.0);
        let facts = [
            (0.0, 1),
            (-0.0, 1),
            (0.9, 1),
            (-1e-45, 0),
            (-1.0, 0),
            (1.0, 0),
            (3.99, 1),
            (33.0, 1),
            (64.0, 0),
            (65.0, 0),
            (16_777_215.0, 0),
            (16_777_216.0, 0),
            (1e30, 0),
            (f32::INFINITY, 0),
            (f32::NEG_INFINITY, 0),
            (f32::NAN, 0),
        ];
        for (value, side) in facts {
            assert_eq!(node.side(&bits, value), side, "{value}");
        }
        let missing_right = Node::split(Test::In { feature: 0, set }, false, 1, 1.0);
        assert_eq!(missing_right.side(&bits, f32::NAN), 1);
        assert_eq!(missing_right.side(&bits, f32::INFINITY), 0);
    }
}
