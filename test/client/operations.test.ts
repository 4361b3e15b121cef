import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { operationsOf } from '../../src/server/app.ts'
import { makeDoor } from '../server/fake-door.ts'
import { bare, clientFiles } from './generate.ts'

const fileOf = (name: string) => path.resolve(import.meta.dirname, `../../src/client/${name}.ts`)

test('the types of the client are what the server says of itself', async () => {
  const files = clientFiles(operationsOf(await makeDoor()))
  for (const [name, text] of Object.entries(files)) {
    if (process.env['UPDATE'] === '1') writeFileSync(fileOf(name), text)
    expect(bare(readFileSync(fileOf(name), 'utf8')), 'UPDATE=1 writes it anew; format it after that').toBe(bare(text))
  }
})
