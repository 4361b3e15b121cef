import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'

// The command as it is shipped: bundled, in a process of its own, with the real exit codes, streams and signals.

let folder: string
let main: string
beforeAll(async () => {
  // Inside the project, so that packages resolve; one level down, as dist/ is.
  mkdirSync('.cache', { recursive: true })
  folder = mkdtempSync(path.resolve('.cache', 'main-'))
  main = path.join(folder, 'dist/main.js')
  await build({
    entryPoints: { main: 'src/main.ts', index: 'src/define.ts' },
    outdir: path.dirname(main),
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
  })
  writeFileSync(path.join(folder, 'package.json'), '{"type":"module","version":"9.9.9"}')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function kappalake(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, env: { PATH: process.env.PATH, ...env } })
  let [out, err] = ['', '']
  child.stdout.on('data', (text) => void (out += text))
  child.stderr.on('data', (text) => void (err += text))
  const ended = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.on('close', (code) => resolve({ code, out, err })),
  )
  return { child, ended }
}

test('exit codes and streams', async () => {
  expect(await kappalake(['--version']).ended).toEqual({ code: 0, out: '9.9.9\n', err: '' })
  const usage = await kappalake(['frobnicate']).ended
  expect([usage.code, usage.out]).toEqual([2, ''])
  const nobody = await kappalake(['tables'], { KAPPALAKE_URL: 'http://127.0.0.1:1' }).ended
  expect([nobody.code, nobody.out]).toEqual([3, ''])
  expect(nobody.err).toMatch(/^✗ not_ready: nothing answers at http:\/\/127\.0\.0\.1:1\n/)
  const failed = await kappalake(['start']).ended
  expect([failed.code, failed.err]).toEqual([1, expect.stringMatching(/^✗ config\.invalid: pipelines: is missing/)])
  expect(failed.err).not.toMatch(/\n\s+at /)
})

test('a terminal is coloured, but not with NO_COLOR', () => {
  const onTerminal = (env: Readonly<Record<string, string>>): string =>
    spawnSync('script', ['-qec', `'${process.execPath}' '${main}' tables --url http://127.0.0.1:1`, '/dev/null'], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, TERM: 'xterm', ...env },
    }).stdout
  expect(onTerminal({})).toContain('\u001B[31m✗\u001B[0m not_ready')
  for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }] as Record<string, string>[])
    expect(onTerminal(env)).toMatch(/^✗ not_ready/)
})

test('a long answer arrives whole through a pipe', async () => {
  const rows = Array.from({ length: 50_000 }, (_, i) => ({ i: String(i), text: 'x'.repeat(50) }))
  const server = http.createServer((_, response) =>
    response
      .setHeader('content-type', 'application/x-ndjson')
      .end(rows.map((row) => `${JSON.stringify(row)}\n`).join('')),
  )
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const { code, out } = await kappalake(['query', 'q', '-o', 'ndjson', '--url', `http://127.0.0.1:${port}`]).ended
  server.close()
  expect(code).toBe(0)
  expect(
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual(rows)
})

test('a signal ends what is under way; a definition in TypeScript needs no package of its own', async () => {
  const server = http.createServer(() => undefined)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const { child, ended } = kappalake(['tables', '--url', `http://127.0.0.1:${port}`])
  await new Promise((done) => server.once('request', done))
  child.kill('SIGTERM')
  expect(await ended).toEqual({ code: 1, out: '', err: '✗ sql.cancelled: interrupted\n  next: Run it again.\n' })
  server.closeAllConnections()
  server.close()

  writeFileSync(
    path.join(folder, 'lake.ts'),
    `import { defineLake, t, table } from 'kappalake'
     export default defineLake({ p: [table('a', { from: { topic: 'a' }, columns: { id: t.int() } })] })`,
  )
  const printed = await kappalake(['config', 'print', '--brokers', 'a:1', '-o', 'json']).ended
  expect(printed.err).toBe('')
  expect(JSON.parse(printed.out)).toContainEqual({ setting: 'kafka.brokers', value: 'a:1', source: '--brokers' })
  writeFileSync(path.join(folder, 'lake.ts'), `import { join } from 'kappalake'\nexport default join()`)
  const later = await kappalake(['config', 'print', '--brokers', 'a:1']).ended
  expect(later.err).toMatch(/^✗ config\.unsupported: .*kappalake has no "join" in this release/)
})
