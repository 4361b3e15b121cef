// Takes the steps of infra/container/Dockerfile without a container engine: each stage is a folder, what it copies is
// copied, and what it runs in its work folder is run there. Then the image's command starts a lake on a real Kafka and a
// real S3 store, as infra/compose does, and must become ready. Needs what `npm run setup` installs.
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Kafka, logLevel } from 'kafkajs'
import { isInContext, readDockerfile } from '../dockerfile.mjs'
import { startBroker } from '../kafka.mjs'
import { freePort } from '../ports.mjs'
import { startS3 } from '../s3.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..')
const READY_MS_MAX = 120_000
const END_MS_MAX = 12_000

/** Builds the stages below `folder`; resolves with the root of the last one. */
export function buildInPlain(folder, log = console.log) {
  const ignore = readFileSync(path.join(root, '.dockerignore'), 'utf8')
  const stages = readDockerfile(readFileSync(path.join(root, 'infra/container/Dockerfile'), 'utf8'))
  const rootOf = (name) => path.join(folder, name ?? 'image')
  for (const stage of stages) {
    const place = rootOf(stage.name)
    let workdir = '/'
    for (const { op, flags, args, text } of stage.steps) {
      const at = (file) => path.join(place, path.resolve(workdir, file))
      if (op === 'WORKDIR') mkdirSync(at((workdir = path.resolve(workdir, text))), { recursive: true })
      if (op === 'COPY') {
        const target = args.at(-1)
        const isFolder = target.endsWith('/') || args.length > 2
        for (const source of args.slice(0, -1)) {
          const from = flags.from === undefined ? path.join(root, source) : path.join(rootOf(flags.from), source)
          if (flags.from === undefined && !isInContext(ignore, source))
            throw new Error(`${source} is not in the context`)
          if (!existsSync(from)) throw new Error(`COPY ${source}: it is not there`)
          const to = isFolder ? path.join(at(target), path.basename(source)) : at(target)
          mkdirSync(path.dirname(to), { recursive: true })
          cpSync(from, to, { recursive: true, verbatimSymlinks: true })
        }
      }
      // What touches the rest of the system is for a container alone.
      if (op === 'RUN' && /^(npm|node) /.test(text)) {
        log(`  ${stage.name}: ${text}`)
        const { status } = spawnSync(text, { shell: true, cwd: at('.'), stdio: ['ignore', 'ignore', 'inherit'] })
        if (status !== 0) throw new Error(`${text} ended with ${status}`)
      }
    }
  }
  return rootOf(stages.at(-1).name)
}

async function main() {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-image-'))
  const parts = []
  try {
    const app = path.join(buildInPlain(folder), 'app')
    const bytes = bytesBelow(app)
    console.log(`  image: ${(bytes / 2 ** 20).toFixed(0)} MiB below /app`)
    const [broker, s3, port] = await Promise.all([
      startBroker({ heap: '384m' }),
      startS3({ bucket: 'other' }),
      freePort(),
    ])
    parts.push(broker, s3)
    const [config, scratch] = ['etc', 'scratch'].map((name) => path.join(folder, name))
    for (const place of [config, scratch]) mkdirSync(place)
    cpSync(path.join(root, 'infra/compose/kappalake.yaml'), path.join(config, 'kappalake.yaml'))
    const env = {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      TMPDIR: scratch,
      HOME: path.join(folder, 'nobody-has-one'),
      KAFKA_BROKERS: broker.address,
      KAPPALAKE__STORE__URL: 's3://lake/shop',
      KAPPALAKE__STORE__ENDPOINT: s3.endpoint,
      KAPPALAKE__STORE__REGION: 'us-east-1',
      KAPPALAKE__STORE__ACCESS_KEY_ID: 'local',
      KAPPALAKE__STORE__SECRET_ACCESS_KEY: 'local-secret',
      KAPPALAKE__HTTP__PORT: String(port),
    }
    const node = (args) => spawnSync(process.execPath, args, { cwd: config, env, encoding: 'utf8' })
    for (const said of ['created', 'is there']) {
      const { stdout, stderr } = node([path.join(app, 'infra/container/create-bucket.mjs')])
      if (!stdout.includes(said)) throw new Error(`create-bucket.mjs said: ${stdout}${stderr}`)
    }
    await createTopic(broker.address)
    const ready = () => node([path.join(app, 'infra/container/ready.mjs')])
    if (ready().status === 0) throw new Error('ready.mjs says that a server is ready which does not run')
    const server = spawn(process.execPath, [path.join(app, 'dist/main.js'), 'start'], {
      cwd: config,
      env,
      stdio: 'inherit',
    })
    const ended = new Promise((resolve) => server.on('exit', (code, signal) => resolve(signal ?? code)))
    parts.push({ stop: () => (server.exitCode === null ? server.kill('SIGKILL') : undefined) })
    const startedMs = performance.now()
    while (ready().status !== 0) {
      if (server.exitCode !== null || performance.now() - startedMs > READY_MS_MAX)
        throw new Error(`not ready: ${ready().stderr}`)
      await sleep(500)
    }
    console.log(`  ready after ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`)
    const endingMs = performance.now()
    server.kill('SIGTERM')
    const code = await ended
    if (code !== 0 || performance.now() - endingMs > END_MS_MAX)
      throw new Error(`SIGTERM ended it with ${code}, or late`)
    // The rest of the file system may be read-only.
    const touched = [
      ...readdirSync(config).filter((file) => file !== 'kappalake.yaml'),
      ...readdirSync(folder).filter((file) => !['build', 'packages', 'image', 'etc', 'scratch'].includes(file)),
      ...(bytesBelow(app) === bytes ? [] : [app]),
    ]
    if (touched.length > 0) throw new Error(`it wrote where it must not: ${touched.join(', ')}`)
    console.log(`  SIGTERM: ended after ${((performance.now() - endingMs) / 1_000).toFixed(1)} s`)
  } finally {
    for (const part of parts.toReversed()) await part.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function createTopic(address) {
  const admin = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: 'shop.orders', numPartitions: 3 }], waitForLeaders: true })
  await admin.disconnect()
}

function bytesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size, 0)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
