/** Documentation whose blocks are run, or say why they are not. */
export const DOCS = ['README.md', 'docs/catalog.md', 'docs/running.md', 'docs/sql.md'] as const

/** Guides: gone through from top to end, over a real Kafka. */
export const GUIDES = [
  'docs/guides/revenue-per-hour.md',
  'docs/guides/clean-and-alert.md',
  'docs/guides/transactions-per-user.md',
  'docs/guides/sensor-load.md',
  'docs/guides/redact.md',
  'docs/guides/change-data-capture.md',
  'docs/guides/change-and-replay.md',
] as const
