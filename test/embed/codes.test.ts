import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

// Codes are promised: the type `LakeErrorCode`, the documentation and what the sources say are one and the same.

const root = path.resolve(import.meta.dirname, '../..')
const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && file !== 'error.ts')
  .map((file) => readFileSync(path.join(root, 'src', file), 'utf8'))
  .join('\n')
/** The members of the union, in the order in which they stand. */
const union = readFileSync(path.join(root, 'src/error.ts'), 'utf8').split('export interface')[0]!
const codes = [...union.matchAll(/^ {2}\| '([a-z_.]+)'/gm)].map((match) => match[1]!)
const documented = [...readFileSync(path.join(root, 'docs/errors.md'), 'utf8').matchAll(/^\| `([a-z_.]+)` \|/gm)].map(
  (match) => match[1]!,
)

test('each code stands once in the type, and once in a table of docs/errors.md', () => {
  expect(codes.length).toBeGreaterThan(80)
  expect(new Set(codes).size).toBe(codes.length)
  expect(documented.toSorted()).toEqual(codes.toSorted())
})

test('what the sources throw is of the type, and what is of the type is said somewhere', () => {
  const thrown = [...sources.matchAll(/new LakeError\(\s*'([^']+)'/g)].map((match) => match[1]!)
  expect(thrown.length).toBeGreaterThan(100)
  expect(thrown.filter((code) => !codes.includes(code))).toEqual([])
  expect(codes.filter((code) => !sources.includes(`'${code}'`))).toEqual([])
})
