//! Reproducible pseudo-random numbers for sample data (`SplitMix64`).

/// Hashes a number: equal numbers have equal hashes, and neighboring numbers have unrelated hashes.
pub(crate) fn scramble(number: u64) -> u64 {
    mix(number.wrapping_mul(GAMMA).wrapping_add(GAMMA))
}

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Creates an independent sequence for each purpose: one more roll for a purpose does not change the numbers of
    /// another.
    pub(crate) fn new(seed: u64, purpose: &str) -> Dice {
        let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        Dice(purpose.bytes().fold(seed ^ GAMMA, hash))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Returns a number from 0 to `bound`, exclusive.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.next() >> 32)) >> 32) as u32
    }

    /// Returns a number from `low` to `high`, inclusive.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u32) as usize]
    }

    /// Returns an element with a probability in proportion to its weight.
    pub(crate) fn weighted<'a, T>(&mut self, of: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
        let mut left = self.below(of.iter().map(&weight).sum());
        let is_chosen = |one: &&T| {
            let own = weight(one);
            let is_chosen = left < own;
            left = left.saturating_sub(own);
            is_chosen
        };
        of.iter().find(is_chosen).expect("the number is below the sum of the weights")
    }
}
