import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

interface Manifest {
  readonly version: string
  readonly license: string
  readonly dependencies: Readonly<Record<string, string>>
}

const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Manifest
const lines = readFileSync('docs/dependencies.md', 'utf8').split('\n')
const { dependencies } = read('package.json')

test.each(Object.keys(dependencies))('%s has its line, with version and licence as installed', (name) => {
  const { version, license } = read(`node_modules/${name}/package.json`)
  const cells =
    lines
      .find((line) => line.startsWith(`| \`${name}\` |`))
      ?.split('|')
      .map((cell) => cell.trim()) ?? []
  expect(cells.slice(2, 4)).toEqual([version, license])
  expect(dependencies[name]).toBe(version)
  // When, why, and what would take its place.
  expect(cells[4]).toMatch(/^20\d\d(-\d\d)?$/)
  for (const cell of cells.slice(5, 7)) expect(cell.length).toBeGreaterThan(10)
})

test('nothing else stands in the table, and there are not too many', () => {
  const named = lines.flatMap((line) => /^\| `([^`]+)` \|/.exec(line)?.[1] ?? [])
  expect(named).toEqual(Object.keys(dependencies).toSorted())
  expect(named.length).toBeLessThanOrEqual(25)
})
