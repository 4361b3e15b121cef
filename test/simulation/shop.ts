import { MemoryLog, type LogRecord } from '../../src/ingest/memory-log.ts'
import { recordHash } from '../../src/ingest/record-batch.ts'
import { parsePartitionId, partitionId, type PartitionId } from '../../src/log.ts'
import type { Fault, Plan } from './plan.ts'
import { Random } from './random.ts'
import { EPOCH_MS, type World } from './world.ts'

/** What the producer knows it wrote: the checker's truth. */
export interface LedgerEntry {
  readonly kind: 'row' | 'poison' | 'null' | 'hidden'
  readonly value: string
  readonly timestampMs: number
  readonly hash: string
  /** Compaction or retention took it at a time when it was not committed: whether it was read before is open. */
  isCompacted: boolean
  isDeleted: boolean
}

/** The log and those who write it: rows, poison, nulls, markers, compaction, retention, new partitions and topics. */
export class Shop {
  readonly log = new MemoryLog()
  readonly ledger = new Map<PartitionId, LedgerEntry[]>()
  /** Partitions that were there before any process started. */
  readonly firstPartitions = new Set<PartitionId>()
  brokerAwayUntilMs = 0
  readonly #world: World
  readonly #plan: Plan
  readonly #random: Random
  readonly #committed: () => ReadonlyMap<PartitionId, bigint>
  #isWriting = true
  #values = 0

  constructor(world: World, plan: Plan, committed: () => ReadonlyMap<PartitionId, bigint>) {
    this.#world = world
    this.#plan = plan
    this.#random = new Random(plan.seed, 'shop')
    this.#committed = committed
    for (const { topic, partitions, isLate } of plan.topics) {
      if (isLate) {
        world.after(this.#random.between(1_000, 6_000), 'new topic', () => this.#createTopic(topic, partitions))
        continue
      }
      this.#createTopic(topic, partitions)
      for (const { partition } of this.#partitions()) this.firstPartitions.add(partition)
    }
    for (let i = this.#random.int(6); i > 0; i--) this.#write()
    this.#live()
  }

  stop(): void {
    this.#isWriting = false
    for (const { topic, partitions, isLate } of this.#plan.topics)
      if (isLate && !this.log.topics().some((info) => info.topic === topic)) this.#createTopic(topic, partitions)
    this.brokerAwayUntilMs = 0
  }

  get isBrokerAway(): boolean {
    return this.#world.nowMs < this.brokerAwayUntilMs
  }

  end(partition: PartitionId): bigint {
    const at = parsePartitionId(partition)
    return this.log.end(at.topic, at.partition)
  }

  #live(): void {
    this.#world.after(this.#random.between(5, 150), 'producer', () => {
      if (!this.#isWriting) return
      this.#write()
      this.#disturb()
      this.#live()
    })
  }

  #write(): void {
    const partitions = this.#partitions()
    if (partitions.length === 0) return
    const { topic, number, partition } = this.#random.pick(partitions)
    const count = 1 + this.#random.int(this.#random.pick([1, 5, 30]))
    for (let i = 0; i < count; i++) {
      if (this.#happens('K9')) {
        const hidden = 1 + this.#random.int(3)
        this.log.appendHidden(topic, number, hidden)
        for (let j = 0; j < hidden; j++) this.#note(partition, 'hidden', '', undefined)
        continue
      }
      const timestampMs = EPOCH_MS + Math.floor(this.#world.nowMs)
      const kind = this.#happens('D1') ? 'poison' : this.#happens('D4') ? 'null' : 'row'
      const value = String(this.#values++)
      const record: LogRecord = {
        timestampMs,
        key: Buffer.from(`k${this.#random.int(20)}`),
        value: kind === 'null' ? undefined : Buffer.from(kind === 'poison' ? `{"v":${value}` : `{"v":${value}}`),
      }
      this.log.append(topic, number, [record])
      this.#note(partition, kind, value, record)
    }
  }

  #note(partition: PartitionId, kind: LedgerEntry['kind'], value: string, record: LogRecord | undefined): void {
    const list = this.ledger.get(partition) ?? []
    this.ledger.set(partition, list)
    const hash = record === undefined ? '' : recordHash(record.timestampMs, record.key, record.value)
    list.push({ kind, value, timestampMs: record?.timestampMs ?? -1, hash, isCompacted: false, isDeleted: false })
  }

  #disturb(): void {
    const partitions = this.#partitions()
    if (partitions.length === 0) return
    const { topic, number, partition } = this.#random.pick(partitions)
    const committed = this.#committed().get(partition) ?? 0n
    const list = this.ledger.get(partition) ?? []
    if (this.#happens('K10')) {
      this.log.compact(topic, number, (_, offset) => {
        const isKept = !this.#random.chance(0.3)
        const entry = list[Number(offset)]!
        if (!isKept && offset >= committed) entry.isCompacted = true
        return isKept
      })
    }
    const end = this.log.end(topic, number)
    if (end > committed && this.#happens('K6')) {
      const until = committed + BigInt(this.#random.int(Number(end - committed) + 1))
      for (let offset = committed; offset < until; offset++) list[Number(offset)]!.isDeleted = true
      if (until > this.log.logStart(topic, number)) this.log.deleteRecordsBefore(topic, number, until)
      this.#world.say(`retention takes ${partition} up to ${until}`)
    }
    if (this.#happens('K12')) {
      const count = this.log.topics().find((info) => info.topic === topic)!.partitions.length
      if (count < 5) this.log.addPartitions(topic, count + 1)
    }
    if (this.#happens('K13')) this.brokerAwayUntilMs = this.#world.nowMs + 1_000 * 60 ** this.#random.next()
  }

  #createTopic(topic: string, partitions: number): void {
    this.#world.say(`topic ${topic} with ${partitions} partitions`)
    this.log.createTopic(topic, partitions)
  }

  #partitions(): { topic: string; number: number; partition: PartitionId }[] {
    return this.log
      .topics()
      .flatMap(({ topic, partitions }) =>
        partitions.map((number) => ({ topic, number, partition: partitionId(topic, number) })),
      )
  }

  #happens(kind: Fault): boolean {
    if (!this.#world.isStormy || !this.#random.chance(this.#plan.rates[kind])) return false
    this.#world.fault(kind)
    return true
  }
}
