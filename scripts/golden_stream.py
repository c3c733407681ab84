"""The counter-based numbers that both sides of a golden test use: include/mindgap/core/random.hpp again, in numpy.

word(i) is word i % 4 of Philox4x32-10 with counter {i / 4 (64 bits), ids (64 bits)} and a key mixed from seed and purpose.
uniform(i) = (word(i) >> 8) * 2^-24, below(i, n) = (word(i) * n) >> 32.
"""
import numpy as np

MASK = (1 << 64) - 1


def text_model_name(key):
    """An entry of CLIPTextModel as published: transformers 5 leaves the prefix out."""
    return key if key.startswith("text_model.") else "text_model." + key


def mix64(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def hash64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def philox4x32_10(c0, c1, c2, c3, key0, key1):
    """Counters are arrays of u64 that hold 32-bit values; returns u32 [blocks, 4]."""
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(key0), p1 & low, (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(key1), p0 & low
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], 1).astype(np.uint32)


class Stream:
    def __init__(self, purpose, *ids, seed=0):
        ids = list(ids) + [0] * (3 - len(ids))
        key = mix64(seed ^ hash64(purpose))
        high = mix64((mix64((mix64((ids[0] + 0x9E3779B97F4A7C15) & MASK) + ids[1]) & MASK) + ids[2]) & MASK)
        self.key0, self.key1 = key & 0xFFFFFFFF, key >> 32
        self.high0, self.high1 = high & 0xFFFFFFFF, high >> 32

    def words(self, count):
        blocks = np.arange((count + 3) // 4, dtype=np.uint64)
        high = [np.full_like(blocks, h) for h in (self.high0, self.high1)]
        out = philox4x32_10(blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32), *high, self.key0, self.key1)
        return out.reshape(-1)[:count]

    def uniform(self, count):
        """f64, exact: multiples of 2^-24."""
        return (self.words(count) >> np.uint32(8)) * 2.0**-24

    def below(self, count, bound):
        return ((self.words(count).astype(np.uint64) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)

    def normal(self, count):
        """Box-Muller on word pairs, cosine first, in f64 (the C++ side computes it in f32)."""
        w = (self.words((count + 3) // 4 * 4) >> np.uint32(8)).reshape(-1, 2)
        r, turn = np.sqrt(-2 * np.log((w[:, 0] + 1.0) * 2.0**-24)), w[:, 1] * 2.0**-24
        return np.stack([r * np.cos(2 * np.pi * turn), r * np.sin(2 * np.pi * turn)], 1).reshape(-1)[:count]
