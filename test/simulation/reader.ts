import avsc from 'avsc'
import { inflateRawSync } from 'node:zlib'
import { keyOf, type Storage } from '../../src/lake/storage/storage.ts'
import { readDeletedRows, type DeletedRows, type DeletionVectorRef } from '../../src/lake/table.ts'
import type { SimRow } from './row-encoder.ts'

/** One data file as a manifest lists it. */
export interface ListedFile {
  readonly key: string
  readonly recordCount: number
  readonly sizeBytes: number
  /** Where its deleted rows are listed. */
  readonly vector: DeletionVectorRef | undefined
}

/** What one manifest lists: data files, or deletion vectors by the data file that they are of. */
interface ListedManifest {
  readonly files: readonly ListedFile[]
  readonly vectors: readonly (readonly [key: string, vector: DeletionVectorRef])[]
}

/** A table at one metadata file, read as a stranger reads it. */
export interface ReadTable {
  readonly uuid: string
  readonly sequenceNumber: bigint
  readonly snapshot: bigint | undefined
  readonly files: readonly ListedFile[]
  readonly summary: Readonly<Record<string, string>>
  readonly parent: bigint | undefined
}

/** Reads Iceberg tables by the specification alone. Keeps what it has read: manifests never change. */
export class TableReader {
  readonly #storage: Storage
  readonly #manifests = new Map<string, ListedManifest>()
  readonly #rows = new Map<string, readonly SimRow[]>()
  readonly #deleted = new Map<string, DeletedRows>()

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async table(metadata: string): Promise<ReadTable> {
    const raw = parseJson(Buffer.from(await this.#bytes(metadata)).toString())
    const snapshots = (raw.snapshots ?? []) as any[]
    const current = raw['current-snapshot-id']
    const snapshot = snapshots.find((found) => found['snapshot-id'] === current)
    const listed: ListedFile[] = []
    const vectors = new Map<string, DeletionVectorRef>()
    if (snapshot !== undefined)
      for (const entry of readAvro(await this.#bytes(keyOf(this.#storage, snapshot['manifest-list'])))) {
        const key = keyOf(this.#storage, entry.manifest_path)
        const manifest = await this.#manifest(key, Number(entry.manifest_length))
        listed.push(...manifest.files)
        for (const [file, vector] of manifest.vectors) {
          if (vectors.has(file)) throw new Error(`V3 ${metadata}: two deletion vectors are of ${file}`)
          vectors.set(file, vector)
        }
      }
    const files = listed.map((file) => ({ ...file, vector: vectors.get(file.key) }))
    const there = new Set(files.map(({ key }) => key))
    for (const file of vectors.keys())
      if (!there.has(file)) throw new Error(`V3 ${metadata}: a deletion vector is of ${file}, which is not listed`)
    return {
      uuid: raw['table-uuid'],
      sequenceNumber: BigInt(raw['last-sequence-number']),
      snapshot: snapshot === undefined ? undefined : BigInt(current!),
      files,
      summary: snapshot?.summary ?? {},
      parent: snapshot?.['parent-snapshot-id'] === undefined ? undefined : BigInt(snapshot['parent-snapshot-id']),
    }
  }

  /** All rows of a file, deleted ones too. */
  async rows({ key, sizeBytes, recordCount }: ListedFile): Promise<readonly SimRow[]> {
    const known = this.#rows.get(key)
    if (known !== undefined) return known
    const bytes = await this.#bytes(key)
    if (bytes.length !== sizeBytes) throw new Error(`I13 ${key} has ${bytes.length} bytes, not ${sizeBytes}`)
    const rows = JSON.parse(Buffer.from(bytes).toString()) as SimRow[]
    if (rows.length !== recordCount) throw new Error(`I13 ${key} holds ${rows.length} rows, not ${recordCount}`)
    this.#rows.set(key, rows)
    return rows
  }

  async liveRows(file: ListedFile): Promise<readonly SimRow[]> {
    const rows = await this.rows(file)
    if (file.vector === undefined) return rows
    const deleted = await this.#deletedRows(file, file.vector)
    return rows.filter((_, row) => !deleted.has(row))
  }

  async #deletedRows(file: ListedFile, vector: DeletionVectorRef): Promise<DeletedRows> {
    const at = `${vector.key}@${vector.offset} ${file.key}`
    const known = this.#deleted.get(at)
    if (known !== undefined) return known
    await this.#bytes(vector.key)
    const deleted = await readDeletedRows(this.#storage, {
      key: file.key,
      recordCount: file.recordCount,
      fileSizeBytes: file.sizeBytes,
      partition: [],
      metrics: new Map(),
      sequenceNumber: 0n,
      firstRowId: undefined,
      deletes: vector,
    })
    if (deleted.count !== vector.count || vector.count === 0)
      throw new Error(`V3 ${at} deletes ${deleted.count} rows, its manifest says ${vector.count}`)
    this.#deleted.set(at, deleted)
    return deleted
  }

  async #manifest(key: string, length: number): Promise<ListedManifest> {
    const known = this.#manifests.get(key)
    if (known !== undefined) return known
    const bytes = await this.#bytes(key)
    if (bytes.length !== length) throw new Error(`I13 ${key} has ${bytes.length} bytes, not ${length}`)
    const entries = readAvro(bytes).filter((entry) => entry.status !== 2)
    const manifest: ListedManifest = {
      files: entries
        .filter(({ data_file: file }) => file.content === 0)
        .map(({ data_file: file }) => ({
          key: keyOf(this.#storage, file.file_path),
          recordCount: Number(file.record_count),
          sizeBytes: Number(file.file_size_in_bytes),
          vector: undefined,
        })),
      vectors: entries
        .filter(({ data_file: file }) => file.content === 1)
        .map(({ data_file: file }) => [
          keyOf(this.#storage, file.referenced_data_file),
          {
            key: keyOf(this.#storage, file.file_path),
            offset: Number(file.content_offset),
            length: Number(file.content_size_in_bytes),
            count: Number(file.record_count),
          },
        ]),
    }
    this.#manifests.set(key, manifest)
    return manifest
  }

  async #bytes(key: string): Promise<Uint8Array> {
    const bytes = await this.#storage.get(key)
    if (bytes === undefined) throw new Error(`I13 ${key} is referred to and missing`)
    return bytes
  }
}

/** Snapshot ids have 63 bits: what JavaScript would round is read as text. */
function parseJson(text: string): any {
  return JSON.parse(text.replaceAll(/:\s?(\d{16,})(?=[,}\]\s])/g, ':"$1"'))
}

const long = avsc.types.LongType.__with({
  fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(value)
    return bytes
  },
  fromJSON: BigInt,
  toJSON: Number,
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : Number(a > b)),
})
const types = new Map<string, avsc.Type>()
const header = avsc.Type.forSchema({ type: 'map', values: 'bytes' })

/** The records of an Avro object container file. */
function readAvro(data: Uint8Array): any[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (bytes.toString('latin1', 0, 4) !== 'Obj\u0001') throw new Error('not an Avro file')
  const meta = header.decode(bytes, 4) as { value: Record<string, Buffer>; offset: number }
  const codec = meta.value['avro.codec']?.toString() ?? 'null'
  if (codec !== 'null' && codec !== 'deflate') throw new Error(`Avro codec ${codec}`)
  const text = meta.value['avro.schema']!.toString()
  const type = types.get(text) ?? avsc.Type.forSchema(JSON.parse(text), { registry: { long } })
  types.set(text, type)
  const longs = avsc.Type.forSchema('long')
  const records: any[] = []
  let at = meta.offset + 16
  while (at < bytes.length) {
    const count = longs.decode(bytes, at) as { value: number; offset: number }
    const size = longs.decode(bytes, count.offset) as { value: number; offset: number }
    let block = bytes.subarray(size.offset, size.offset + size.value)
    if (codec === 'deflate') block = inflateRawSync(block)
    for (let i = 0, from = 0; i < count.value; i++) {
      const record = type.decode(block, from) as { value: any; offset: number }
      records.push(record.value)
      from = record.offset
    }
    at = size.offset + size.value + 16
  }
  return records
}
