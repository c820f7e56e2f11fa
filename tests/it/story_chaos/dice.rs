//! Chance that a seed decides: the same seed, the same throws.

/// A stream of throws (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The throws of one thing that happens for the `nth` time: they do not depend on what else happened before, and in
    /// which order.
    pub fn of(seed: u64, what: &str, nth: u64) -> Self {
        // FNV-1a.
        let hash = what
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Self(seed ^ hash.rotate_left(17) ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low + 1)
    }

    /// True so many times in a thousand.
    pub fn happens(&mut self, in_a_thousand: u64) -> bool {
        self.number() % 1000 < in_a_thousand
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.number() % from.len() as u64).expect("an index")]
    }
}
