import { DuckDBInstance } from '@duckdb/node-api'

export interface DuckOptions {
  readonly memoryMaxBytes: number
  /** Where it writes what does not fit into memory; undefined: nowhere. */
  readonly folder?: string
  readonly checkpointBytes?: number
}

/** A DuckDB of a child process: one thread, nothing from the network; more work at once is more processes. */
export function openDuckDb({ memoryMaxBytes, folder = '', checkpointBytes }: DuckOptions): Promise<DuckDBInstance> {
  return DuckDBInstance.create(':memory:', {
    threads: '1',
    memory_limit: mebibytes(memoryMaxBytes),
    ...(checkpointBytes === undefined ? {} : { checkpoint_threshold: mebibytes(checkpointBytes) }),
    temp_directory: folder,
    // Nobody reads a file twice: keeping what was read is a copy of it in fresh memory.
    enable_external_file_cache: 'false',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
  })
}

function mebibytes(bytes: number): string {
  return `${Math.ceil(bytes / (1024 * 1024))}MiB`
}
