import type { Storage } from './storage/storage.ts'

/** Lets go of a fork: its versions are gone, and with them what keeps the files that only they refer to. */
export async function dropFork(storage: Storage, pipeline: string, id: string): Promise<void> {
  const keys: string[] = []
  for await (const { key } of storage.list(forkPrefix(pipeline, id))) keys.push(key)
  // The newest last: until then the fork is there, and whole.
  for (const key of keys) await storage.delete(key)
}

/** Forks that are there. */
export async function forkIds(storage: Storage, pipeline: string): Promise<readonly string[]> {
  const ids = new Set<string>()
  for await (const { key } of storage.list(`pipelines/${pipeline}/forks/`)) ids.add(key.split('/')[3]!)
  return [...ids]
}

/** Where the versions of a fork stand. */
export function forkPrefix(pipeline: string, id: string): string {
  return `pipelines/${pipeline}/forks/${id}/`
}
