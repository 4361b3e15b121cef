/** Uniform numbers in [0, 1) from a seed. */
export function randomOf(seed: number): () => number
