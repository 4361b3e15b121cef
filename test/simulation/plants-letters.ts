import type { Plant } from './plants.ts'

const SETTLING = 'src/ingest/letters/settling.ts'

/** Bugs of dead letters that are read again or discarded. */
export const letterPlants: readonly Plant[] = [
  {
    name: 'retry-in-two-commits',
    bug: 'rows in one version, what became of their dead letters in the next: a crash between them enters a record twice',
    edits: [
      {
        file: SETTLING,
        find: 'return this.#parts.committer.settle({ retried, letters }, given, signal)',
        replace: `const { committer } = this.#parts
    const nothing = { ...retried, job: 'none', positions: {} }
    return committer.settle({ retried: nothing, letters: new Map() }, given, signal).then((first) =>
      first.kind === 'committed' ? committer.settle({ retried, letters }, undefined, signal) : first,
    )`,
      },
    ],
  },
  {
    name: 'settled-letter-stays',
    bug: 'the dead letter as it was stays beside what became of it',
    edits: [{ file: SETTLING, find: 'deletes: withRows(deletes, settled),', replace: 'deletes: [],' }],
  },
]
