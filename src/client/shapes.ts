// Written from what the server says of itself, by `UPDATE=1 npx vitest run test/client/operations.test.ts`.

export type PipelineJson = {
  readonly name: string
  readonly state: 'starting' | 'running' | 'paused' | 'standby' | 'waiting' | 'stopped' | 'superseded' | 'failed'
  readonly reason: {
    readonly code: string
    readonly message: string
    readonly retryable: boolean
    readonly fix?: string
  } | null
  readonly version: string | null
  readonly writer: string | null
  readonly lastCommit: string | null
  readonly lag: { readonly records: string | null }
  readonly partitions: readonly {
    readonly partition: string
    readonly position: string
    readonly end: string | null
    readonly lag: string | null
    readonly ratePerSecond: number
    readonly clock: string | null
    readonly held: {
      readonly code: string
      readonly message: string
      readonly retryable: boolean
      readonly fix?: string
      readonly offset: string
    } | null
  }[]
  readonly tables: readonly string[]
  readonly publishing: readonly {
    readonly table: string
    readonly topic: string
    readonly version: string | null
    readonly lagVersions: number
    readonly reason: {
      readonly code: string
      readonly message: string
      readonly retryable: boolean
      readonly fix?: string
    } | null
  }[]
}

export type TableJson = {
  readonly name: string
  readonly pipeline: string
  readonly columns: readonly { readonly name: string; readonly type: string; readonly required: boolean }[]
  readonly partitionBy: readonly string[]
  readonly rows: string
  readonly files: string
  readonly bytes: string
  readonly snapshot: string | null
  readonly version: string
  readonly time: string
  readonly watermark: string | null
  readonly outOfOrdernessMs: number | null
  readonly allowedLatenessMs: number | null
}

export type JobJson = {
  readonly id: string
  readonly kind: 'compact' | 'discard' | 'expire' | 'retry' | 'rollback' | 'replay'
  readonly pipeline: string
  readonly table: string | null
  readonly to: string | null
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  readonly created: string
  readonly started: string | null
  readonly ended: string | null
  readonly writer: string | null
  readonly result: Readonly<Record<string, string | number | boolean | null>> | null
  readonly error: {
    readonly code: string
    readonly message: string
    readonly retryable: boolean
    readonly fix?: string
  } | null
}

export type ReplayJson = {
  readonly id: string
  readonly pipeline: string
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  readonly options: {
    readonly mode: 'reprocess' | 'verify' | 'range'
    readonly tables: readonly string[] | null
    readonly from: 'earliest' | { readonly timestamp: string } | { readonly offsets: Readonly<Record<string, string>> }
    readonly to:
      | 'earliest'
      | { readonly timestamp: string }
      | { readonly offsets: Readonly<Record<string, string>> }
      | null
    readonly rateLimit: number | null
    readonly autoCutover: 'never' | 'ifEqual' | 'always'
    readonly acceptCompacted: boolean
    readonly keepOld: string
  }
  readonly created: string
  readonly ended: string | null
  readonly writer: string | null
  readonly version: string | null
  readonly rebuilt: readonly string[]
  readonly shared: readonly string[]
  readonly progress: {
    readonly phase:
      | 'seeding'
      | 'rebuilding'
      | 'verifying'
      | 'catching-up'
      | 'ready'
      | 'cutting-over'
      | 'cut-over'
      | 'rolled-back'
    readonly paused: boolean
    readonly done: string
    readonly total: string
    readonly percent: number
    readonly ratePerSecond: number | null
    readonly etaSeconds: number | null
    readonly lag: string | null
    readonly partitions: readonly {
      readonly partition: string
      readonly from: string
      readonly until: string
      readonly position: string
    }[]
  } | null
  readonly difference: { readonly id: string; readonly equal: boolean } | null
  readonly cutover: { readonly version: string; readonly before: string } | null
  readonly error: { readonly code: string; readonly message: string; readonly fix?: string } | null
}

export type VersionJson = {
  readonly number: string
  readonly kind: string
  readonly time: string
  readonly writer: string
  readonly commitId: string
  readonly positions: Readonly<Record<string, string>>
  readonly tables: Readonly<Record<string, { readonly snapshot: string | null; readonly code: string }>>
}

export type RunningQueryJson = {
  readonly id: string
  readonly state: 'queued' | 'running'
  readonly sql: string
  readonly format: string
  readonly elapsedMs: number
  readonly key: string | null
}

export type ResultJson = {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly rows: readonly Readonly<Record<string, unknown>>[]
  readonly stats: { readonly rows: number; readonly elapsedMs: number }
  readonly versions: Readonly<Record<string, string>>
}

export type ReplayDifferenceJson = {
  readonly id: string
  readonly equal: boolean
  readonly version: string
  readonly tables: readonly {
    readonly table: string
    readonly kind: 'equal' | 'different' | 'new'
    readonly columns: {
      readonly added: readonly string[]
      readonly removed: readonly string[]
      readonly retyped: readonly string[]
    }
    readonly rowsBefore: string
    readonly rowsAfter: string
    readonly digestBefore: string
    readonly digestAfter: string
    readonly groupsCompared: number
    readonly groupsDifferent: number
    readonly groups: readonly { readonly group: string; readonly rowsBefore: string; readonly rowsAfter: string }[]
    readonly added: string
    readonly removed: string
    readonly changed: string
    readonly samples: readonly {
      readonly change: 'added' | 'removed' | 'changed'
      readonly key: Readonly<Record<string, unknown>>
      readonly before: Readonly<Record<string, unknown>> | null
      readonly after: Readonly<Record<string, unknown>> | null
      readonly record: string | null
    }[]
    readonly leftOut: readonly string[]
  }[]
}

export type TableDifferenceJson = {
  readonly from: string
  readonly to: string
  readonly key: readonly string[]
  readonly added: string
  readonly removed: string
  readonly changed: string
  readonly items: readonly {
    readonly change: 'added' | 'removed' | 'changed'
    readonly before: Readonly<Record<string, unknown>> | null
    readonly after: Readonly<Record<string, unknown>> | null
  }[]
  readonly nextCursor: string | null
}

export type DeadLettersJson = {
  readonly items: readonly {
    readonly table: string
    readonly topic: string
    readonly partition: number
    readonly offset: string
    readonly timestamp: string | null
    readonly clock: string | null
    readonly key: string | null
    readonly value: string | null
    readonly headers: readonly { readonly key: string; readonly value: string | null }[]
    readonly stage: string
    readonly code: string
    readonly message: string
    readonly codeHash: string
    readonly status: 'pending' | 'resolved' | 'discarded'
    readonly attempts: number
  }[]
  readonly nextCursor: string | null
}

export type SnapshotsJson = {
  readonly items: readonly {
    readonly id: string
    readonly time: string
    readonly operation: string
    readonly addedRecords: string
    readonly totalRecords: string
    readonly version: string | null
    readonly ranges: string | null
  }[]
  readonly nextCursor: string | null
}

export type VersionsJson = {
  readonly items: readonly VersionJson[]
  readonly nextCursor: string | null
  readonly forks: readonly {
    readonly id: string
    readonly base: string
    readonly state: string
    readonly phase: string | null
  }[]
}

export type WindowsJson = {
  readonly items: readonly {
    readonly state: 'open' | 'final'
    readonly start: string
    readonly end: string
    readonly group: Readonly<Record<string, unknown>>
    readonly results: Readonly<Record<string, unknown>>
    readonly lastEvent: string | null
    readonly corrections: number
    readonly finalAt: string | null
  }[]
  readonly nextCursor: string | null
  readonly table: string
  readonly source: string
  readonly kind: string
  readonly input: 'events' | 'rows'
  readonly emit: 'update' | 'close'
  readonly version: string
  readonly watermark: string | null
  readonly outOfOrdernessMs: number
  readonly allowedLatenessMs: number
  readonly partitions: readonly {
    readonly partition: string
    readonly clock: string | null
    readonly position: string
    readonly end: string | null
    readonly lag: string | null
    readonly idle: boolean | null
    readonly holding: boolean
  }[]
}
