// Fills some partitions of a topic with orders, as fast as a broker takes them: record batches made by hand, several
// requests under way. A process of its own, so that several can share the work; what lands in a partition depends only
// on its number. Argument: { address, topic, partitions, records }, `records` for each partition; with `perSecond` at that
// pace, in smaller batches, and it tells how many were acknowledged when: `sent`, [milliseconds since 1970, records].
import net from 'node:net'
import { crc32c } from '@node-rs/crc32'
import { orderSource } from './orders.mjs'

const IN_FLIGHT_MAX = 8
const PRODUCE = { key: 0, version: 7 }

const { address, topic, partitions, records, keys, perSecond } = JSON.parse(process.argv[2])
const RECORDS_PER_BATCH = perSecond === undefined ? 500 : 100
const sent = []
const [host, port] = address.split(':')
const socket = net.connect(Number(port), host)
socket.on('error', fail)
socket.on('close', () => fail(new Error('the broker closed the connection')))
socket.on('data', onData)

const scratch = Buffer.alloc(4_096)
let received = Buffer.alloc(0)
const flight = { requests: 0, wake: () => undefined }

const sources = new Map(partitions.map((partition) => [partition, orderSource(12_345 + 977 * partition, keys)]))
let valueBytes = 0
const startedMs = performance.now()
let produced = 0
for (let done = 0; done < records; done += RECORDS_PER_BATCH)
  for (const [partition, next] of sources) {
    if (perSecond !== undefined) await untilDue()
    const batch = encodeBatch(next, Math.min(RECORDS_PER_BATCH, records - done))
    produced += Math.min(RECORDS_PER_BATCH, records - done)
    await untilFewer(IN_FLIGHT_MAX)
    flight.requests++
    socket.write(request(partition, batch))
  }
await untilFewer(1)
socket.removeAllListeners('close')
socket.destroy()
console.log(JSON.stringify({ records: records * partitions.length, valueBytes, sent }))

/** Waits until the next batch is to be sent, and notes what was. */
async function untilDue() {
  const aheadMs = (produced / perSecond) * 1_000 - (performance.now() - startedMs)
  if (aheadMs > 2) await new Promise((resolve) => setTimeout(resolve, aheadMs))
  if (Date.now() >= (sent.at(-1)?.[0] ?? 0) + 20) sent.push([Date.now(), produced])
}

async function untilFewer(requests) {
  while (flight.requests >= requests) await new Promise((resolve) => (flight.wake = resolve))
}

/** A record batch, magic 2, uncompressed. */
function encodeBatch(next, count) {
  const out = Buffer.allocUnsafe(61 + count * 512)
  let at = 61
  let [firstMs, lastMs] = [0, 0]
  for (let i = 0; i < count; i++) {
    const { key, timeMs, value } = next()
    if (i === 0) firstMs = lastMs = timeMs
    lastMs = Math.max(lastMs, timeMs)
    const length = scratch.utf8Write(value, 0)
    valueBytes += length
    const [time, offset] = [zigzag(timeMs - firstMs), zigzag(i)]
    const body = 1 + varintBytes(time) + varintBytes(offset) + 1 + key.length + varintBytes(zigzag(length)) + length + 1
    at = varint(out, at, zigzag(body))
    out[at++] = 0
    at = varint(out, at, time)
    at = varint(out, at, offset)
    at = varint(out, at, zigzag(key.length))
    at += out.latin1Write(key, at)
    at = varint(out, at, zigzag(length))
    at += scratch.copy(out, at, 0, length)
    out[at++] = 0
  }
  out.fill(0, 0, 61)
  out.writeInt32BE(at - 12, 8)
  out.writeInt32BE(-1, 12)
  out[16] = 2
  out.writeInt32BE(count - 1, 23)
  out.writeBigInt64BE(BigInt(firstMs), 27)
  out.writeBigInt64BE(BigInt(lastMs), 35)
  out.fill(0xff, 43, 57) // no producer id, epoch or sequence
  out.writeInt32BE(count, 57)
  out.writeUInt32BE(crc32c(out.subarray(21, at)), 17)
  return out.subarray(0, at)
}

/** Produce: header, no transaction, acks 1, one topic with one partition. */
function request(partition, batch) {
  const head = Buffer.alloc(64 + topic.length)
  let at = 4
  at = head.writeInt16BE(PRODUCE.key, at)
  at = head.writeInt16BE(PRODUCE.version, at)
  at = head.writeInt32BE(0, at)
  at = head.writeInt16BE(-1, at) // no client id
  at = head.writeInt16BE(-1, at) // no transactional id
  at = head.writeInt16BE(1, at)
  at = head.writeInt32BE(30_000, at)
  at = head.writeInt32BE(1, at)
  at = head.writeInt16BE(topic.length, at)
  at += head.latin1Write(topic, at)
  at = head.writeInt32BE(1, at)
  at = head.writeInt32BE(partition, at)
  at = head.writeInt32BE(batch.length, at)
  head.writeInt32BE(at - 4 + batch.length, 0)
  return Buffer.concat([head.subarray(0, at), batch])
}

function onData(bytes) {
  received = Buffer.concat([received, bytes])
  while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
    const end = 4 + received.readInt32BE(0)
    // size, correlation id, one topic: its name, one partition: its number, and then the error.
    const error = received.readInt16BE(4 + 4 + 4 + 2 + topic.length + 4 + 4)
    if (error !== 0) fail(new Error(`the broker refuses a batch with error ${error}`))
    received = received.subarray(end)
    flight.requests--
    flight.wake()
  }
}

function fail(error) {
  console.error(error.message)
  process.exit(1)
}

function varint(out, start, value) {
  let at = start
  for (; value > 127; value >>>= 7) out[at++] = (value & 127) | 128
  out[at++] = value
  return at
}

function varintBytes(value) {
  let bytes = 1
  for (; value > 127; value >>>= 7) bytes++
  return bytes
}

/** 32 bits are enough: a batch spans some seconds and its records are small. */
function zigzag(value) {
  return ((value << 1) ^ (value >> 31)) >>> 0
}
