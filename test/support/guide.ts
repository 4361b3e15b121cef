import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { codeHash, windowCodeHash } from '../../src/define-code.ts'
import type { LakeDefinition } from '../../src/define.ts'
import { open, type Lake } from '../../src/index.ts'
import { listen, type Listening } from '../../src/server/listen.ts'
import type { Settings } from '../../src/settings.ts'
import { runBlock, type Block, type Place } from './doc-blocks.ts'
import type { TestKafka } from './kafka.ts'
import { kafkaShell } from './kafka-shell.ts'
import { trustStore } from './shop-store.ts'

/**
 * One guide, gone through from its top as a reader would. Beside what documentation knows (doc-blocks.ts), its blocks are
 *
 *     <!-- run as lake -->      YAML: the kappalake that runs is ended, and one with this configuration is started
 *     <!-- run as beside -->    YAML: another one is started beside it, and takes port 7781
 *     <!-- run as same -->      TypeScript that defines what the YAML before it defines, with the same code hashes
 *     <!-- run as kafka -->     commands of Apache Kafka
 *
 * and a block in JSON behind one that was run is what it printed, line by line.
 */
export class Guide {
  readonly #kafka: TestKafka
  readonly #folder: string
  readonly #running: { readonly lake: Lake; readonly server: Listening }[] = []
  readonly #instead: Record<string, string>
  #definition: LakeDefinition | undefined
  #printed: string | undefined
  #isNew = true
  #isSent = false

  constructor(kafka: TestKafka, folder: string) {
    this.#kafka = kafka
    this.#folder = folder
    this.#instead = { 'localhost:9092': kafka.brokers[0]! }
    mkdirSync(folder, { recursive: true })
  }

  async run(block: Block): Promise<void> {
    const { mark, language, text } = block
    if (mark?.kind === 'run') this.#printed = await this.#runAs(mark.as, block)
    else if (language === 'json') {
      if (this.#printed === undefined) throw new Error(`${block.file}:${block.line}: nothing was printed before it`)
      expect(jsonLines(this.#printed), `${block.file}:${block.line}`).toEqual(jsonLines(text))
    }
  }

  async close(): Promise<void> {
    for (const { lake, server } of this.#running.splice(0)) {
      await server.close()
      await lake.close()
    }
  }

  async #runAs(as: string, block: Block): Promise<string | undefined> {
    const text = Object.entries(this.#instead).reduce((all, [from, to]) => all.replaceAll(from, to), block.text)
    if (as === 'lake') await this.close()
    if (as === 'lake' || as === 'beside') return void (await this.#start(text, as === 'lake' ? 7780 : 7781))
    if (as === 'same') return void (await this.#compare(text))
    if (as === 'kafka') {
      const printed = await kafkaShell(text, this.#kafka)
      this.#isSent ||= text.includes('kafka-console-producer.sh')
      await this.#flush()
      return printed
    }
    const printed = await runBlock(block, this.#place())
    await this.#learnReplay()
    return printed
  }

  /** On a free port, which stands for that which the guide names. */
  async #start(yaml: string, port: number): Promise<void> {
    const file = path.join(this.#folder, `kappalake-${port}.yaml`)
    writeFileSync(file, yaml)
    const { definition, settings } = await loadConfig({ file })
    if (this.#isNew) await trustStore(settings.store)
    this.#isNew = false
    this.#definition = definition
    const lake = await open(definition, small(settings, `guide-${port}`))
    const server = await listen(lake.http(), { host: '127.0.0.1', port: 0 })
    this.#running.push({ lake, server })
    this.#instead[`localhost:${port}`] = new URL(server.url).host
    if (port === 7780) await this.#flush()
  }

  /** What was sent is there when it is asked for; a reader would look twice. */
  async #flush(): Promise<void> {
    for (const pipeline of this.#running[0]?.lake.pipelines ?? []) {
      const { number } = await pipeline.flush()
      // A look-up names the version that its reader has.
      if (pipeline.name === 'reference' && this.#isSent) this.#instead['at: 2'] ??= `at: ${number}`
    }
  }

  async #compare(typescript: string): Promise<void> {
    const file = path.join(this.#folder, 'lake.ts')
    writeFileSync(file, typescript)
    const { definition } = await loadConfig({ file, flags: { 'kafka.brokers': this.#kafka.brokers[0]! } })
    expect(hashes(definition)).toEqual(hashes(this.#definition!))
  }

  #place(): Place {
    const first = this.#running[0]?.server.url
    return {
      folder: this.#folder,
      env: first === undefined ? {} : { KAPPALAKE_URL: first },
      instead: this.#instead,
    }
  }

  /** A guide calls a replay 1a2b, and what it found 9c41. */
  async #learnReplay(): Promise<void> {
    const lake = this.#running[1]?.lake
    if (lake === undefined) return
    const [replay] = await lake.replays.list()
    if (replay !== undefined) this.#instead['1a2b'] = replay.id
    if (replay?.difference != null) this.#instead['9c41'] = replay.difference.id
  }
}

const jsonLines = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as unknown)

/** By name, of tables and windows. */
function hashes({ pipelines }: LakeDefinition): unknown {
  return pipelines.map(({ name, tables, windows }) => ({
    name,
    tables: tables.map((table) => [table.name, codeHash(table), table.to]),
    windows: windows.map((window) => [
      window.name,
      windowCodeHash(
        window,
        tables.find((table) => table.name === window.source)!,
      ),
      window.to,
    ]),
  }))
}

/** One process of each kind, and no pauses: a process that is superseded finds out with its next commit. */
function small(settings: Settings, writer: string): Settings {
  return {
    ...settings,
    writer,
    lanes: 1,
    takeoverAfterMs: 2_000,
    commit: {
      ...settings.commit,
      minIntervalMs: 30,
      heartbeatMs: 1_000,
      microBatch: { ...settings.commit.microBatch, ageMsMax: 50 },
    },
    query: { ...settings.query, children: 1 },
    log: { level: 'silent' },
  }
}
