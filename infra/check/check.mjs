// Runs a checker of this folder: Python that compares a ledger with what other Iceberg readers see.
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { jsonLines } from '../child.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const python = path.resolve(here, '../..', process.env.KAPPALAKE_CACHE ?? '.cache', 'python/bin/python')

/** What the checker `name` prints about a store at `store.url`; `server` is that of `startS3`, where one is meant. */
export function check(name, { store, server, ...more }) {
  const { accessKeyId = 'test', secretAccessKey = 'test' } = server?.settings ?? {}
  const s3 =
    store.endpoint === undefined ? undefined : { endpoint: store.endpoint, key: accessKeyId, secret: secretAccessKey }
  // No bytecode beside the sources.
  return jsonLines(python, ['-B', path.join(here, `${name}.py`), JSON.stringify({ store: store.url, s3, ...more })])
}
