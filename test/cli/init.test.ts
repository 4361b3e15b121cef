import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { dependencyOn, packageName, TEMPLATES } from '../../src/cli/init.ts'
import { run } from './support.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-init-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.each(Object.keys(TEMPLATES))('%s', (template) => {
  const project = path.join(folder, template)
  const read = (file: string) => readFileSync(path.join(project, file), 'utf8')

  test('is a whole project of this version', async () => {
    const { code, out } = await run(['init', template, '--template', template], { folder })
    expect(code).toBe(0)
    const files = readdirSync(project)
    expect(files).toEqual(
      expect.arrayContaining(['.gitignore', 'README.md', 'compose.yaml', 'lake.ts', 'package.json', 'tsconfig.json']),
    )
    for (const file of files) expect(out).toContain(`✓ ${template}/${file}\n`)
    expect(out).toContain(`next: cd ${template} && npm install`)
    for (const file of files) expect(read(file)).not.toMatch(/\{\{\w+\}\}/)
    const { name, dependencies } = JSON.parse(read('package.json'))
    expect(name).toBe(template)
    // A working copy is its own source; what is packed names its version (package.real.test.ts).
    expect(dependencies.kappalake).toBe(`file:${path.resolve(import.meta.dirname, '../..')}`)
  })

  test('has the commands that its README names, and the files of its commands', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = [...read('README.md').matchAll(/^npm (?:run )?(\w+)/gm)].map((match) => match[1]!)
    expect(named).toEqual(expect.arrayContaining(['install', 'kafka', 'produce', 'start']))
    expect(named.filter((name) => name !== 'install' && scripts[name] === undefined)).toEqual([])
    const files = Object.values(scripts).flatMap((script) => /^node (\w+\.mjs)$/.exec(script)?.[1] ?? [])
    expect(readdirSync(project)).toEqual(expect.arrayContaining(files))
  })

  test('pins what it installs and starts', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json'))
    const own = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
    const ours = { ...own.devDependencies, ...own.dependencies }
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies }))
      if (name !== 'kappalake') expect(`${name} ${version}`).toBe(`${name} ${ours[name]}`)
    for (const { image } of Object.values<any>(parse(read('compose.yaml')).services)) expect(image).toMatch(/:\d+\.\d+/)
  })
})

describe('what a project depends on', () => {
  const project = path.join(folder, 'installed')
  const root = path.join(project, 'node_modules/kappalake')
  const tarball = path.join(folder, 'kappalake-1.2.3.tgz')
  mkdirSync(root, { recursive: true })
  const installedFrom = (resolved: string) =>
    writeFileSync(
      path.join(project, 'node_modules/.package-lock.json'),
      JSON.stringify({ packages: { 'node_modules/kappalake': { version: '1.2.3', resolved } } }),
    )

  test('the tarball that it was installed from, which no registry has', () => {
    writeFileSync(tarball, '')
    installedFrom('file:../kappalake-1.2.3.tgz')
    expect(dependencyOn('1.2.3', root)).toBe(`file:${tarball}`)
  })
  test('the version, where a registry has it, the tarball is gone, or nothing is known', () => {
    installedFrom('https://registry.npmjs.org/kappalake/-/kappalake-1.2.3.tgz')
    expect(dependencyOn('1.2.3', root)).toBe('1.2.3')
    installedFrom('file:../gone.tgz')
    expect(dependencyOn('1.2.3', root)).toBe('1.2.3')
    rmSync(path.join(project, 'node_modules/.package-lock.json'))
    expect(dependencyOn('1.2.3', root)).toBe('1.2.3')
  })
})

describe('the folder', () => {
  test('that holds something is left alone', async () => {
    mkdirSync(path.join(folder, 'taken'))
    writeFileSync(path.join(folder, 'taken/notes.txt'), 'mine')
    const { code, err } = await run(['init', 'taken'], { folder })
    expect(code).toBe(1)
    expect(err).toMatch(/^✗ config\.invalid: .*taken is not empty: notes\.txt\n/)
    expect(readdirSync(path.join(folder, 'taken'))).toEqual(['notes.txt'])
  })

  test('that is a new repository, or here, is taken', async () => {
    const here = path.join(folder, 'Here & Now')
    mkdirSync(path.join(here, '.git'), { recursive: true })
    const { code, out } = await run(['init'], { folder: here })
    expect(code).toBe(0)
    expect(out).toContain('next: npm install')
    expect(JSON.parse(readFileSync(path.join(here, 'package.json'), 'utf8')).name).toBe('here-now')
  })
})

test('of a template that is not there is wrong usage, and names those that are', async () => {
  const { code, err } = await run(['init', 'x', '--template', 'cdc'], { folder })
  expect(code).toBe(2)
  expect(err).toContain('orders-json')
  expect(readdirSync(folder)).not.toContain('x')
})

test('every name of a folder makes a name that npm takes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (name) => {
      expect(packageName(name)).toMatch(/^[a-z0-9-][a-z0-9._-]*$/)
    }),
  )
  expect(packageName('my-lake')).toBe('my-lake')
})
