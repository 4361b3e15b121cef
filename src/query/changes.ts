/** Values of the ascending list `all` that the ascending list `known` does not have. */
export function without(all: Uint32Array, known: Uint32Array): Uint32Array {
  const rest = new Uint32Array(all.length)
  let [count, index] = [0, 0]
  for (const value of all) {
    while (index < known.length && known[index]! < value) index++
    if (known[index] !== value) rest[count++] = value
  }
  return rest.subarray(0, count)
}
