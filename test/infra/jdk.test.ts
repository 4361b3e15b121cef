import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { findJdk } from '../../infra/jdk.mjs'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-jdk-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function jdk(name: string, version: string): string {
  const home = path.join(folder, name)
  mkdirSync(path.join(home, 'bin'), { recursive: true })
  writeFileSync(path.join(home, 'bin/java'), '')
  writeFileSync(path.join(home, 'release'), `IMPLEMENTOR="x"\nJAVA_VERSION="${version}"\n`)
  return home
}

test('the newest Java is found that is new enough, JAVA_HOME first; without one it says what to do', () => {
  const old = jdk('a/old', '17.0.15')
  const newer = jdk('a/newer', '24')
  const newest = jdk('a/mac/Contents/Home', '25.0.3')
  jdk('a/first', '1.8.0_1')
  mkdirSync(path.join(folder, 'a/empty'))
  const folders = [path.join(folder, 'a'), path.join(folder, 'nowhere')]
  expect(findJdk(24, 'It', folders, '')).toBe(newest)
  expect(findJdk(24, 'It', folders, newer)).toBe(newer)
  expect(findJdk(24, 'It', folders, old)).toBe(newest)
  expect(() => findJdk(26, 'It', folders, old)).toThrow('It needs Java 26 or newer')
})
