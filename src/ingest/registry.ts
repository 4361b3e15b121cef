import { parseAvro, type AvroNames } from '../avro-schema.ts'
import type { Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import type { RegistrySettings } from '../settings.ts'
import type { SchemaEntry } from './decode/avro-schemas.ts'
import type { Subjects } from './first-columns.ts'
import type { SchemaUse } from './holds.ts'
import { SchemaFiles } from './registry-files.ts'
import { get, type HttpAnswer } from './registry-http.ts'

/** A schema registry, as far as readers need one: what stands under an id never changes. */
export interface SchemaRegistry {
  /**
   * Throws `registry.unavailable` (retryable) when that cannot be told, and `registry.denied`. An id that is not there may
   * come to be: nothing of it is remembered.
   */
  schema(id: number): Promise<SchemaEntry>
}

/** One that is somewhere else. */
export interface RemoteRegistry extends SchemaRegistry, Subjects {
  /** Whether it answers as a registry does, and lets us in. Throws as `schema` does. */
  reach(): Promise<void>
}

/** Of one answer. */
const BYTES_MAX = 8 * 1024 * 1024
/** Schemas that one schema may refer to, directly or by others. */
const REFERENCES_MAX = 200
const TIMEOUT_MS = 10_000

/** A registry with the routes of Confluent's: `GET /schemas/ids/7`, `GET /subjects/{subject}/versions/{version}`. */
export function openRegistry(settings: RegistrySettings, clock: Clock): RemoteRegistry {
  return new ConfluentRegistry(settings, clock)
}

/** A schema as the registry tells it, with those that it refers to in front: what is kept on disk. */
export interface StoredSchema {
  readonly type: string
  /** Texts, each of which refers to earlier ones alone; the last is the schema itself. */
  readonly texts: readonly string[]
  /** What the texts before the last are imported by, of Protocol Buffers. */
  readonly names?: readonly string[]
}

interface Reference {
  readonly name: string
  readonly subject: string
  readonly version: number
}

class ConfluentRegistry implements RemoteRegistry {
  readonly #settings: RegistrySettings
  readonly #clock: Clock
  readonly #base: URL
  readonly #files: SchemaFiles

  constructor(settings: RegistrySettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
    this.#base = new URL(settings.url.replace(/\/*$/, '/'))
    this.#files = new SchemaFiles(settings)
  }

  async schema(id: number): Promise<SchemaEntry> {
    // Ids are positive numbers of 32 bits: no other value leads anywhere.
    if (!Number.isInteger(id) || id < 0 || id > 0x7fff_ffff) return { kind: 'unknown' }
    const kept = await this.#files.read(id)
    const stored = kept ?? (await this.#ask(id))
    if (stored === undefined) return { kind: 'unknown' }
    if (kept === undefined) await this.#files.write(id, stored)
    return entryOf(stored)
  }

  async newest(subject: string): Promise<SchemaEntry> {
    const answer = await this.#get(`subjects/${encodeURIComponent(subject)}/versions/latest`)
    return answer === undefined ? { kind: 'unknown' } : entryOf(await this.#stored(answer))
  }

  async usesOf(id: number): Promise<readonly SchemaUse[]> {
    const answer = await this.#get(`schemas/ids/${id}/versions`)
    const given: unknown = answer === undefined ? [] : JSON.parse(answer.body)
    const uses = Array.isArray(given) ? given.map((each) => this.#reference(each)) : []
    return uses.map(({ subject, version }) => ({ subject, version }))
  }

  async reach(): Promise<void> {
    // An id that no registry has: one without it says so in a registry's own way.
    await this.#get(`schemas/ids/${0x7fff_ffff}`)
  }

  async #ask(id: number): Promise<StoredSchema | undefined> {
    const answer = await this.#get(`schemas/ids/${id}`)
    return answer === undefined ? undefined : this.#stored(answer)
  }

  async #stored(answer: HttpAnswer): Promise<StoredSchema> {
    const { schema, type, references } = this.#read(answer)
    const texts: string[] = []
    const names: string[] = []
    if (type === 'AVRO' || type === 'PROTOBUF') await this.#follow(references, texts, names, new Set())
    return { type, texts: [...texts, schema], ...(type === 'PROTOBUF' ? { names } : {}) }
  }

  /** What is referred to, each text once and behind those that it refers to itself. */
  async #follow(references: readonly Reference[], texts: string[], names: string[], seen: Set<string>): Promise<void> {
    for (const { name, subject, version } of references) {
      const key = `${version} ${subject}`
      if (seen.has(key)) continue
      if (seen.add(key).size > REFERENCES_MAX) throw this.#odd(`a schema refers to more than ${REFERENCES_MAX} others`)
      const answer = await this.#get(`subjects/${encodeURIComponent(subject)}/versions/${version}`)
      if (answer === undefined) throw this.#odd(`it lacks version ${version} of ${subject}, which a schema refers to`)
      const { schema, references: inner } = this.#read(answer)
      await this.#follow(inner, texts, names, seen)
      texts.push(schema)
      names.push(name)
    }
  }

  /** Undefined: there is no such thing. */
  async #get(path: string): Promise<HttpAnswer | undefined> {
    const { username, password = '', token, ca, timeoutMs = TIMEOUT_MS } = this.#settings
    const basic = username === undefined ? undefined : Buffer.from(`${username}:${password}`).toString('base64')
    const authorization = token === undefined ? basic && `Basic ${basic}` : `Bearer ${token}`
    const answer = await get(new URL(path, this.#base), {
      headers: {
        accept: 'application/vnd.schemaregistry.v1+json, application/json',
        ...(authorization === undefined ? {} : { authorization }),
      },
      timeoutMs,
      bytesMax: BYTES_MAX,
      ca,
      clock: this.#clock,
    })
    const { status } = answer
    if (status === 200) return answer
    // Only a registry says which thing is missing; any server says 404 to a wrong address.
    if (status === 404 && /"error_code"\s*:\s*404\d\d/.test(answer.body)) return undefined
    if (status === 401 || status === 403)
      throw new LakeError('registry.denied', `the schema registry at ${this.#base.origin} answered ${status}`, {
        context: { url: this.#base.origin, status },
        fix: 'Check registry.username and registry.password, or registry.token.',
      })
    throw this.#odd(status >= 300 && status < 400 ? `it redirects (${status}), which is not followed` : `${status}`)
  }

  #read({ body }: HttpAnswer): { schema: string; type: string; references: readonly Reference[] } {
    const given = jsonOf(body)
    const { schema, schemaType = 'AVRO', references = [] } = given ?? {}
    if (typeof schema !== 'string' || typeof schemaType !== 'string' || !Array.isArray(references))
      throw this.#odd('it answered with something that is no schema')
    return { schema, type: schemaType, references: references.map((each) => this.#reference(each)) }
  }

  #reference(given: unknown): Reference {
    const { name, subject, version } = (given ?? {}) as Readonly<Record<string, unknown>>
    if (typeof subject === 'string' && typeof version === 'number' && Number.isInteger(version) && version > 0)
      return { name: typeof name === 'string' ? name : subject, subject, version }
    throw this.#odd('it answered with a reference that names no version')
  }

  #odd(message: string): LakeError {
    return new LakeError('registry.unavailable', `the schema registry at ${this.#base.origin}: ${message}`, {
      retryable: true,
      context: { url: this.#base.origin },
      fix: 'Check registry.url, with the path that its API has: ingestion waits and goes on by itself.',
    })
  }
}

function entryOf({ type, texts, names: files = [] }: StoredSchema): SchemaEntry {
  if (type === 'PROTOBUF') {
    const imports = Object.fromEntries(files.map((name, k) => [name, texts[k]!]))
    return { kind: 'protobuf', text: texts.at(-1)!, imports }
  }
  if (type !== 'AVRO') return { kind: 'unreadable', message: `it is a schema of type ${type}` }
  const names: AvroNames = new Map()
  try {
    const schemas = texts.map((text) => parseAvro(text, names))
    return { kind: 'schema', schema: schemas.at(-1)! }
  } catch (error) {
    return { kind: 'unreadable', message: asLakeError(error).message }
  }
}

function jsonOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}
