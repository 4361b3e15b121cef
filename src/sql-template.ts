/** A template becomes SQL with numbered parameters; a table stands for its quoted name. */
export function template(texts: readonly string[], values: readonly unknown[]): { sql: string; params: unknown[] } {
  const params: unknown[] = []
  const parts = values.map((value) => {
    if (isTable(value)) return `"${value.name}"`
    params.push(value)
    return `$${params.length}`
  })
  return { sql: texts.map((text, index) => text + (parts[index] ?? '')).join(''), params }
}

function isTable(value: unknown): value is { readonly name: string } {
  if (typeof value !== 'object' || value === null) return false
  const { kind } = value as { kind?: unknown }
  return kind === 'table' || kind === 'window'
}
