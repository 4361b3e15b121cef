// Strangers with a key to read: statements that reach for more than the tables and such that take all that there is,
// and beside them somebody who asks the same honest question again and again.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { sleep } from '../exact/world.mjs'

/** Of what must be refused, however busy the machine is, and of what must be ended. */
const [PATIENCE_MS, DEADLINE_MS] = [20_000, 1_000]
const VICTIM_EVERY_MS = 250
const read = (name) =>
  readFileSync(new URL(`../../test/fixtures/sql/${name}.sql`, import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
/** What may come of a statement that must not run. */
const REFUSED = /^(sql\.(denied|syntax|multiple_statements|failed)|table\.unknown)$/
/** What may come of one that takes too much: an answer, or an end that its process had. */
const CONTAINED = /^(rows|sql\.\w+|result\.too_large|request\.too_large|table\.unknown)$/

export class Strangers {
  /** By code, how many statements ended so. */
  outcomes = new Map()
  /** Statements that got what they must not get. */
  wrong = []
  /** Connections to a port that only a statement knows. */
  calls = 0
  /** The longest that one took. */
  slowestMs = 0
  fired = 0
  #lake
  #key
  #secrets
  #folder
  #listener
  #list
  #next = 0
  #running

  /** @param {{ key: string, secrets: string[] }} options */
  constructor(lake, folder, { key, secrets, random }) {
    this.#lake = lake
    this.#key = key
    this.#secrets = secrets
    this.#folder = folder
    const bombs = read('bombs').map((sql) => ({ sql, wanted: CONTAINED, timeoutMs: DEADLINE_MS }))
    const refused = [...read('attacks'), ...read('families')].map((sql) => ({
      sql,
      wanted: REFUSED,
      timeoutMs: PATIENCE_MS,
    }))
    // One order for every run of a seed: bombs lie among the others.
    this.#list = [...refused, ...bombs]
      .map((each) => ({ ...each, place: random() }))
      .toSorted((one, other) => one.place - other.place)
  }

  /** Statements of one round. */
  get count() {
    return this.#list.length
  }

  /** Puts what statements look for where they look for it: a secret file below the folder, a port that waits. */
  async open(secret) {
    mkdirSync(path.join(this.#folder, 'secret'), { recursive: true })
    writeFileSync(path.join(this.#folder, 'secret/s.csv'), `a\n${secret}\n`)
    this.#listener = createServer((socket) => (this.calls++, socket.destroy()))
    await new Promise((resolve) => this.#listener.listen(0, '127.0.0.1', resolve))
  }

  close() {
    this.#listener.close()
  }

  /** Goes on with the list where it stood, several at a time, until `stop`. */
  start(atOnce) {
    const state = { isStopped: false }
    const one = async () => {
      while (!state.isStopped) await this.#fire(this.#list[this.#next++ % this.#list.length])
    }
    this.#running = { state, done: Promise.all(Array.from({ length: atOnce }, one)) }
    this.#running.done.catch(() => undefined)
  }

  async stop() {
    this.#running.state.isStopped = true
    await this.#running.done
  }

  async #fire({ sql, wanted, timeoutMs }) {
    const port = this.#listener.address().port
    const text = sql.replaceAll('lab/', `${this.#folder}/`).replaceAll('127.0.0.1:9', `127.0.0.1:${port}`)
    const startedMs = performance.now()
    const { code, said } = await this.#ask(text, timeoutMs)
    this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs)
    this.fired++
    this.outcomes.set(code, (this.outcomes.get(code) ?? 0) + 1)
    if (!wanted.test(code)) this.wrong.push({ sql: sql.slice(0, 200), code })
    if (this.#secrets.some((secret) => said.includes(secret)))
      this.wrong.push({ sql: sql.slice(0, 200), code: 'secret' })
  }

  async #ask(sql, timeoutMs) {
    try {
      const answer = await fetch(`${this.#lake.url}/v1/query`, {
        method: 'POST',
        headers: { authorization: `Bearer ${this.#key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ sql, timeoutMs }),
        signal: AbortSignal.timeout(30_000),
      })
      const said = await answer.text()
      return { code: answer.ok ? 'rows' : (JSON.parse(said).code ?? String(answer.status)), said }
    } catch (error) {
      return { code: `no answer: ${error.message}`, said: '' }
    }
  }
}

/** Asks one question about one version until it is told to stop; all answers must be the first. */
export class Victim {
  answers = 0
  failures = []
  slowestMs = 0
  #isStopped = false
  #running
  #first

  constructor(lake, { key, sql, asOf }) {
    this.#running = this.#run(lake, { key, sql, asOf })
    this.#running.catch(() => undefined)
  }

  async stop() {
    this.#isStopped = true
    await this.#running
  }

  async #run(lake, { key, sql, asOf }) {
    for (; !this.#isStopped; await sleep(VICTIM_EVERY_MS)) {
      const startedMs = performance.now()
      const answer = await fetch(`${lake.url}/v1/query`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ sql, asOf }),
        signal: AbortSignal.timeout(30_000),
      }).then(
        async (response) => ({ status: response.status, body: await response.json() }),
        (error) => ({ status: 0, body: { code: error.message } }),
      )
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs)
      const rows = JSON.stringify(answer.body.rows)
      this.#first ??= rows
      if (answer.status !== 200 || rows !== this.#first)
        this.failures.push({ status: answer.status, code: answer.body.code, rows: rows?.slice(0, 200) })
      else this.answers++
    }
  }
}
