// How a benchmark says what it measured: one JSON line a figure on standard output, and the exit code that all hold.

/** Prints a figure; one that does not pass makes the exit code 1. `ratio` is the value over the peer's. */
export function figure(name, value, unit, target, { peer, pass, detail }) {
  const ratio = rounded(value / peer.value)
  print({ name, value: rounded(value), unit, target, ratio, peer, pass, detail })
}

export function print(figure) {
  console.log(JSON.stringify(figure))
  if (!figure.pass) process.exitCode = 1
}

/** What a single round saw, for whoever watches. */
export function note(name, seen) {
  console.error(`${name}: ${JSON.stringify(seen, (_, value) => (typeof value === 'number' ? rounded(value) : value))}`)
}

/** Three digits: a measurement has no more. */
export function rounded(value) {
  return Number(value.toPrecision(3))
}
