import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'

// What package.json promises is there. Whether it can be installed and used is test/infra/package.real.test.ts.

const root = path.resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const sources = readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && statSync(path.join(root, 'src', file)).isFile())
  .map((file) => readFileSync(path.join(root, 'src', file), 'utf8'))

describe('package.json', () => {
  test('declares each package that the sources import, and no other', () => {
    const imported = sources.flatMap((text) =>
      [...text.matchAll(/(?:from|import\(|createRequire\([^)]*\)\(|require\()\s*'((?:@[\w-]+\/)?[\w.-]+)[^']*'/g)].map(
        (match) => match[1]!,
      ),
    )
    const packages = new Set(imported.filter((name) => !/^(node$|\.)/.test(name)))
    packages.delete('kappalake')
    const declared = Object.keys(manifest.dependencies)
    expect([...packages].filter((name) => !declared.includes(name)).toSorted()).toEqual([])
    // Named so that its version stands still, too.
    const beside = ['@duckdb/node-bindings']
    expect(declared.filter((name) => !packages.has(name) && !beside.includes(name))).toEqual([])
  })

  test('pins what it declares', () => {
    for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }))
      expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
  })

  test('ships what its commands read, under a licence that is there', () => {
    for (const file of ['docs', 'infra/templates']) expect(manifest.files).toContain(file)
    expect(existsSync(path.join(root, 'LICENSE'))).toBe(true)
    expect(manifest.exports['.'].types).toBe('./dist/types/index.d.ts')
    expect(manifest.exports['./client'].types).toBe('./dist/types/client/client.d.ts')
    // Packing leaves out files of these names.
    const templates = readdirSync(path.join(root, 'infra/templates'), { recursive: true, encoding: 'utf8' })
    expect(templates.filter((file) => /(^|\/)(\.gitignore|\.npmignore|\.npmrc)$/.test(file))).toEqual([])
  })
})
