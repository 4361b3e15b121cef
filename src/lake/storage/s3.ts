import type { S3Client } from '@aws-sdk/client-s3'
import { open, readFile, rm, stat, type FileHandle } from 'node:fs/promises'
import os from 'node:os'
import { backoffMs, type Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import { checkKey, checkPrefix, compareKeys } from './key.ts'
import { openClients, renewCredentials, uploadTimeoutMs, type S3Clients } from './s3-client.ts'
import { Download } from './s3-download.ts'
import { judge, refusal } from './s3-error.ts'
import { openScratch, removeScratch } from './scratch.ts'
import type { ObjectInfo, PutOutcome, Storage, StoreSettings } from './storage.ts'

/** Larger files go in parts of `partBytes`: one part is in memory at a time. */
const singlePutBytesMax = 64 * 1024 * 1024
const partBytes = 32 * 1024 * 1024

/** How long a request that may pass is repeated, and how often at most, before `store.unavailable`. */
const patienceMs = 30_000
const triesMax = 40

/**
 * A bucket, or the part of it below a prefix. Bodies are Buffers, never streams: a Buffer goes with its hash signed, so
 * that no server publishes half of it when this process is killed. No time-out is a verdict: what got no answer is
 * asked again, and for `putIfAbsent` the caller is told so.
 */
export class S3Storage implements Storage {
  readonly url: string
  readonly isLocal = false
  readonly scratch: string
  readonly #bucket: string
  readonly #root: string
  readonly #clients: S3Clients
  readonly #clock: Clock

  private constructor(place: S3Place, scratch: string, clients: S3Clients, clock: Clock) {
    this.url = place.root === '' ? `s3://${place.bucket}` : `s3://${place.bucket}/${place.root.slice(0, -1)}`
    this.scratch = scratch
    this.#bucket = place.bucket
    this.#root = place.root
    this.#clients = clients
    this.#clock = clock
  }

  /** Sends nothing. Throws `config.invalid` when the URL names no bucket or no region is known. */
  static async open(settings: StoreSettings, clock: Clock): Promise<S3Storage> {
    const place = placeOf(settings.url)
    const clients = await openClients(settings)
    return new S3Storage(place, await openScratch(os.tmpdir()), clients, clock)
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkKey(key)
    const { data, sdk } = this.#clients
    const download = new Download()
    const read = async () => {
      const command = new sdk.GetObjectCommand({ ...this.#at(key), ...download.rest() })
      try {
        return await download.take(await data.send(command, signal === undefined ? {} : { abortSignal: signal }))
      } catch (error) {
        if (judge(error) === 'exists') download.restart()
        throw error
      }
    }
    return this.#patiently(`reading ${key}`, data, read, signal)
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkKey(key)
    const { data, sdk } = this.#clients
    const ask = () => data.send(new sdk.HeadObjectCommand(this.#at(key)))
    const head = await this.#patiently(`looking up ${key}`, data, ask)
    if (head === undefined) return undefined
    return { key, sizeBytes: head.ContentLength ?? 0, modifiedMs: head.LastModified?.getTime() ?? 0 }
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(key)
    const { data, sdk } = this.#clients
    const command = () => new sdk.PutObjectCommand({ ...this.#at(key), Body: bytes, ContentLength: bytes.byteLength })
    const options = { requestTimeout: uploadTimeoutMs(bytes.byteLength) }
    await this.#surely(`writing ${key}`, data, () => data.send(command(), options))
  }

  /** Asks for the size afterwards: a version must not refer to a file of which a part was lost on the way. */
  async putFile(key: string, localPath: string): Promise<void> {
    checkKey(key)
    const { size } = await stat(localPath)
    if (size <= singlePutBytesMax) await this.put(key, await readFile(localPath))
    else await this.#putParts(key, localPath, size)
    const stored = await this.head(key)
    if (stored?.sizeBytes !== size) {
      throw new LakeError('store.corrupt', `${key} has ${stored?.sizeBytes ?? 'no'} bytes in the store, not ${size}`, {
        context: { key, expectedBytes: size, storedBytes: stored?.sizeBytes ?? null },
        fix: 'The store acknowledged an upload and does not hold it whole: check it before going on.',
      })
    }
    await rm(localPath)
  }

  /** One request. Renewing credentials and asking again is safe: the first was refused before it did anything. */
  async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    checkKey(key)
    const { commit, sdk } = this.#clients
    for (let isRenewed = false; ; isRenewed = true) {
      try {
        const input = { ...this.#at(key), Body: bytes, ContentLength: bytes.byteLength, IfNoneMatch: '*' }
        await commit.send(new sdk.PutObjectCommand(input), { requestTimeout: uploadTimeoutMs(bytes.byteLength) })
        return { kind: 'created' }
      } catch (error) {
        const verdict = judge(error)
        if (verdict === 'exists' || verdict === 'conflict') return { kind: verdict }
        if (verdict === 'unknown') return { kind: 'unknown', cause: error }
        if (verdict !== 'renew' || isRenewed) throw refusal(error, verdict, `creating ${key}`)
        await this.#renew(commit, key)
      }
    }
  }

  async *list(prefix: string, options: { readonly startAfter?: string } = {}): AsyncIterable<ObjectInfo> {
    checkPrefix(prefix)
    const { data, sdk } = this.#clients
    const input = { Bucket: this.#bucket, Prefix: this.#root + prefix }
    // What is after the prefix itself is after any key before it too; some servers mishandle such a StartAfter.
    const start =
      options.startAfter !== undefined && compareKeys(options.startAfter, prefix) > 0 ? options.startAfter : undefined
    let last: string | undefined
    let token: string | undefined
    do {
      const page = await this.#surely(`listing ${prefix}`, data, () =>
        data.send(
          new sdk.ListObjectsV2Command({
            ...input,
            ...(start === undefined ? {} : { StartAfter: this.#root + start }),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      )
      for (const object of page.Contents ?? []) {
        const key = (object.Key ?? '').slice(this.#root.length)
        if (last !== undefined && compareKeys(key, last) <= 0) throw unordered(prefix, last, key)
        last = key
        yield { key, sizeBytes: object.Size ?? 0, modifiedMs: object.LastModified?.getTime() ?? 0 }
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    const { data, sdk } = this.#clients
    const remove = () => data.send(new sdk.DeleteObjectCommand(this.#at(key)))
    await this.#patiently(`deleting ${key}`, data, remove)
  }

  async close(): Promise<void> {
    this.#clients.destroy()
    await removeScratch(this.scratch)
  }

  /** A completion whose answer was lost is settled by the size that `putFile` asks for. */
  async #putParts(key: string, localPath: string, size: number): Promise<void> {
    const { data, sdk } = this.#clients
    const place = this.#at(key)
    const begin = () => data.send(new sdk.CreateMultipartUploadCommand(place))
    const { UploadId } = await this.#surely(`starting the upload of ${key}`, data, begin)
    const upload = { ...place, UploadId }
    const file = await open(localPath)
    try {
      const Parts: { PartNumber: number; ETag: string | undefined }[] = []
      for (let at = 0; at < size; at += partBytes) {
        const Body = await readAt(file, at, Math.min(partBytes, size - at))
        const PartNumber = Parts.length + 1
        const send = () =>
          data.send(new sdk.UploadPartCommand({ ...upload, PartNumber, Body, ContentLength: Body.length }), {
            requestTimeout: uploadTimeoutMs(Body.length),
          })
        Parts.push({ PartNumber, ETag: (await this.#surely(`uploading ${key}`, data, send)).ETag })
      }
      const complete = () =>
        data.send(new sdk.CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }))
      await this.#surely(`completing ${key}`, data, complete)
    } catch (error) {
      if ((await this.head(key))?.sizeBytes === size) return
      await data.send(new sdk.AbortMultipartUploadCommand(upload)).catch(() => undefined)
      throw error
    } finally {
      await file.close()
    }
  }

  /** For requests that a 404 makes no sense to: all but those for an object that may be missing. */
  async #surely<T>(what: string, client: S3Client, request: () => Promise<T>): Promise<T> {
    const answer = await this.#patiently(what, client, request)
    if (answer !== undefined) return answer
    throw new LakeError('store.unavailable', `${what}: the store answered 404`, { retryable: true })
  }

  /** Repeats what may pass, for `patienceMs`, with full jitter; undefined is a 404. */
  async #patiently<T>(
    what: string,
    client: S3Client,
    request: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    const startMs = this.#clock.monotonicMs()
    let isRenewed = false
    for (let tries = 0; ; tries++) {
      try {
        return await request()
      } catch (error) {
        const verdict = judge(error)
        if (verdict === 'absent') return undefined
        if (verdict === 'renew' && !isRenewed) {
          isRenewed = true
          await this.#renew(client, what)
          continue
        }
        const mayPass = verdict === 'unknown' || verdict === 'conflict' || verdict === 'exists'
        const isOver = tries >= triesMax || this.#clock.monotonicMs() - startMs >= patienceMs
        if (!mayPass || isOver || signal?.aborted === true) throw refusal(error, verdict, what)
        await this.#clock.sleep(backoffMs(this.#clock, tries, 100, 5_000), signal)
      }
    }
  }

  async #renew(client: S3Client, what: string): Promise<void> {
    try {
      await renewCredentials(client)
    } catch (error) {
      throw refusal(error, 'denied', `renewing the credentials for ${what}`)
    }
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#root + key }
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length)
  let filled = 0
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled)
    if (bytesRead === 0) throw new Error(`the file ended at ${position + filled}`)
    filled += bytesRead
  }
  return buffer
}

interface S3Place {
  readonly bucket: string
  /** Empty, or the prefix with a trailing slash. */
  readonly root: string
}

/** Keys of S3 have 1,024 bytes; ours need 900 below the prefix. */
const rootBytesMax = 120

function placeOf(url: string): S3Place {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(url)
  const prefix = (match?.[2] ?? '').replace(/\/+$/, '')
  const isPlain = prefix === '' || prefix.split('/').every((part) => /^[\w=.@+ -]+$/.test(part) && !/^\.+$/.test(part))
  if (match?.[1] !== undefined && isPlain && prefix.length < rootBytesMax) {
    return { bucket: match[1], root: prefix === '' ? '' : `${prefix}/` }
  }
  throw new LakeError('config.invalid', `store.url: ${JSON.stringify(url)} names no bucket and prefix`, {
    fix: 'Use s3://bucket/prefix: a bucket of 3 to 63 lower-case letters, digits, dots and hyphens; a prefix of plain names, under 120 characters.',
  })
}

/** All that reads listings relies on their order; directory buckets of AWS do not keep it. */
function unordered(prefix: string, before: string, after: string): LakeError {
  return new LakeError('store.unavailable', `the store lists ${before} before ${after}`, {
    context: { prefix },
    fix: 'Use a general-purpose bucket: this store does not list keys in byte order.',
  })
}
