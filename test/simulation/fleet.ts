import type { FaultyStorage } from '../support/faulty-storage.ts'
import { codeHash } from '../../src/define.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import { openChain, type Chain, type CommitResult, type Draft } from '../../src/lake/chain.ts'
import type { Storage } from '../../src/lake/table.ts'
import { parsePartitionId, type PartitionId, type Positions } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { Administrator } from './administrator.ts'
import { definitionOf, PIPELINE } from './definition.ts'
import { FaultyLanes } from './faulty-lanes.ts'
import type { Plan } from './plan.ts'
import { SimProcess } from './process.ts'
import { Random } from './random.ts'
import { RowEncoder } from './row-encoder.ts'
import { RowWork } from './row-work.ts'
import type { Shop } from './shop.ts'
import { ProcessSource } from './source.ts'
import { SimFold } from './window-fold.ts'
import type { World } from './world.ts'

export interface FleetOptions {
  readonly world: World
  readonly plan: Plan
  readonly shop: Shop
  /** The store as processes see it, and as it is. */
  readonly faulty: FaultyStorage
  readonly memory: Storage
  readonly admin: Chain
  readonly onCommit: (positions: Positions) => void
}

/** One call of `append` as its caller saw it. `headBefore` and `headAfter` are the true heads at its begin and end. */
export interface Append {
  readonly process: string
  readonly commitId: string
  readonly base: bigint
  readonly code: string
  readonly headBefore: bigint
  headAfter: bigint
  result: CommitResult['kind'] | 'thrown' | 'open'
  number: bigint | undefined
  wasUnknown: boolean
  readonly wasStormy: boolean
}

interface Slot {
  readonly index: number
  life: number
  process: SimProcess | undefined
  supervisor: Supervisor | undefined
  isEnded: boolean
}

/** All processes of a run, and what happens to them. */
export class Fleet {
  readonly history: Append[] = []
  readonly #options: FleetOptions
  readonly #random: Random
  readonly #administrator: Administrator
  readonly #slots: Slot[]
  readonly #outcomes = new Map<string, number>()
  readonly #resolutions = new Map<string, number>()
  readonly #groupOffsets = new Map<PartitionId, bigint>()
  /** What the newest version says, as it stands in the store. */
  #head = 0n
  #committed: ReadonlyMap<PartitionId, bigint> = new Map()
  #read: ReadonlySet<string> = new Set()
  #isEnding = false

  constructor(options: FleetOptions) {
    this.#options = options
    this.#random = new Random(options.plan.seed, 'fleet')
    this.#administrator = new Administrator(options)
    this.#slots = Array.from({ length: options.plan.processes }, (_, index) => ({
      index,
      life: 0,
      process: undefined,
      supervisor: undefined,
      isEnded: true,
    }))
  }

  start(): void {
    const { world } = this.#options
    for (const slot of this.#slots) world.after(this.#random.between(0, 1_500), 'start', () => this.#start(slot))
    this.#watchStore()
    this.#trouble()
    this.#administrator.start()
  }

  /** After the storm: every process runs, nothing is paused, one that stands still is woken by its operator. */
  bringBack(): void {
    const { world, plan } = this.#options
    for (const slot of this.#slots) if (slot.isEnded) this.#start(slot)
    const operate = async () => {
      if (this.#isEnding) return
      const head = await this.#options.admin.head()
      for (const { supervisor, isEnded } of this.#slots) {
        if (supervisor === undefined || isEnded || head?.paused === undefined) continue
        // Not waited for: a process that dies meanwhile never answers, and its operator asks again.
        void supervisor.resume().catch(() => undefined)
        break
      }
      if (plan.story === 'cutover') this.#deployAll()
      world.after(5_000, 'operator', () => void operate())
    }
    void operate()
  }

  /** What the log becomes after the storm, and the code that every pipeline must then stop with. */
  tellStory(): string | undefined {
    const { plan, shop, world } = this.#options
    // Where nothing was read yet, nothing can be missed.
    const partition = [...this.#committed.keys()].find((id) => this.#read.has(id) && this.#committed.get(id)! > 3n)
    if (partition === undefined) return undefined
    const { topic, partition: number } = parsePartitionId(partition)
    const position = this.#committed.get(partition)!
    switch (plan.story) {
      case 'replaced':
        world.fault('K7', topic)
        for (const slot of this.#slots) slot.process?.kill()
        shop.log.recreate(topic)
        return 'kafka.topic_replaced'
      case 'truncated': {
        world.fault('K8', partition)
        for (const slot of this.#slots) slot.process?.kill()
        shop.log.truncate(topic, number, position - 2n)
        const value = Buffer.from('{"v":-1}')
        const others = Array.from({ length: 2 + this.#random.int(3) }, () => ({
          timestampMs: 1,
          key: undefined,
          value,
        }))
        if (this.#random.chance(0.5)) shop.log.append(topic, number, others)
        return 'kafka.log_truncated'
      }
      case 'lost':
        world.fault('K6', `${partition}, to stop`)
        for (const slot of this.#slots) slot.process?.kill()
        shop.log.append(topic, number, [{ timestampMs: 1, key: undefined, value: undefined }])
        shop.log.deleteRecordsBefore(topic, number, shop.log.end(topic, number))
        return 'kafka.gap'
      case 'plain':
      case 'cutover':
        return undefined
    }
  }

  /** Whether each process that would write has stopped with this code. */
  isStopped(code: string): boolean {
    const states = this.#slots.map(({ supervisor }) => supervisor?.status())
    return (
      states.some((status) => status?.state === 'failed' && status.reason?.code === code) &&
      states.every((status) => status?.state === 'standby' || status?.reason?.code === code)
    )
  }

  describe(): string {
    return this.#slots
      .map(({ supervisor }) => `${supervisor?.status().state} ${supervisor?.status().reason?.message ?? ''}`)
      .join('; ')
  }

  /** Ends every process as an operator does; one that does not end is a violation. */
  async end(): Promise<string[]> {
    this.#isEnding = true
    const { world } = this.#options
    for (const slot of this.#slots) slot.process?.deliver(0, 'end', () => slot.supervisor?.close())
    await world.run(world.nowMs + 60_000, () => this.#slots.every(({ isEnded }) => isEnded))
    await world.run(world.nowMs + 1_000)
    return this.#slots.every(({ isEnded }) => isEnded) ? [] : [`I20 a process does not end: ${this.describe()}`]
  }

  /** How attempts to commit were resolved. */
  resolutions(): ReadonlyMap<string, number> {
    const all = new Map(this.#resolutions)
    for (const [outcome, name] of [
      ['exists', 'A5'],
      ['conflict', 'A6'],
      ['unknown', 'A7'],
      ['refused', 'A8'],
      ['compacted', 'C1'],
      ['not compacted', 'C2'],
    ] as const)
      all.set(name, this.#outcomes.get(outcome) ?? 0)
    return all
  }

  #start(slot: Slot): void {
    if (this.#isEnding || !slot.isEnded) return
    const { world, plan, shop, faulty } = this.#options
    slot.life++
    slot.isEnded = false
    const name = `p${slot.index}.${slot.life}`
    const process = new SimProcess(name, world, plan, new Random(plan.seed, name), this.#outcomes)
    const storage = process.storage(faulty)
    const source = new ProcessSource(process, shop, this.#groupOffsets)
    const definition = definitionOf(plan, this.#administrator.isNewCode)
    const isImpatient = slot.index > 0 && process.happens('K3')
    const isTwin = plan.rates.P4 > 0
    if (isTwin && slot.index > 0) world.fault('P4', name)
    const supervisor = new Supervisor({
      definition,
      source,
      storage,
      chain: this.#witnessed(openChain(storage, PIPELINE, process.clock), process, codeHash(definition.tables[0]!)),
      policy: {
        writer: isTwin ? 'twin' : `writer-${slot.index}`,
        minIntervalMs: plan.minIntervalMs,
        heartbeatMs: plan.heartbeatMs,
      },
      ...(plan.compaction === undefined ? {} : { compaction: plan.compaction }),
      takeoverAfterMs: isImpatient ? 100 : plan.takeoverAfterMs,
      clock: process.clock,
      observer: (event) => {
        if (event.kind === 'compaction') this.#count(event.error === undefined ? 'compacted' : 'not compacted')
        if (event.kind === 'compaction')
          world.say(
            `${name} ${event.table}: ${event.error?.message ?? `${event.filesIn} files, ${event.rowsOut} rows`}`,
          )
        if (event.kind === 'state') world.say(`${name} ${event.state} ${event.reason?.message ?? ''}`)
      },
      openFold: () =>
        Promise.resolve(
          new SimFold(
            process,
            storage,
            plan.tables.flatMap(({ windows }) => windows),
          ),
        ),
      startLanes: (source) =>
        Promise.resolve(
          new FaultyLanes(
            inlineLanes({
              source,
              encoder: new RowEncoder(process, storage),
              work: new RowWork(process, storage),
              lanes: plan.lanes,
              microBatch: { bytesMax: 4_000, recordsMax: plan.recordsMax, ageMsMax: plan.ageMsMax },
              clock: process.clock,
            }),
            process,
          ),
        ),
    })
    Object.assign(slot, { process, supervisor })
    const end = () => {
      if (slot.process !== process) return
      slot.isEnded = true
      world.after(this.#random.between(100, 3_000), 'restart', () => this.#start(slot))
    }
    process.onDeath = end
    process.onSigterm = () => this.#terminate(process, supervisor)
    world.say(`${name} starts`)
    void supervisor.run().then(() => {
      if (process.isDead) return
      process.isDead = true
      world.say(`${name} has ended`)
      end()
    })
  }

  /** SIGTERM, and SIGKILL for one that takes too long. */
  #terminate(process: SimProcess, supervisor: Supervisor): void {
    this.#options.world.say(`${process.name} is asked to end`)
    supervisor.close()
    this.#options.world.after(20_000, 'sigkill', () => {
      if (!this.#isEnding) process.kill()
    })
  }

  #trouble(): void {
    const { world, plan } = this.#options
    world.after(this.#random.between(100, 900), 'trouble', () => {
      if (!world.isStormy) return
      const slot = this.#random.pick(this.#slots)
      const { process, supervisor } = slot
      if (process !== undefined && supervisor !== undefined && !slot.isEnded) {
        const isOwner = supervisor.status().state === 'running'
        if (process.happens('P2')) process.stall(this.#random.between(0.1, 3) * plan.takeoverAfterMs)
        if (isOwner && this.#slots.length > 1 && process.happens('K1')) this.#terminate(process, supervisor)
        if (isOwner && this.#slots.length > 1 && process.happens('K2'))
          process.stall(this.#random.between(1, 3) * plan.takeoverAfterMs + 2_000)
        if (process.happens('X1')) void this.#pauseAndResume(supervisor)
      }
      if (plan.story === 'cutover' && this.#administrator.isNewCode && this.#random.chance(0.3)) this.#deploy(slot)
      this.#trouble()
    })
  }

  async #pauseAndResume(supervisor: Supervisor): Promise<void> {
    await supervisor.pause('because').catch(() => undefined)
    await this.#options.world.sleep(this.#random.between(100, 3_000), 'resume')
    await supervisor.resume().catch(() => undefined)
  }

  /** Looks at what is truly in the store, as nobody in the simulation can. */
  #watchStore(): void {
    const { memory } = this.#options
    const inner = memory.putIfAbsent.bind(memory)
    memory.putIfAbsent = async (key, bytes) => {
      const outcome = await inner(key, bytes)
      if (outcome.kind === 'created' && /\/v\d{16}\.json$/.test(key)) this.#landed(key, bytes)
      return outcome
    }
  }

  #landed(key: string, bytes: Uint8Array): void {
    const number = BigInt(key.slice(-21, -5))
    const raw = JSON.parse(Buffer.from(bytes).toString()) as {
      readonly positions: Record<PartitionId, string>
      readonly tails: Record<PartitionId, unknown>
      readonly writer: string
      readonly kind: string
    }
    if (number > this.#head) {
      this.#head = number
      this.#committed = new Map(Object.entries(raw.positions).map(([id, at]) => [id as PartitionId, BigInt(at)]))
      this.#read = new Set(Object.keys(raw.tails))
      this.#options.onCommit(this.#committed)
    }
    const positions = Object.entries(raw.positions).map(([id, at]) => `${id}=${at}`)
    this.#options.world.say(`version ${number} ${raw.kind} of ${raw.writer}: ${positions.join(' ')}`)
  }

  #witnessed(chain: Chain, process: SimProcess, code: string): Chain {
    const append = async (base: Version | undefined, draft: Draft, signal?: AbortSignal): Promise<CommitResult> => {
      let builds = 0
      const unknownBefore = this.#outcomes.get('unknown') ?? 0
      const entry: Append = {
        process: process.name,
        commitId: draft.commitId,
        base: base?.number ?? 0n,
        code,
        headBefore: this.#head,
        headAfter: this.#head,
        result: 'open',
        number: undefined,
        wasUnknown: false,
        wasStormy: this.#options.world.isStormy,
      }
      this.history.push(entry)
      const counted: Draft = { ...draft, build: (head, number) => (builds++, draft.build(head, number)) }
      try {
        const result = await chain.append(base, counted, signal)
        entry.result = result.kind
        entry.number = result.kind === 'committed' ? result.version.number : result.head.number
        if (result.kind === 'committed' && process.lastCreate !== 'created') this.#resolved('A1')
        if (result.kind === 'superseded') this.#resolved('A2')
        if (result.kind === 'committed' && builds > 1) this.#resolved('A4')
        return result
      } catch (error) {
        entry.result = 'thrown'
        throw error
      } finally {
        entry.headAfter = this.#head
        entry.wasUnknown = (this.#outcomes.get('unknown') ?? 0) > unknownBefore
      }
    }
    return {
      pipeline: chain.pipeline,
      head: () => chain.head(),
      at: (when) => chain.at(when),
      versions: (limit, before) => chain.versions(limit, before),
      append,
    }
  }

  #count(outcome: string): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1)
  }

  #resolved(name: string): void {
    this.#resolutions.set(name, (this.#resolutions.get(name) ?? 0) + 1)
  }

  #deploy(slot: Slot): void {
    if (slot.isEnded || slot.supervisor?.status().state !== 'superseded') return
    slot.process?.kill()
  }

  #deployAll(): void {
    for (const slot of this.#slots) this.#deploy(slot)
  }
}
