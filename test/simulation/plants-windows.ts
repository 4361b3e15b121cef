import type { Plant } from './plants.ts'

const WINDOWS = 'src/ingest/windows.ts'
const LIVE_ROWS = 'src/ingest/window/live-rows.ts'
const WINDOW_TABLE = 'src/ingest/window-table.ts'

/** Bugs of what becomes of a fold's answers. */
export const windowPlants: readonly Plant[] = [
  {
    name: 'state-in-another-commit',
    bug: 'results and the state that they come from in two commits: a crash between them counts twice, or not at all',
    edits: [
      {
        file: WINDOWS,
        find: `    return this.#live.get(table)?.rows.change()`,
        replace: `    const live = this.#live.get(table)
    if (live === undefined || live.of !== 'state') return live?.rows.change()
    const held = (live as { held?: TableChange }).held
    ;(live as { held?: TableChange }).held = live.rows.change()
    return held ?? { kind: 'write', added: [], deletes: [], removed: [] }`,
      },
    ],
  },
  {
    name: 'partials-of-a-refused-batch',
    bug: 'a batch that is refused is thrown away, but not what it staged for windows',
    edits: [
      {
        file: 'src/ingest/committer.ts',
        find: `    await this.#windows.discard(staged.tables)`,
        replace: `    this.#windows.add(staged.ranges, staged.tables)`,
      },
    ],
  },
  {
    name: 'replaced-rows-live',
    bug: 'rows of windows that were replaced are deleted in the commit after, which may never come',
    edits: [
      {
        file: LIVE_ROWS,
        find: `    return { kind: 'write', added: this.#added, deletes, removed: this.#removed }`,
        replace: `    return { kind: 'write', added: this.#added, deletes: [], removed: this.#removed }`,
      },
    ],
  },
  {
    name: 'clocks-of-the-assignment',
    bug: 'a lane judges all that it reads by the clocks with which it began',
    edits: [
      {
        file: 'src/ingest/lane.ts',
        find: 'micro = new MicroBatch(assignment, micro.cursors, micro.clocksMs)',
        replace: 'micro = new MicroBatch(assignment, micro.cursors, assignment.clocksMs)',
      },
    ],
  },
  {
    name: 'lateness-once-per-batch',
    bug: 'flink, spark kind: the clock moves between batches, not between records, so their size decides what is late',
    edits: [
      {
        file: 'test/simulation/row-encoder.ts',
        find: `    if (isRow) this.#clocks.set(id, Math.max(clockMs ?? -Infinity, atMs))`,
        replace: '',
      },
    ],
  },
  {
    name: 'old-values-lost-at-restart',
    bug: 'after a restart nothing is known of the rows that stood: what replaces them takes nothing back',
    edits: [
      {
        file: WINDOWS,
        find: `    rows: await storedRows(storage, table),
    deletes`,
        replace: `    rows: [],
    deletes`,
      },
    ],
  },
  {
    name: 'deleted-keys-lost-at-restart',
    bug: 'after a restart a window counts an older record of a deleted key, which the table ignores',
    edits: [
      {
        file: WINDOWS,
        find: 'deletes: deletes && {',
        replace: 'deletes: deletes === undefined || deletes !== undefined ? undefined : {',
      },
    ],
  },
  {
    name: 'newest-clock-closes',
    bug: 'kafka streams kind: the clock of the partition that is ahead says what is final for all',
    edits: [
      {
        file: 'src/ingest/watermark.ts',
        find: 'if (clockMs !== undefined) least = Math.min(least, clockMs)',
        replace: 'if (clockMs !== undefined) least = least === Infinity ? clockMs : Math.max(least, clockMs)',
      },
    ],
  },
  {
    name: 'marks-lost-at-restart',
    bug: 'a row that was final is written anew after a restart, as if nobody had seen it',
    edits: [
      {
        file: WINDOWS,
        find: 'await fold.load(name, { results, state,',
        replace: 'await fold.load(name, { results: [], state,',
      },
    ],
  },
  {
    name: 'late-halves-forgotten',
    bug: 'what a fold finds late is neither counted nor listed',
    edits: [{ file: WINDOW_TABLE, find: 'this.lateFiles.push(...folded.lateFiles)', replace: '' }],
  },
  {
    name: 'operations-out-of-order',
    bug: 'batches of one commit reach the fold in another order than that of the log',
    edits: [
      {
        file: WINDOW_TABLE,
        find: 'if (partials !== undefined) this.partials.push(partials)',
        replace: 'if (partials !== undefined) this.partials.unshift(partials)',
      },
    ],
  },
]
