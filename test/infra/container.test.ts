import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { isInContext, readDockerfile } from '../../infra/dockerfile.mjs'
import { loadConfig } from '../../src/config.ts'

// What the image is made of, and what the compose file says of it. hadolint and the schema of compose files are in
// `npm run check:infra`.

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const stages = readDockerfile(read('infra/container/Dockerfile'))
const image = stages.at(-1)!
const step = (op: string) => image.steps.filter((each) => each.op === op)
const manifest = JSON.parse(read('package.json'))
const PINNED = /^[a-z0-9./-]+:v?\d+\.\d+\.\d+(-[a-z]+)?$/

describe('the image', () => {
  test('is made from pinned ones', () => {
    for (const stage of stages) expect(stage.image).toMatch(PINNED)
    const [, given] = /^node:(\d+\.\d+)/.exec(image.image)!
    expect(Number(given)).toBeGreaterThanOrEqual(Number(/\d+\.\d+/.exec(manifest.engines.node)![0]))
  })

  test('copies what is there and reaches the build', () => {
    const ignore = read('.dockerignore')
    const copied = stages.flatMap(({ steps }) =>
      steps
        .filter(({ op, flags }) => op === 'COPY' && flags.from === undefined)
        .flatMap(({ args }) => args.slice(0, -1)),
    )
    expect(copied.filter((file) => !existsSync(path.join(root, file)))).toEqual([])
    expect(copied.filter((file) => !isInContext(ignore, file))).toEqual([])
    for (const file of ['node_modules', '.git', '.cache', 'dist', 'test/tidy.test.ts', 'infra/kafka.mjs'])
      expect(isInContext(ignore, file)).toBe(false)
  })

  test('holds what the package holds', () => {
    const held = step('COPY').flatMap(({ args, flags }) =>
      args.slice(0, -1).map((file) => (flags.from === undefined ? file : file.replace(/^\/app\//, ''))),
    )
    expect((manifest.files as string[]).filter((file) => !held.includes(file))).toEqual([])
    expect(held).toContain('node_modules')
  })

  test('runs no script of a package, and takes what the lock file says', () => {
    const installs = stages.flatMap(({ steps }) => steps.filter(({ text }) => text.includes('npm ')))
    expect(installs.length).toBe(2)
    for (const { text } of installs) expect(text).toMatch(/^npm ci (--omit=dev )?--ignore-scripts$/)
    expect(stages.find(({ name }) => name === 'packages')!.steps.some(({ text }) => text.includes('--omit=dev'))).toBe(
      true,
    )
  })

  test('is not root, tells whether it is ready, and starts', () => {
    expect(step('USER').at(-1)!.text).toMatch(/^[1-9]\d*:[1-9]\d*$/)
    const [health] = step('HEALTHCHECK')
    const script = /"\/app\/(infra\/[^"]+)"/.exec(health!.text)![1]!
    expect(step('COPY').flatMap(({ args }) => args)).toContain(script)
    expect(read(script)).toContain('/readyz')
    expect(step('ENTRYPOINT')[0]!.args).toEqual(['kappalake'])
    expect(read('infra/container/kappalake.sh')).toContain('exec node /app/dist/main.js "$@"')
    expect(step('STOPSIGNAL')[0]!.text).toBe('SIGTERM')
    expect(step('EXPOSE')[0]!.text).toBe('7780')
  })
})

describe('the compose file', () => {
  const { services, volumes } = parse(read('infra/compose/compose.yaml'), { merge: true })

  test('pins its images', () => {
    const images = Object.values<any>(services).map(({ image: name }) => name.replace(/^\$\{\w+:-(.*)\}$/, '$1'))
    for (const name of images) expect(name).toMatch(PINNED)
    expect(services.kappalake.image).toContain(`:-kappalake:${manifest.version}`)
  })

  test('waits for what it needs', () => {
    for (const [name, { depends_on: needs = {} }] of Object.entries<any>(services))
      for (const [other, { condition }] of Object.entries<any>(needs)) {
        expect(services[other], `${name} waits for ${other}`).toBeTruthy()
        if (condition === 'service_healthy') expect(services[other].healthcheck).toBeTruthy()
      }
    expect(Object.keys(services.kappalake.depends_on)).toEqual(['topics', 'bucket'])
  })

  test('publishes to this machine alone', () => {
    const ports = Object.values<any>(services).flatMap(({ ports: given = [] }) => given as string[])
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
  })

  test('mounts what is there', () => {
    const mounts = Object.values<any>(services).flatMap(({ volumes: given = [] }) => given as string[])
    for (const [from = ''] of mounts.map((mount) => mount.split(':')))
      if (from.startsWith('.')) expect(existsSync(path.join(root, 'infra/compose', from)), from).toBe(true)
      else expect(Object.keys(volumes)).toContain(from)
  })

  test('gives kappalake a configuration that it takes, and the topics and the bucket of it', async () => {
    const place = mkdtempSync(path.join(os.tmpdir(), 'kappalake-compose-'))
    writeFileSync(path.join(place, 'kappalake.yaml'), read('infra/compose/kappalake.yaml'))
    const env = Object.fromEntries(
      Object.entries<string>(services.kappalake.environment).map(([key, value]) => [
        key,
        value.replace(/^\$\{\w+:-(.*)\}$/, '$1'),
      ]),
    )
    const { settings, definition } = await loadConfig({ folder: place, env, flags: {} })
    expect(settings.store.url).toBe(services.bucket.environment.KAPPALAKE__STORE__URL)
    expect(settings.http.host).toBe('0.0.0.0')
    const topics = definition.pipelines.flatMap(({ tables }) => tables.map(({ topic }) => topic))
    expect(services.topics.command).toContain(`--topic=${topics[0]}`)
    expect(new Set(topics).size).toBe(1)
  })
})
