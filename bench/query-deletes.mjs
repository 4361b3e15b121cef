// Queries of a table with deleted rows against a clean copy; see query-deletes.ts. One JSON line a figure.
import path from 'node:path'
import { bundle } from '../infra/build.mjs'
import { print } from './support/figures.mjs'
import { loadSource, root } from './support/load.mjs'

const { measure } = await loadSource("export { measure } from './bench/query-deletes.ts'", 'query-deletes')
await bundle(path.join(root, 'dist'))
for (const figure of await measure(path.join(root, 'dist/query-child.js'))) print(figure)
