//! Assigns records to partitions by the murmur2 hash of their key, exactly as Kafka producers do. All records with the
//! same key are in the same partition and thus stay in order.

const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;

/// Returns the partition of a key. `partitions` must be positive.
pub fn partition_of(key: &[u8], partitions: i16) -> i16 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i16::try_from(positive % u32::from(partitions.max(1).unsigned_abs())).expect("below the number of partitions")
}

fn murmur2(key: &[u8]) -> u32 {
    // Kafka's implementation also uses a 32-bit length.
    #[allow(clippy::cast_possible_truncation)]
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let rest = rest.iter().rev().fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_kafka_puts_them() {
        // Test vectors from `UtilsTest.testMurmur2` of Apache Kafka.
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()), hash.cast_unsigned(), "{key}");
        }
        assert_eq!(partition_of(b"foobar", 1), 0);
        let spread: std::collections::BTreeSet<i16> =
            (0..100).map(|n: i32| partition_of(&n.to_be_bytes(), 3)).collect();
        assert_eq!(spread.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }
}
