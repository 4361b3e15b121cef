/** `, did you mean "limit"?` when something known is close, else what is known. */
export function suggestion(word: string, known: readonly string[]): string {
  const scored = known.map((name) => ({ name, distance: distance(word.toLowerCase(), name.toLowerCase()) }))
  const best = scored.toSorted((a, b) => a.distance - b.distance)[0]
  if (best !== undefined && best.distance <= Math.max(1, Math.floor(best.name.length / 3)))
    return `, did you mean ${JSON.stringify(best.name)}?`
  return known.length === 0 ? '' : ` (there are ${known.join(', ')})`
}

/** Letters to add, drop, change or swap with a neighbour. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > b.length) return b.length + 1
  const rows = Array.from({ length: a.length + 1 }, (_, i) => Array.from({ length: b.length + 1 }, (_, j) => i || j))
  for (let j = 0; j <= b.length; j++) rows[0]![j] = j
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const change = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      rows[i]![j] = Math.min(change, rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        rows[i]![j] = Math.min(rows[i]![j]!, rows[i - 2]![j - 2]! + 1)
    }
  return rows[a.length]![b.length]!
}
