// Written from what the server says of itself, by `UPDATE=1 npx vitest run test/client/operations.test.ts`.

import type {
  DeadLettersJson,
  JobJson,
  PipelineJson,
  ReplayDifferenceJson,
  ReplayJson,
  ResultJson,
  RunningQueryJson,
  SnapshotsJson,
  TableDifferenceJson,
  TableJson,
  VersionJson,
  VersionsJson,
  WindowsJson,
} from './shapes.ts'

/** What each operation takes and gives. */
export interface Operations {
  /** Of a superseded pipeline: keep its rows, and make those from here on by the definition of this process */
  readonly acceptCode: { readonly path: { readonly pipeline: string }; readonly answer: PipelineJson }
  /** End a query now */
  readonly cancelQuery: {
    readonly path: { readonly id: string }
    readonly answer: { readonly id: string; readonly cancelled: true }
  }
  /** Drop the fork; the live tables never knew of it */
  readonly cancelReplay: { readonly path: { readonly replay: string }; readonly answer: ReplayJson }
  /** A job that concatenates small files and leaves out deleted rows */
  readonly compactTable: { readonly path: { readonly table: string }; readonly answer: JobJson }
  /** Put the rebuilt tables in the place of the live ones, in one commit */
  readonly cutoverReplay: {
    readonly path: { readonly replay: string }
    readonly body: { readonly approve?: string }
    readonly answer: ReplayJson
  }
  /** What the rebuilt tables are against the live ones, with rows by key and the records they came from */
  readonly diffReplay: { readonly path: { readonly replay: string }; readonly answer: ReplayDifferenceJson }
  /** Rows that were added, removed or changed between two versions, in the order of the key */
  readonly diffTable: {
    readonly path: { readonly table: string }
    readonly query?: { readonly limit?: number; readonly cursor?: string; readonly from?: string; readonly to?: string }
    readonly answer: TableDifferenceJson
  }
  /** A job that discards pending dead letters: they stay where they are, and nobody reads them again */
  readonly discardDeadLetters: {
    readonly path: { readonly pipeline: string }
    readonly body: {
      readonly where?: {
        readonly table?: string
        readonly code?: string
        readonly stage?: string
        readonly from?: string
        readonly until?: string
        readonly partition?: number
      }
      readonly limit?: number
      readonly dryRun?: boolean
    }
    readonly answer: JobJson
  }
  /** A job that deletes files and versions that are kept no longer */
  readonly expireTable: { readonly path: { readonly table: string }; readonly answer: JobJson }
  /** Commit all that the log holds now; answers with the version that holds it */
  readonly flushPipeline: { readonly path: { readonly pipeline: string }; readonly answer: VersionJson }
  /** Definition and settings in force; secrets are masked */
  readonly getConfig: {
    readonly answer: {
      readonly settings: Readonly<Record<string, unknown>>
      readonly definition: Readonly<Record<string, unknown>>
    }
  }
  /** One job */
  readonly getJob: { readonly path: { readonly job: string }; readonly answer: JobJson }
  /** One pipeline */
  readonly getPipeline: { readonly path: { readonly pipeline: string }; readonly answer: PipelineJson }
  /** One query that runs or waits */
  readonly getQuery: { readonly path: { readonly id: string }; readonly answer: RunningQueryJson }
  /** One replay: its phase, how it gets on, what was found */
  readonly getReplay: { readonly path: { readonly replay: string }; readonly answer: ReplayJson }
  /** One table; the ETag is its snapshot, and its watermark */
  readonly getTable: { readonly path: { readonly table: string }; readonly answer: TableJson }
  /** Whether the process is alive */
  readonly health: { readonly answer: { readonly status: 'ok' } }
  /** Dead letters of all tables of a pipeline, in the order of tables, partitions and offsets */
  readonly listDeadLetters: {
    readonly path: { readonly pipeline: string }
    readonly query?: {
      readonly limit?: number
      readonly cursor?: string
      readonly table?: string
      readonly code?: string
      readonly stage?: string
      readonly from?: string
      readonly until?: string
      readonly partition?: number
      readonly status?: 'pending' | 'resolved' | 'discarded'
      readonly bytes?: 'base64' | 'none'
    }
    readonly answer: DeadLettersJson
  }
  /** Jobs of this store, the newest first; those that are over are kept for seven days */
  readonly listJobs: {
    readonly query?: { readonly limit?: number; readonly cursor?: string }
    readonly answer: { readonly items: readonly JobJson[]; readonly nextCursor: string | null }
  }
  /** All pipelines with state, lag and positions */
  readonly listPipelines: {
    readonly query?: { readonly limit?: number; readonly cursor?: string }
    readonly answer: { readonly items: readonly PipelineJson[]; readonly nextCursor: string | null }
  }
  /** Queries that run or wait: those of the caller, or with the scope `queries` all */
  readonly listQueries: {
    readonly answer: { readonly items: readonly RunningQueryJson[]; readonly nextCursor: string | null }
  }
  /** Replays of this store, the newest first; those that are over are kept for seven days */
  readonly listReplays: {
    readonly query?: { readonly limit?: number; readonly cursor?: string; readonly pipeline?: string }
    readonly answer: { readonly items: readonly ReplayJson[]; readonly nextCursor: string | null }
  }
  /** Rows of a table in the order of its key, or of the log; the cursor stays at the version of the first page */
  readonly listRows: {
    readonly path: { readonly table: string }
    readonly query?: {
      readonly limit?: number
      readonly cursor?: string
      readonly where?: string
      readonly asOf?: string
    }
    readonly answer: {
      readonly items: readonly Readonly<Record<string, unknown>>[]
      readonly nextCursor: string | null
    }
  }
  /** The snapshots of a table, newest first */
  readonly listSnapshots: {
    readonly path: { readonly table: string }
    readonly query?: { readonly limit?: number; readonly cursor?: string }
    readonly answer: SnapshotsJson
  }
  /** Tables as they stand in the newest versions: those that the caller may read */
  readonly listTables: {
    readonly query?: { readonly limit?: number; readonly cursor?: string }
    readonly answer: { readonly items: readonly TableJson[]; readonly nextCursor: string | null }
  }
  /** The versions of a pipeline, newest first, and its forks beside them */
  readonly listVersions: {
    readonly path: { readonly pipeline: string }
    readonly query?: { readonly limit?: number; readonly cursor?: string }
    readonly answer: VersionsJson
  }
  /** Windows of a window table, newest first, and what its watermark waits for */
  readonly listWindows: {
    readonly path: { readonly table: string }
    readonly query?: {
      readonly limit?: number
      readonly cursor?: string
      readonly state?: 'open' | 'final' | 'corrected'
    }
    readonly answer: WindowsJson
  }
  /** Prometheus text exposition */
  readonly metrics: { readonly answer: string }
  /** This description of the API */
  readonly openapi: { readonly answer: Readonly<Record<string, unknown>> }
  /** Stop ingesting until resumed, across restarts; answers when the version that says so is committed */
  readonly pausePipeline: {
    readonly path: { readonly pipeline: string }
    readonly body: { readonly reason?: string }
    readonly answer: PipelineJson
  }
  /** Hold it where it is; it goes on from there */
  readonly pauseReplay: { readonly path: { readonly replay: string }; readonly answer: ReplayJson }
  /** Run one SELECT. The body is JSON, or the SQL itself as text/plain */
  readonly query: {
    readonly query?: {
      readonly asOf?: string | number
      readonly format?: string
      readonly maxRows?: number
      readonly timeoutMs?: number
    }
    readonly body: {
      readonly sql: string
      readonly params?: readonly unknown[] | Readonly<Record<string, unknown>>
      readonly asOf?: string | number
      readonly format?: string
      readonly maxRows?: number
      readonly timeoutMs?: number
    }
    readonly answer: ResultJson
  }
  /** Run one SELECT */
  readonly queryByGet: {
    readonly query: {
      readonly q: string
      readonly asOf?: string | number
      readonly format?: string
      readonly maxRows?: number
      readonly timeoutMs?: number
    }
    readonly answer: ResultJson
  }
  /** Whether store, log and query processes are reachable; 503 when not. Details need the scope `status` */
  readonly ready: {
    readonly answer: {
      readonly ready: boolean
      readonly checks: readonly {
        readonly name: string
        readonly ok: boolean
        readonly code?: string
        readonly detail?: string
        readonly fix?: string
      }[]
    }
  }
  /** Try again after a state that waits for a person */
  readonly restartPipeline: { readonly path: { readonly pipeline: string }; readonly answer: PipelineJson }
  /** Go on after a pause, and try the records again that partitions wait at */
  readonly resumePipeline: { readonly path: { readonly pipeline: string }; readonly answer: PipelineJson }
  /** Go on after a pause */
  readonly resumeReplay: { readonly path: { readonly replay: string }; readonly answer: ReplayJson }
  /** A job that reads the records of pending dead letters again, each at its place in the log */
  readonly retryDeadLetters: {
    readonly path: { readonly pipeline: string }
    readonly body: {
      readonly where?: {
        readonly table?: string
        readonly code?: string
        readonly stage?: string
        readonly from?: string
        readonly until?: string
        readonly partition?: number
      }
      readonly limit?: number
      readonly dryRun?: boolean
    }
    readonly answer: JobJson
  }
  /** A job that goes back to an older version and leaves the pipeline paused there */
  readonly rollbackPipeline: {
    readonly path: { readonly pipeline: string }
    readonly body: { readonly to: string }
    readonly answer: JobJson
  }
  /** Go back to the tables from before the cut-over, in one commit */
  readonly rollbackReplay: { readonly path: { readonly replay: string }; readonly answer: ReplayJson }
  /** Run history again through the definition of today, beside the live tables */
  readonly startReplay: {
    readonly body: {
      readonly pipeline: string
      readonly mode?: 'reprocess' | 'verify' | 'range'
      readonly tables?: readonly string[]
      readonly from?:
        | 'earliest'
        | { readonly timestamp: string }
        | { readonly offsets: Readonly<Record<string, string>> }
      readonly to?: { readonly timestamp: string } | { readonly offsets: Readonly<Record<string, string>> }
      readonly rateLimit?: number
      readonly autoCutover?: 'never' | 'ifEqual' | 'always'
      readonly acceptCompacted?: boolean
      readonly keepOld?: string
    }
    readonly answer: ReplayJson
  }
  /** What runs here */
  readonly version: { readonly answer: { readonly name: string; readonly version: string; readonly node: string } }
  /** Server-sent events: the replay now and whenever it changes, until it is over */
  readonly watchReplay: { readonly path: { readonly replay: string }; readonly answer: string }
}

/** How each is asked for. */
export const ROUTES = {
  acceptCode: ['POST', '/v1/pipelines/{pipeline}/accept-code'],
  cancelQuery: ['DELETE', '/v1/queries/{id}'],
  cancelReplay: ['POST', '/v1/replays/{replay}/cancel'],
  compactTable: ['POST', '/v1/tables/{table}/compact'],
  cutoverReplay: ['POST', '/v1/replays/{replay}/cutover'],
  diffReplay: ['GET', '/v1/replays/{replay}/diff'],
  diffTable: ['GET', '/v1/tables/{table}/diff'],
  discardDeadLetters: ['POST', '/v1/dlq/{pipeline}/discard'],
  expireTable: ['POST', '/v1/tables/{table}/expire'],
  flushPipeline: ['POST', '/v1/pipelines/{pipeline}/flush'],
  getConfig: ['GET', '/v1/config'],
  getJob: ['GET', '/v1/jobs/{job}'],
  getPipeline: ['GET', '/v1/pipelines/{pipeline}'],
  getQuery: ['GET', '/v1/queries/{id}'],
  getReplay: ['GET', '/v1/replays/{replay}'],
  getTable: ['GET', '/v1/tables/{table}'],
  health: ['GET', '/healthz'],
  listDeadLetters: ['GET', '/v1/dlq/{pipeline}'],
  listJobs: ['GET', '/v1/jobs'],
  listPipelines: ['GET', '/v1/pipelines'],
  listQueries: ['GET', '/v1/queries'],
  listReplays: ['GET', '/v1/replays'],
  listRows: ['GET', '/v1/tables/{table}/rows'],
  listSnapshots: ['GET', '/v1/tables/{table}/snapshots'],
  listTables: ['GET', '/v1/tables'],
  listVersions: ['GET', '/v1/pipelines/{pipeline}/versions'],
  listWindows: ['GET', '/v1/tables/{table}/windows'],
  metrics: ['GET', '/metrics'],
  openapi: ['GET', '/openapi.json'],
  pausePipeline: ['POST', '/v1/pipelines/{pipeline}/pause'],
  pauseReplay: ['POST', '/v1/replays/{replay}/pause'],
  query: ['POST', '/v1/query'],
  queryByGet: ['GET', '/v1/query'],
  ready: ['GET', '/readyz'],
  restartPipeline: ['POST', '/v1/pipelines/{pipeline}/restart'],
  resumePipeline: ['POST', '/v1/pipelines/{pipeline}/resume'],
  resumeReplay: ['POST', '/v1/replays/{replay}/resume'],
  retryDeadLetters: ['POST', '/v1/dlq/{pipeline}/retry'],
  rollbackPipeline: ['POST', '/v1/pipelines/{pipeline}/rollback'],
  rollbackReplay: ['POST', '/v1/replays/{replay}/rollback'],
  startReplay: ['POST', '/v1/replays'],
  version: ['GET', '/version'],
  watchReplay: ['GET', '/v1/replays/{replay}/events'],
} as const
