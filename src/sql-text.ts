/** Names and texts as SQL has them. Apart from what needs DuckDB: SQL is also written where none is loaded. */

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
