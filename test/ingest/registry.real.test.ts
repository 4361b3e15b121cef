import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRegistry, type StartedRegistry } from '../../infra/registry.mjs'
import { systemClock } from '../../src/clock.ts'
import type { ProtobufEntry } from '../../src/ingest/decode/avro-schemas.ts'
import { readProtobuf } from '../../src/protobuf-text.ts'
import { openRegistry, type RemoteRegistry } from '../../src/ingest/registry.ts'

describe('Apicurio', () => {
  let server: StartedRegistry
  let registry: RemoteRegistry
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

  test('the newest schema of a subject, and the subjects of a schema', async () => {
    const of = (name: string) =>
      JSON.stringify({ type: 'record', name: 'N', fields: [{ name, type: ['null', 'int'] }] })
    await server.register('n-value', { schema: of('a') })
    const second = await server.register('n-value', { schema: of('b') })
    expect(await registry.newest('n-value')).toMatchObject({ kind: 'schema', schema: { fields: [{ name: 'b' }] } })
    expect(await registry.newest('nothing-value')).toEqual({ kind: 'unknown' })
    expect(await registry.usesOf(second)).toEqual([{ subject: 'n-value', version: 2 }])
    expect(await registry.usesOf(999_999)).toEqual([])
  })

  test('Protocol Buffers, with the file that one imports', async () => {
    const money = 'syntax = "proto3"; package shop; message Money { int64 units = 1; }'
    await server.register('shop/money.proto', { schemaType: 'PROTOBUF', schema: money })
    const id = await server.register('p-value', {
      schemaType: 'PROTOBUF',
      schema: 'syntax = "proto3"; import "shop/money.proto"; message Order { shop.Money total = 1; }',
      references: [{ name: 'shop/money.proto', subject: 'shop/money.proto', version: 1 }],
    })
    for (const again of [false, true]) {
      const entry = await registry.schema(id)
      const { text, imports } = entry as ProtobufEntry
      expect(Object.keys(imports), `again: ${again}`).toEqual(['shop/money.proto'])
      expect(readProtobuf(text, undefined, imports)).toMatchObject({ message: 'Order' })
    }
  })

  test('a wrong path is no unknown id', async () => {
    const wrong = openRegistry({ url: `${server.url}/nowhere`, cacheDir: `${cacheDir}/x` }, systemClock)
    await expect(wrong.schema(1)).rejects.toMatchObject({ code: 'registry.unavailable' })
  })
})
