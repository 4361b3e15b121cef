// Starts the S3 server that tests, benchmarks and the demo run against: ministack, from the Python environment that
// infra/setup.mjs installs. It accepts any key and secret, keeps its objects on disk and listens on loopback only.
// As a program: `node infra/s3.mjs [--port N] [--dir FOLDER]` runs until SIGINT or SIGTERM.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { freePort, isFree } from './ports.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const startMsMax = 30_000

/**
 * @param {{ port?: number, dir?: string, bucket?: string }} [options] `dir` keeps the objects after stop, so that the
 *   server can be started on them again; without it they live in a temporary folder that stop removes.
 */
export async function startS3({ port, dir, bucket = 'lake' } = {}) {
  const program = path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache', 'python/bin/ministack')
  if (!existsSync(program)) throw new Error(`${program} is missing; run: node infra/setup.mjs python`)
  const data = dir ?? (await mkdtemp(path.join(os.tmpdir(), 'kappalake-s3-')))
  await mkdir(data, { recursive: true })
  const chosen = port ?? (await freePort())
  if (!(await isFree(chosen))) throw new Error(`port ${chosen} is in use`)
  const child = spawn(program, [], {
    cwd: data,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: data,
      BIND_HOST: '127.0.0.1',
      GATEWAY_PORT: String(chosen),
      S3_PERSIST: '1',
      S3_DATA_DIR: data,
      LOG_LEVEL: 'WARNING',
    },
  })
  let said = ''
  child.stderr.on('data', (text) => (said = (said + text).slice(-4_000)))
  const gone = new Promise((resolve) => {
    child.on('exit', resolve)
    child.on('error', resolve)
  })
  const killWithParent = () => child.kill('SIGKILL')
  process.once('exit', killWithParent)

  /** Ends the server at once and keeps its objects. */
  const kill = async () => {
    child.kill('SIGKILL')
    await gone
    process.off('exit', killWithParent)
  }
  const stop = async () => {
    await kill()
    if (dir === undefined) await rm(data, { recursive: true, force: true })
  }

  const endpoint = `http://127.0.0.1:${chosen}`
  try {
    await createBucket(`${endpoint}/${bucket}`, child)
  } catch (error) {
    await stop()
    throw new Error(`the S3 server did not start: ${error.message}\n${said}`, { cause: error })
  }
  const url = `s3://${bucket}`
  const settings = { url, endpoint, region: 'us-east-1', accessKeyId: 'testkey', secretAccessKey: 'testsecret' }
  return { url, endpoint, settings, pid: child.pid, port: chosen, dir: data, kill, stop }
}

/** The server is up when it makes the bucket, and it is ours while our child lives: another would hold the port. */
async function createBucket(url, child) {
  const startedMs = performance.now()
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended while starting')
    if (performance.now() - startedMs > startMsMax) throw new Error(`no answer within ${startMsMax} ms`)
    const response = await fetch(url, { method: 'PUT' }).catch(() => undefined)
    await response?.body?.cancel()
    if (response?.ok || response?.status === 409) return
    await sleep(50)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string' }, dir: { type: 'string' } } })
  const server = await startS3({
    ...(values.port === undefined ? {} : { port: Number(values.port) }),
    ...(values.dir === undefined ? {} : { dir: values.dir }),
  })
  console.log(JSON.stringify({ pid: server.pid, ...server.settings }))
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.stop().then(() => process.exit(0)))
}
