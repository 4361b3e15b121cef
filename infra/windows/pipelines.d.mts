export interface RunSource {
  readonly topic: string
  readonly key?: string
  readonly outOfOrdernessMs: number
  readonly spanMs: number
  readonly latestMs: number
  readonly config: Readonly<Record<string, unknown>>
}

export interface RunWindow {
  readonly name: string
  readonly source: string
  readonly input: 'events' | 'rows'
  readonly groupBy: string
  readonly isSliced?: boolean
  readonly windowsOf: (ms: number) => readonly (readonly [number, number])[]
  readonly where: (row: Readonly<Record<string, any>>) => boolean
  readonly select: Readonly<Record<string, { readonly type: string; readonly of: (rows: readonly any[]) => unknown }>>
  readonly config: Readonly<Record<string, unknown>>
}

export const SOURCES: Readonly<Record<'orders' | 'events' | 'metrics' | 'processed_events', RunSource>>
export const WINDOWS: readonly RunWindow[]
/** What stands in `pipelines` of a configuration, with these windows or all. */
export function pipelineConfig(
  names?: readonly string[],
  format?: 'json' | 'avro',
): Readonly<Record<'tables' | 'windows', unknown>>
