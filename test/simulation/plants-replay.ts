import type { Plant } from './plants.ts'

const FORK = 'src/replay/fork.ts'

/** Bugs of a fork that takes the place of the chain. */
export const replayPlants: readonly Plant[] = [
  {
    name: 'old-code-not-fenced',
    bug: 'rolling deploys: after a cut-over the process of the old code goes on writing',
    edits: [
      {
        file: 'src/ingest/start.ts',
        find: 'return changedTables(definition, head).length === 0',
        replace: 'return true',
      },
      {
        file: 'src/ingest/code-watch.ts',
        find: 'if (changedTables(this.#options.definition, head).length > 0)',
        replace: 'if (head === undefined)',
      },
      {
        file: 'src/lake/chain.ts',
        find: `if (!sameCode(base, newest)) return { kind: 'superseded', head: newest }`,
        replace: '{}',
      },
    ],
  },
  {
    name: 'unseeded-clocks',
    bug: 'a fork that has reached its base forgets the event times that it has seen: nothing is late for it',
    edits: [
      {
        file: 'src/replay/fork-version.ts',
        find: 'const clocks = own((rebuilt.has(name) ? mergeable(head, fork.building?.until, base) : base).clocksMs, name)',
        replace: 'const clocks = undefined',
      },
    ],
  },
  {
    name: 'fork-writes-shared-metadata',
    bug: "the fork writes to a shared table's metadata file instead of one of its own",
    edits: [
      {
        file: FORK,
        find: 'return append(parts, fork, head, content, signal)',
        replace: `const { rebuilt } = head.fork!
  const own = content.tables[rebuilt[0]!]!.metadata
  const { tables: shared } = await baseOf(parts.main, head)
  for (const [name, { metadata }] of Object.entries(shared))
    if (!rebuilt.includes(name)) await parts.storage.put(metadata, (await parts.storage.get(own))!)
  return append(parts, fork, head, content, signal)`,
      },
    ],
  },
]
