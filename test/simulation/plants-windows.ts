import type { Plant } from './plants.ts'

const WINDOWS = 'src/ingest/windows.ts'
const LIVE_ROWS = 'src/ingest/window/live-rows.ts'

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
]
