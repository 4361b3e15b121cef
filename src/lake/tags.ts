import { LakeError } from '../error.ts'
import type { Storage } from './storage/storage.ts'

/** A version of the main chain that is kept, with all that its tables need, for longer than versions are. */
export interface Tag {
  /** Lower-case letters, digits and dashes; one of this name is replaced. */
  readonly name: string
  readonly version: bigint
  /** By the store's clock, milliseconds; undefined: until it is dropped. */
  readonly untilMs: number | undefined
}

/** Of the version that the fork of a replay began at. */
export const baseTag = (replay: string): string => `base-${replay}`

/** Of the version before the cut-over of a replay. */
export const beforeTag = (replay: string): string => `before-${replay}`

const NAME = /^[a-z0-9-]{1,100}$/

export async function putTag(storage: Storage, pipeline: string, { name, version, untilMs }: Tag): Promise<void> {
  if (!NAME.test(name)) throw new LakeError('internal', `${name} is no name of a tag`)
  const text = JSON.stringify({ version: String(version), untilMs: untilMs ?? null }, undefined, 1)
  await storage.put(keyOf(pipeline, name), Buffer.from(text, 'utf8'))
}

export async function dropTag(storage: Storage, pipeline: string, name: string): Promise<void> {
  await storage.delete(keyOf(pipeline, name))
}

/** All tags of a pipeline, those that are over too. Throws `store.corrupt`: what cannot be read may keep anything. */
export async function readTags(storage: Storage, pipeline: string): Promise<readonly Tag[]> {
  const tags: Tag[] = []
  for await (const { key } of storage.list(`pipelines/${pipeline}/tags/`)) {
    const name = /\/tags\/([a-z0-9-]+)\.json$/.exec(key)?.[1]
    const bytes = name === undefined ? undefined : await storage.get(key)
    if (name !== undefined && bytes !== undefined) tags.push(decodeTag(key, name, bytes))
  }
  return tags
}

function decodeTag(key: string, name: string, bytes: Uint8Array): Tag {
  try {
    const { version, untilMs } = JSON.parse(Buffer.from(bytes).toString('utf8'))
    return { name, version: BigInt(version), untilMs: untilMs ?? undefined }
  } catch (cause) {
    throw new LakeError('store.corrupt', `${key} is not a tag`, { cause, context: { key } })
  }
}

function keyOf(pipeline: string, name: string): string {
  return `pipelines/${pipeline}/tags/${name}.json`
}
