import type { Hono } from 'hono'
import type { Clock } from './clock.ts'
import type { LakeDefinition } from './define.ts'
import type { Observer } from './event.ts'
import type { Settings } from './settings.ts'
import type { PipelineControl } from './status.ts'
import type { Version } from './version.ts'

export { defineLake, json, raw, t, table } from './define.ts'
export type { LakeDefinition, PipelineDefinition, TableDefinition, TableOptions, TypeSpec } from './define.ts'

/** Sketch of the embedding door; bodies follow. */
export interface Lake {
  readonly pipelines: readonly PipelineControl[]
  /** Rows as objects; int64 are bigint, decimals strings. */
  sql<Row = Record<string, unknown>>(text: string | TemplateStringsArray, ...values: unknown[]): Promise<readonly Row[]>
  /** Resolves when the table's pipeline has committed beyond the offset, with that version. */
  waitFor(
    table: string,
    at: { readonly topic?: string; readonly partition: number; readonly offset: bigint; readonly signal?: AbortSignal },
  ): Promise<Version>
  /** The HTTP API as a Hono app, to be served or mounted. */
  http(): Hono
  /** Stops fetching, commits once more when that is quick, ends every child process. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface OpenOptions {
  readonly signal?: AbortSignal
  readonly observer?: Observer
  readonly clock?: Clock
}

export declare function open(definition: LakeDefinition, settings: Settings, options?: OpenOptions): Promise<Lake>
