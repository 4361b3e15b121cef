import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { build, type Plugin } from 'esbuild'
import { program } from '../../infra/build.mjs'

const root = path.resolve(import.meta.dirname, '../..')

/** A change to one production file. `text` must stand there exactly once, or the bundle is not made. */
export interface Mutation {
  /** Below the project's root. */
  readonly file: string
  readonly text: string
  readonly replacement: string
}

export interface MutatedBundle {
  readonly folder: string
  remove(): void
}

/**
 * Bundles the product with changes to its text: how a test reaches the inside of a process that production code has no
 * switch for. `entries` come beside `lane-child.js` and `query-child.js`, as in dist/.
 */
export async function mutatedBundle(
  name: string,
  mutations: readonly Mutation[],
  entries: Readonly<Record<string, string>> = {},
  banner = '',
): Promise<MutatedBundle> {
  // Below the project, so that packages are found.
  const folder = path.join(root, '.cache/mutated', `${name}-${process.pid}`)
  const missed = new Set(mutations.map(({ file }) => file))
  await build({
    absWorkingDir: root,
    entryPoints: { 'lane-child': 'src/lane-child.ts', 'query-child': 'src/query/child.ts', ...entries },
    outdir: folder,
    ...program,
    banner: { js: `${program.banner.js}\n${banner}` },
    plugins: [mutating(mutations, missed)],
    logLevel: 'silent',
  })
  if (missed.size > 0) throw new Error(`not in the bundle: ${[...missed].join(', ')}`)
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

function mutating(mutations: readonly Mutation[], missed: Set<string>): Plugin {
  return {
    name: 'mutations',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
        const relative = path.relative(root, file)
        const own = mutations.filter((mutation) => mutation.file === relative)
        if (own.length === 0) return undefined
        missed.delete(relative)
        return { contents: own.reduce(mutate, readFileSync(file, 'utf8')), loader: 'ts' }
      })
    },
  }
}

function mutate(source: string, { file, text, replacement }: Mutation): string {
  const parts = source.split(text)
  if (parts.length !== 2) throw new Error(`${file} holds ${parts.length - 1} times: ${text}`)
  return parts.join(replacement)
}
