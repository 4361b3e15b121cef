import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBroker, type Broker } from '../../infra/kafka.mjs'
import { link, pack } from '../../infra/pack.mjs'
import { freePort } from '../../infra/ports.mjs'

// Each template as `kappalake init` writes it, with the package as it is packed: its records go into a real Kafka, its
// lake starts, ingests and answers what the README asks.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-templates-'))
const started: ChildProcess[] = []
let broker: Broker
let tarball: string
beforeAll(async () => {
  broker = await startBroker({ heap: '384m' })
  tarball = pack(folder).tarball
})
afterAll(async () => {
  for (const child of started) child.kill('SIGKILL')
  await broker?.kill()
  rmSync(folder, { recursive: true, force: true })
})

test.each(['common', 'debezium', 'avro-registry'])(
  '%s: without a Kafka, produce says so in two lines',
  async (template) => {
    const port = await freePort()
    const env = { ...process.env, KAFKA_BROKERS: `127.0.0.1:${port}`, REGISTRY_URL: `http://127.0.0.1:${port}` }
    const said = execute(process.execPath, [path.resolve('infra/templates', template, 'produce.mjs')], { env })
    await expect(said).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^✗ no [^\n]+ answers at [^\n]+ECONNREFUSED[^\n]+\n {2}next: npm run kafka [^\n]+\n$/,
      ),
    })
  },
)

test('orders-json', async () => {
  const project = await init('orders-json')
  await project.node('produce.mjs')
  const port = await freePort()
  const { end } = await project.start(
    ['node_modules/kappalake/dist/main.js', 'start', '--lanes=1', `--port=${port}`],
    `http://127.0.0.1:${port}`,
  )
  const url = `http://127.0.0.1:${port}`
  await until(() => project.query(url, 'select count(*)::int n from orders'), [{ n: 19 }])
  expect(await project.query(url, 'select status, count(*)::int n from orders group by 1 order by 1')).toEqual([
    { status: 'cancelled', n: 4 },
    { status: 'created', n: 5 },
    { status: 'paid', n: 5 },
    { status: 'shipped', n: 5 },
  ])
  expect(await project.query(url, 'select count(*)::int n from orders__dlq')).toEqual([{ n: 1 }])
  expect(await project.query(url, 'select sum(n)::int n from revenue_1m')).toEqual([{ n: 19 }])
  expect(await end()).toBe(0)
})

test('debezium', async () => {
  const project = await init('debezium')
  await project.node('produce.mjs')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const { end } = await project.start(
    ['node_modules/kappalake/dist/main.js', 'start', '--lanes=1', `--port=${port}`],
    url,
  )
  await until(
    () => project.query(url, 'select id, email, balance from customers order by id'),
    [
      { id: 1, email: 'ada@example.com', balance: '10.00' },
      { id: 2, email: 'bob@example.com', balance: '25.50' },
    ],
  )
  expect(await end()).toBe(0)
})

test('avro-registry', async () => {
  await using registry = await startRegistry()
  const project = await init('avro-registry', { REGISTRY_URL: registry.url })
  await project.node('produce.mjs')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const { end } = await project.start(
    ['node_modules/kappalake/dist/main.js', 'start', '--lanes=1', `--port=${port}`],
    url,
  )
  await until(
    () => project.query(url, 'select status, count(*)::int n, sum(amount) sum from orders group by 1 order by 1'),
    [
      { status: 'cancelled', n: 5, sum: '63.75' },
      { status: 'created', n: 5, sum: '60.00' },
      { status: 'paid', n: 5, sum: '61.25' },
      { status: 'shipped', n: 5, sum: '62.50' },
    ],
  )
  expect(await project.query(url, 'select count(*)::int n from orders where customerId is null')).toEqual([{ n: 4 }])
  expect(await project.query(url, 'select sum(n)::int n from revenue_1m')).toEqual([{ n: 20 }])
  expect(await end()).toBe(0)
})

/** A registry that takes one schema, with the two routes that the template's programs ask. */
async function startRegistry(): Promise<AsyncDisposable & { readonly url: string }> {
  let schema: string | undefined
  const server = http.createServer(async (request, response) => {
    if (request.method === 'POST' && request.url === '/subjects/shop.orders.avro-value/versions')
      schema = (JSON.parse(await text(request)) as { schema: string }).schema
    const isKnown = schema !== undefined && (request.method === 'POST' || request.url === '/schemas/ids/7')
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/vnd.schemaregistry.v1+json' })
    response.end(JSON.stringify(isKnown ? { id: 7, schema } : { error_code: 40403, message: 'not found' }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

test('embedded-hono', async () => {
  const project = await init('embedded-hono')
  // The topic holds the orders of the first template; another twenty bring the same keys again.
  await project.node('produce.mjs')
  await project.node('node_modules/typescript/bin/tsc')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const { end } = await project.start(['dist/server.js'], `${url}/lake`, { PORT: String(port) })
  const get = async (at: string) => (await fetch(url + at)).json()
  await until(() => get('/orders/o-1'), { orderId: 'o-1', status: 'cancelled', amount: '11.75' })
  await until(
    () => get('/revenue'),
    [
      { status: 'cancelled', n: 4, revenue: '49.00' },
      { status: 'shipped', n: 1, revenue: '14.50' },
    ],
  )
  expect(await get('/orders/none')).toEqual({ error: 'no such order' })
  expect(await project.query(`${url}/lake`, 'select count(*)::int n from orders')).toEqual([{ n: 5 }])
  expect(await end()).toBe(0)
})

const execute = promisify(execFile)

/** Makes a project; what is run in it has the package and its declared dependencies, and nothing else. */
async function init(template: string, more: Readonly<Record<string, string>> = {}) {
  const place = path.join(folder, template)
  await execute(process.execPath, [path.resolve('dist/main.js'), 'init', place, '--template', template])
  link(tarball, place, ['typescript', '@types/node'])
  const env = { PATH: process.env.PATH, KAFKA_BROKERS: broker.address, ...more }
  const run = async (args: readonly string[]) => (await execute(process.execPath, args, { cwd: place, env })).stdout
  return {
    node: (...args: string[]) => run(args),
    query: async (url: string, sql: string): Promise<unknown> =>
      JSON.parse(await run(['node_modules/kappalake/dist/main.js', 'query', '--url', url, '-o', 'json', sql])),
    /** Starts a server; resolves when it is ready. `end` asks it to end, and resolves with its exit code. */
    start: async (args: readonly string[], url: string, own: Readonly<Record<string, string>> = {}) => {
      const child = spawn(process.execPath, args, {
        cwd: place,
        env: { ...env, ...own },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      started.push(child)
      let said = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (said += bytes))
      const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)))
      while (
        !(await fetch(`${url}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ))
      ) {
        if (child.exitCode !== null) throw new Error(`${template} ended with ${child.exitCode}: ${said}`)
        await sleep(100)
      }
      return { end: () => (child.kill('SIGTERM'), ended) }
    },
  }
}

async function until(look: () => unknown, wanted: unknown): Promise<void> {
  for (const startedMs = performance.now(); performance.now() - startedMs < 30_000; await sleep(200))
    if (JSON.stringify(await look()) === JSON.stringify(wanted)) return
  expect(await look()).toEqual(wanted)
}
