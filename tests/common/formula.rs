//! The formula behind golden weights and data, which the scripts in `tests/golden` have too: numbers that f32 holds exactly.

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Number `index` of the splitmix64 sequence whose state begins at `mix(stream)`.
pub fn hashed(stream: u64, index: u64) -> u64 {
    mix(mix(stream).wrapping_add(index.wrapping_add(1).wrapping_mul(GAMMA)))
}

/// In [-scale, scale): 24 bits, exact for a scale that is a power of two.
pub fn signed(h: u64, scale: f32) -> f32 {
    let integer = (h >> 40) as i32 - (1 << 23);
    integer as f32 / (1 << 23) as f32 * scale
}

/// In [0, 0.5): 23 bits, so that adding 0.5 is exact.
pub fn half_unit(h: u64) -> f32 {
    (h >> 41) as f32 / (1 << 24) as f32
}
