// What the gate before a caller's SQL costs, and a query on a warm process; see gate.ts. One JSON line a figure.
import path from 'node:path'
import { bundle } from '../infra/build.mjs'
import { print } from './support/figures.mjs'
import { loadSource, root } from './support/load.mjs'

const { measure } = await loadSource("export { measure } from './bench/gate.ts'", 'gate')
await bundle(path.join(root, 'dist'))
const figures = await measure(path.join(root, 'dist/query-child.js'), path.join(root, 'test/fixtures/sql'))
for (const figure of figures) print(figure)
