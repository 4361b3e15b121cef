import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { run } from '../cli/support.ts'

// What a fix or a guide tells people to type can be typed.

const root = path.resolve(import.meta.dirname, '../..')
const files = (folder: string, ending: RegExp): string[] =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => ending.test(file))
    .map((file) => path.join(folder, file))

/** In texts of the source a command is quoted, or stands behind a colon, a semicolon or a comma. */
const IN_SOURCE = /(?:"|[:;,] )kappalake ([a-z]+)(?: ([a-z]+))?/g
/** In guides it is code, or the first word of a line. */
const IN_GUIDE = /(?:`|^)(?:npx )?kappalake ([a-z]+)(?: ([a-z]+))?/gm
/** Behind a colon the product may be the subject of a sentence. */
const VERBS = new Set(['has', 'is'])

test('commands that texts name are there', async () => {
  const commands = await commandsOf()
  const groups = new Map<string, ReadonlySet<string>>()
  for (const group of ['replay', 'dlq', 'key', 'config']) groups.set(group, await commandsOf(group))
  const named = [
    ...files('src', /\.ts$/).map((file) => [file, IN_SOURCE] as const),
    ...[...files('docs', /\.md$/), ...files('infra/templates', /\.md$/), 'README.md'].map(
      (file) => [file, IN_GUIDE] as const,
    ),
  ].flatMap(([file, pattern]) =>
    [...readFileSync(path.join(root, file), 'utf8').matchAll(pattern)].map(([, word = '', more]) => ({
      file,
      word,
      more,
    })),
  )
  const wrong = named.filter(
    ({ word, more }) =>
      !VERBS.has(word) &&
      (!commands.has(word) || (groups.has(word) && more !== undefined && !groups.get(word)!.has(more))),
  )
  expect(wrong).toEqual([])
  expect(named.length).toBeGreaterThan(60)
})

async function commandsOf(...group: readonly string[]): Promise<ReadonlySet<string>> {
  const { out, err } = await run([...group, '--help'])
  // Commands stand under several headings; options begin with a dash.
  return new Set([...(out + err).matchAll(/^ {2}([a-z]+)\b/gm)].map(([, name]) => name!))
}
