import { MemoryLog, type LogRecord } from '../../src/ingest/memory-log.ts'
import { recordHash } from '../../src/ingest/record-batch.ts'
import { parsePartitionId, partitionId, type PartitionId } from '../../src/log.ts'
import { writeChange, type SimChange } from './change.ts'
import type { Fault, Plan, TopicPlan } from './plan.ts'
import { Random } from './random.ts'
import { EPOCH_MS, type World } from './world.ts'

/** What the producer knows it wrote: the checker's truth. */
export interface LedgerEntry {
  readonly kind: 'row' | 'poison' | 'null' | 'hidden'
  /** Of a row: what it says; of poison and null values: what they would have said. */
  readonly change: SimChange | undefined
  readonly text: string
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
    this.#world.after(this.#random.between(10, 300), 'producer', () => {
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
    const count = 1 + this.#random.int(this.#random.pick([1, 5, 20]))
    for (let i = 0; i < count; i++) {
      if (this.#happens('K9')) {
        const hidden = 1 + this.#random.int(3)
        this.log.appendHidden(topic, number, hidden)
        for (let j = 0; j < hidden; j++) this.#note(partition, 'hidden', undefined, '', undefined)
        continue
      }
      // Producers' clocks differ: what comes later may say that it was earlier.
      const timestampMs =
        EPOCH_MS + Math.floor(this.#world.nowMs) - (this.#random.chance(0.3) ? this.#random.int(3_000) : 0)
      const kind = this.#happens('D1') ? 'poison' : this.#happens('D4') ? 'null' : 'row'
      const change = this.#change(topic, number)
      const text = kind === 'null' ? '' : kind === 'poison' ? `{"v":${change.v}` : writeChange(change)
      const record: LogRecord = {
        timestampMs,
        key: Buffer.from(change.k),
        value: kind === 'null' ? undefined : Buffer.from(text),
      }
      this.log.append(topic, number, [record])
      this.#note(partition, kind, change, text, record)
    }
  }

  #change(name: string, partition: number): SimChange {
    const { keys, hasOwnKeys, isRising, isTruncated } = this.#topic(name)
    const [v, key] = [this.#values++, this.#random.int(keys)]
    return {
      op: isTruncated && this.#happens('D6') ? 't' : this.#happens('D5') ? 'd' : 'u',
      v: String(v),
      k: hasOwnKeys ? `k${partition}.${key}` : `k${key}`,
      n: isRising ? v : this.#random.int(12),
      ...(this.#happens('D7') ? {} : { a: `a${v}` }),
      ...(this.#happens('D7') ? {} : { b: `b${v}` }),
    }
  }

  #topic(name: string): TopicPlan {
    return this.#plan.topics.find(({ topic }) => topic === name)!
  }

  #note(
    partition: PartitionId,
    kind: LedgerEntry['kind'],
    change: SimChange | undefined,
    text: string,
    record: LogRecord | undefined,
  ): void {
    const list = this.ledger.get(partition) ?? []
    this.ledger.set(partition, list)
    const hash = record === undefined ? '' : recordHash(record.timestampMs, record.key, record.value)
    list.push({
      kind,
      change,
      text,
      timestampMs: record?.timestampMs ?? -1,
      hash,
      isCompacted: false,
      isDeleted: false,
    })
  }

  #disturb(): void {
    const partitions = this.#partitions()
    if (partitions.length === 0) return
    const { topic, number, partition } = this.#random.pick(partitions)
    const committed = this.#committed().get(partition) ?? 0n
    const list = this.ledger.get(partition) ?? []
    if (this.#happens('K10')) {
      this.log.compact(topic, number, (_, offset) => {
        const entry = list[Number(offset)]!
        // What removes rows stays until it was read, as a broker keeps tombstones for a while.
        const isRemoval = entry.kind === 'null' || (entry.kind === 'row' && entry.change!.op !== 'u')
        const isKept = !this.#random.chance(0.3) || (isRemoval && offset >= committed)
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
      if (count < 5 && !this.#topic(topic).isTruncated) this.log.addPartitions(topic, count + 1)
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
