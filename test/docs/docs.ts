/** Documentation whose blocks are run, or say why they are not. */
export const DOCS = ['README.md', 'docs/catalog.md', 'docs/running.md', 'docs/sql.md'] as const
