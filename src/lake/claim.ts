import { backoffMs, type Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Storage } from './storage/storage.ts'

/**
 * A table name belongs to one pipeline of a store, for ever: `tables/<t>/pipeline.json`, created if absent.
 * Throws `table.claimed` when it belongs to another.
 */
export async function claimTable(storage: Storage, table: string, pipeline: string, clock: Clock): Promise<void> {
  const key = claimOf(table)
  const bytes = Buffer.from(JSON.stringify({ pipeline }))
  // Whatever the outcome was, the bytes that stand decide; all claims of one pipeline are the same bytes.
  for (let attempt = 0; ; attempt++) {
    const there = await storage.get(key)
    if (there !== undefined) {
      const owner = pipelineOf(key, there)
      if (owner === pipeline) return
      throw new LakeError('table.claimed', `table ${table} belongs to pipeline ${owner} of this store`, {
        context: { table, pipeline, owner },
        fix: `Give the table another name, or run it in pipeline ${owner}.`,
      })
    }
    const { kind } = await storage.putIfAbsent(key, bytes)
    if (kind === 'conflict' || kind === 'unknown') await clock.sleep(backoffMs(clock, attempt))
  }
}

function pipelineOf(key: string, claim: Uint8Array): string {
  try {
    const { pipeline } = JSON.parse(Buffer.from(claim).toString('utf8')) as { readonly pipeline?: unknown }
    if (typeof pipeline === 'string') return pipeline
  } catch {
    // Said below, as of a claim that is JSON of another kind.
  }
  throw new LakeError('store.corrupt', `${key} does not name a pipeline`, {
    context: { key },
    fix: 'Restore it from a copy of the store: one line, {"pipeline":"<name>"}.',
  })
}

/** The pipeline that a table belongs to; undefined when the store has none of this name. */
export async function ownerOf(storage: Storage, table: string): Promise<string | undefined> {
  const there = await storage.get(claimOf(table))
  return there === undefined ? undefined : pipelineOf(claimOf(table), there)
}

function claimOf(table: string): string {
  return `tables/${table}/pipeline.json`
}
