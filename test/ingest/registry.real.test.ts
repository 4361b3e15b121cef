import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { registryJar, startRegistry, type StartedRegistry } from '../../infra/registry.mjs'
import { systemClock } from '../../src/clock.ts'
import { openRegistry, type SchemaRegistry } from '../../src/ingest/registry.ts'

// 110 MB that only this needs: it runs where `npm run setup -- registry` was asked for.
describe.skipIf(registryJar() === undefined)('Apicurio (npm run setup -- registry)', () => {
  let server: StartedRegistry
  let registry: SchemaRegistry
  let cacheDir: string
  beforeAll(async () => {
    cacheDir = mkdtempSync(path.join(os.tmpdir(), 'kappalake-registry-'))
    server = await startRegistry()
    registry = openRegistry({ url: server.url, cacheDir, timeoutMs: 20_000 }, systemClock)
  }, 120_000)
  afterAll(async () => {
    await server?.stop()
    rmSync(cacheDir, { recursive: true, force: true })
  })

  test('a schema by id', async () => {
    const schema = JSON.stringify({ type: 'record', name: 'O', namespace: 's', fields: [{ name: 'id', type: 'long' }] })
    const id = await server.register('orders-value', { schema })
    expect(await registry.schema(id)).toMatchObject({ kind: 'schema', schema: { name: 's.O' } })
  })

  test('a schema that refers to another, by a subject with a slash', async () => {
    await server.register('shop/customer', {
      schema: JSON.stringify({ type: 'record', name: 'Cust', namespace: 's', fields: [{ name: 'n', type: 'string' }] }),
    })
    const id = await server.register('orders2-value', {
      schema: JSON.stringify({ type: 'record', name: 'Ord', namespace: 's', fields: [{ name: 'c', type: 's.Cust' }] }),
      references: [{ name: 's.Cust', subject: 'shop/customer', version: 1 }],
    })
    expect(await registry.schema(id)).toMatchObject({
      kind: 'schema',
      schema: { fields: [{ type: { name: 's.Cust', fields: [{ name: 'n' }] } }] },
    })
  })

  test('a schema that is not Avro, and an id that is not there', async () => {
    const id = await server.register('j-value', {
      schemaType: 'JSON',
      schema: JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', type: 'object' }),
    })
    expect(await registry.schema(id)).toMatchObject({ kind: 'unreadable' })
    expect(await registry.schema(999_999)).toEqual({ kind: 'unknown' })
  })

  test('a wrong path is no unknown id', async () => {
    const wrong = openRegistry({ url: `${server.url}/nowhere`, cacheDir: `${cacheDir}/x` }, systemClock)
    await expect(wrong.schema(1)).rejects.toMatchObject({ code: 'registry.unavailable' })
  })
})
