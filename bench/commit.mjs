// Commit time on a local disk by the size and age of the table; see commit.ts. One JSON line a figure.
import { print } from './support/figures.mjs'
import { loadSource } from './support/load.mjs'

const { measure } = await loadSource("export { measure } from './bench/commit.ts'", 'commit')
for (const figure of await measure()) print(figure)
