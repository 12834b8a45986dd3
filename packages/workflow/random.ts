/**
 * A number in [0, 1) that depends only on `seed` and `n`: the n-th value of a repeatable random
 * sequence, with random access.
 */
export function draw(seed: number, n: number): number {
  // Two rounds of the 32-bit finaliser of MurmurHash3 (public domain).
  return mix(mix(seed ^ 0x9e3779b9) + Math.imul(n, 0x85ebca6b)) / 2 ** 32;
}

function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
