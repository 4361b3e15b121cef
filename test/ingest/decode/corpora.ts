import { readFileSync } from 'node:fs'
import path from 'node:path'

const FIXTURES = path.resolve(import.meta.dirname, '../../fixtures')

/** A text that parsers of JSON must accept (`y_`), must refuse (`n_`), or may take either way. */
export interface SuiteCase {
  readonly name: string
  readonly bytes: Buffer
}

/** JSONTestSuite; `test/fixtures/json-test-suite/README.md` tells its form. */
export function jsonTestSuite(): readonly SuiteCase[] {
  const lines = readFileSync(path.join(FIXTURES, 'json-test-suite/cases.ndjson'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const { name, text, hex, repeat, times, then } = JSON.parse(line) as Readonly<Record<string, string>>
    const bytes =
      hex === undefined
        ? Buffer.from(repeat === undefined ? text! : repeat.repeat(Number(times)) + (then ?? ''))
        : Buffer.from(hex, 'hex')
    return { name: name!, bytes }
  })
}

/** The Big List of Naughty Strings. */
export function naughtyStrings(): readonly string[] {
  return JSON.parse(readFileSync(path.join(FIXTURES, 'naughty-strings/blns.json'), 'utf8')) as string[]
}
