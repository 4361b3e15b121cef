import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { referencePages } from '../../infra/reference.mjs'
import { jsonSchema } from '../../src/config-schema.ts'
import { operationsOf, type ServerDoor } from '../../src/server/app.ts'
import { openapi } from '../../src/server/openapi.ts'

const pages = referencePages(jsonSchema(), openapi(operationsOf({} as ServerDoor)))

test.each(Object.entries(pages))('docs/reference/%s is what the code says', (file, text) => {
  expect(readFileSync(`docs/reference/${file}`, 'utf8'), 'run node infra/reference.mjs').toBe(`${text}\n`)
})

test('no other page is there', () => {
  expect(readdirSync('docs/reference').toSorted()).toEqual(Object.keys(pages).toSorted())
})

test('each export says what it is', () => {
  expect(
    pages['typescript.md']!.split('\n').filter((line) => /^\| `defineLake` \| function \| \S+/.test(line)),
  ).toHaveLength(1)
})
