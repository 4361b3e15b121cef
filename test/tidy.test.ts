import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { describe, expect, test } from 'vitest'
import { pointMutations } from './crash/points.ts'

// The house rules that a program can check: who may import whom, what only the clock may touch, how long a file may be.

const ROOT = normalize(join(import.meta.dirname, '..'))
const SOURCES = filesBelow('src').map((file) => ({ file, text: readFileSync(join(ROOT, file), 'utf8') }))
const COMPOSITION_ROOTS = [
  'src/main.ts',
  'src/index.ts',
  'src/lane-child.ts',
  'src/fold-child.ts',
  'src/query/child.ts',
  'src/testing.ts',
]

/** Folder → what it may import outside itself and the vocabulary. `null`: everything. */
const ARROWS: Record<string, readonly string[] | null> = {
  vocabulary: [],
  lake: [],
  window: [],
  ingest: [
    'src/lake/chain.ts',
    'src/lake/table.ts',
    'src/lake/key-index.ts',
    'src/window/sql.ts',
    'src/window/exact-double.ts',
  ],
  replay: ['src/lake/chain.ts', 'src/lake/table.ts', 'src/lake/scan.ts', 'src/ingest/pipeline.ts'],
  query: [
    'src/lake/chain.ts',
    'src/lake/table.ts',
    'src/lake/scan.ts',
    'src/window/sql.ts',
    'src/window/exact-double.ts',
  ],
  server: [
    'src/lake/chain.ts',
    'src/lake/table.ts',
    'src/lake/scan.ts',
    'src/query/engine.ts',
    'src/ingest/pipeline.ts',
    'src/replay/fork.ts',
  ],
  client: [],
  cli: null,
  testing: null,
  root: null,
}
const NOT_VOCABULARY = [...COMPOSITION_ROOTS]

describe('imports', () => {
  test.each(SOURCES)('$file imports only what its folder may', ({ file, text }) => {
    const allowed = ARROWS[roomOf(file)]
    expect(allowed, `${file} is in a folder that the house does not know`).not.toBeUndefined()
    if (allowed === null || COMPOSITION_ROOTS.includes(file)) return
    const foreign = importsOf(file, text).filter((target) => !isVocabulary(target) && roomOf(target) !== roomOf(file))
    expect(foreign.filter((target) => !allowed!.includes(target))).toEqual([])
  })

  test('one path: what replays may enter ingestion by its door alone', () => {
    const entries = SOURCES.filter(({ file }) => roomOf(file) === 'replay').flatMap(({ file, text }) =>
      importsOf(file, text),
    )
    expect(entries.filter((target) => roomOf(target) === 'ingest' && target !== 'src/ingest/pipeline.ts')).toEqual([])
  })

  test('a vocabulary file imports no folder', () => {
    const wrong = SOURCES.filter(({ file }) => isVocabulary(file)).flatMap(({ file, text }) =>
      importsOf(file, text)
        .filter((target) => !isVocabulary(target))
        .map((target) => `${file} → ${target}`),
    )
    expect(wrong).toEqual([])
  })
})

test('every file is reached from what is started or imported', () => {
  const reached = new Set([...COMPOSITION_ROOTS, 'src/client/client.ts'])
  const texts = new Map(SOURCES.map(({ file, text }) => [file, text]))
  for (const file of reached) for (const target of importsOf(file, texts.get(file)!)) reached.add(target)
  const unreached = SOURCES.filter(({ file }) => !file.endsWith('.d.ts') && !reached.has(file))
  expect(unreached.map(({ file }) => file)).toEqual([])
})

test('a crash in native code ends a child: the main process loads no DuckDB', () => {
  const texts = new Map(
    SOURCES.map(({ file, text }) => [file, text.replace(/^(?:import|export) type\b[^'"]*from '.*'$/gm, '')]),
  )
  const reached = new Set(['src/main.ts', 'src/index.ts'])
  for (const file of reached) for (const target of importsOf(file, texts.get(file)!)) reached.add(target)
  expect([...reached].filter((file) => /from '@duckdb/.test(texts.get(file)!))).toEqual([])
  expect(reached.size).toBeGreaterThan(100)
})

describe('time and chance are parameters', () => {
  const banned = /\bDate\.now\(|\bMath\.random\(|\brandomUUID\b|\bsetTimeout\b|\bsetInterval\b|\bnew Date\(\)/
  test.each(SOURCES.filter(({ file }) => file !== 'src/clock.ts' && !COMPOSITION_ROOTS.includes(file)))(
    '$file',
    ({ text }) => {
      expect(code(text)).not.toMatch(banned)
    },
  )
})

test('signals are put together where none is lost', () => {
  const wrong = SOURCES.filter(({ file, text }) => file !== 'src/abort.ts' && /AbortSignal\.any\(/.test(code(text)))
  expect(wrong.map(({ file }) => file)).toEqual([])
})

describe('shape', () => {
  test.each(SOURCES)('$file has at most 400 lines and a kebab-case name', ({ file, text }) => {
    expect(text.split('\n').length).toBeLessThanOrEqual(401)
    expect(file).toMatch(/^src(\/[a-z]+(-[a-z]+)*)*\/[a-z0-9]+(-[a-z0-9]+)*(\.d)?\.ts$/)
  })

  test('the files that tell the whole story are short', () => {
    const story = ['log', 'version', 'ingest/pipeline', 'ingest/lane', 'ingest/committer', 'lake/chain']
    const lines = story.map((name) => readFileSync(join(ROOT, `src/${name}.ts`), 'utf8').split('\n').length)
    expect(Math.max(...lines)).toBeLessThanOrEqual(300)
    expect(lines.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(1_180)
  })

  test('every place where tests make a process die stands once in its file', () => {
    const texts = pointMutations().map(({ file, text }) => ({ file, text, in: readFileSync(join(ROOT, file), 'utf8') }))
    expect(texts.length).toBeGreaterThan(30)
    const lost = texts.filter((each) => each.in.split(each.text).length !== 2)
    expect(lost.map(({ file, text }) => `${file}: ${text}`)).toEqual([])
  })

  test('one error class, no loose ends', () => {
    const classes = SOURCES.filter(({ text }) => /class \w+ extends \w*Error\b/.test(text)).map(({ file }) => file)
    expect(classes).toEqual(['src/error.ts'])
    const loose = SOURCES.filter(({ text }) => /\b(TODO|FIXME|XXX|HACK)\b/.test(text)).map(({ file }) => file)
    expect(loose).toEqual([])
  })

  test('the lake knows no Kafka client', () => {
    const wrong = SOURCES.filter(({ file, text }) => roomOf(file) === 'lake' && /kafka(?!\.|lake)/i.test(text))
    expect(wrong.map(({ file }) => file)).toEqual([])
  })
})

function filesBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .toSorted()
}

function roomOf(file: string): string {
  const parts = file.split('/')
  if (parts.length > 2) return parts[1]!
  return isVocabulary(file) ? 'vocabulary' : 'root'
}

function isVocabulary(file: string): boolean {
  return file.split('/').length === 2 && !NOT_VOCABULARY.includes(file)
}

function importsOf(file: string, text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\b[^'"]*?from '(\.[^']+)'|import\('(\.[^']+)'\)/gm)].map((match) =>
    normalize(join(dirname(file), match[1] ?? match[2]!)),
  )
}

/** Source without comments and strings' worth of prose. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}
