// Records that keep coming while code changes: the producers of the windows and of the change streams, round after round.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { produce as produceChanges } from '../cdc/world.mjs'
import { Ledger } from '../cdc/ledger.mjs'
import { TABLES } from '../cdc/tables.mjs'
import { createTopics } from '../exact/world.mjs'
import { SOURCES, WINDOWS } from '../windows/pipelines.mjs'
import { produce, readLog } from '../windows/world.mjs'

/** Longer than the event times of a round go back, so that a round is not late for what the one before it closed. */
const ROUND_MS = 13 * 3_600_000
/** All of them within the time that a broker keeps records. */
const ROUNDS_MAX = 8

export class Traffic {
  /** Options of the change streams, as the ledger takes them. */
  stream
  #world
  #options
  #files = []
  #changes
  #rounds
  #isStopped = false
  #produced = 0

  /** @param {{ seed: number, records: number, perSecond: number }} options `records` of a round */
  constructor(world, options) {
    this.#world = world
    this.#options = options
    this.stream = { partitions: world.partitions, seed: options.seed, keys: 200, isPartial: false }
  }

  async createTopics() {
    const published = WINDOWS.flatMap(({ config }) => config.to ?? [])
    const topics = [...Object.values(SOURCES), ...TABLES, ...published].map(({ topic }) => topic)
    await createTopics(this.#world, topics)
  }

  /** Resolves when the first round is in the log; the others follow, until `stop`. */
  async start() {
    const { records, perSecond } = this.#options
    this.#changes = produceChanges(this.#world, {
      stream: this.stream,
      records,
      perSecond: 4 * perSecond,
      stopFile: this.#stopFile,
    })
    this.#changes.catch(() => undefined)
    await this.#round(4 * perSecond)
    this.#rounds = this.#goOn()
    this.#rounds.catch(() => undefined)
  }

  /** Records of all topics so far. Ends at once what trickles, and the round that is under way when it is over. */
  async stop() {
    this.#isStopped = true
    writeFileSync(this.#stopFile, '')
    await this.#rounds
    const { produced, positions } = await this.#changes
    return { produced: this.#produced + produced, positions: Object.fromEntries(positions) }
  }

  /** One round more, of the windows' topics. */
  async more() {
    await this.#round(this.#options.perSecond)
  }

  /** The log of the windows' topics, by topic and partition. */
  log() {
    const all = path.join(this.#world.folder, 'log.ndjson')
    writeFileSync(all, this.#files.map((file) => readFileSync(file, 'utf8')).join(''))
    return readLog(all)
  }

  ledger() {
    return new Ledger(this.stream)
  }

  get #stopFile() {
    return path.join(this.#world.folder, 'changes.stop')
  }

  async #goOn() {
    while (!this.#isStopped && this.#files.length < ROUNDS_MAX) await this.#round(this.#options.perSecond)
  }

  async #round(perSecond) {
    const number = this.#files.length
    const log = path.join(this.#world.folder, `log-${number}.ndjson`)
    this.#files.push(log)
    const baseMs = Date.now() - (ROUNDS_MAX - number) * ROUND_MS
    const { records, seed } = this.#options
    const { produced } = await produce(this.#world, { records, perSecond, seed: seed + number, baseMs, log })
    this.#produced += produced
  }
}
