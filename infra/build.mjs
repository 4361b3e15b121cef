// Bundles src/ into dist/: the command, the library and the child processes they start.
import { spawnSync } from 'node:child_process'
import { build } from 'esbuild'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** What programs import. They share what both have: an error of one is an instance of the class of the other. */
const library = {
  client: 'src/client/client.ts',
  index: 'src/index.ts',
  testing: 'src/testing.ts',
}

/** What is started, each in one file. */
const entries = {
  main: 'src/main.ts',
  'lane-child': 'src/lane-child.ts',
  'fold-child': 'src/fold-child.ts',
  'query-child': 'src/query/child.ts',
}

const common = { bundle: true, platform: 'node', format: 'esm', target: 'node20' }

/**
 * A program has those packages in it that are nothing but JavaScript, see docs/adr/0019-programs-in-one-file.md. Outside
 * stay binaries, and the SDK of S3, which few processes load.
 */
export const program = {
  ...common,
  external: ['@duckdb/node-bindings', '@node-rs/crc32', 'lz4-napi', 'snappy', 'esbuild', '@aws-sdk/*', '@smithy/*'],
  minifyWhitespace: true,
  minifySyntax: true,
  // What packages of the older kind of modules ask Node for.
  banner: {
    js: `import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url)`,
  },
}

/** Node reads a program's source map when it starts: it knows our own lines alone. */
const unmapped = {
  name: 'unmapped',
  setup({ onLoad }) {
    const none = Buffer.from('{"version":3,"sources":[""],"mappings":"A"}').toString('base64')
    onLoad({ filter: /\/node_modules\/.*\.[cm]?js$/ }, async ({ path: file }) => ({
      contents: `${await readFile(file, 'utf8')}\n//# sourceMappingURL=data:application/json;base64,${none}`,
      loader: 'js',
    }))
  },
}

export async function bundle(outdir = 'dist') {
  const there = (files) => Object.fromEntries(Object.entries(files).filter(([, file]) => existsSync(file)))
  const options = { outdir, sourcemap: true, logLevel: 'warning' }
  const mapped = { ...options, sourcesContent: false, metafile: true, plugins: [unmapped] }
  const { metafile } = await build({ ...program, ...mapped, entryPoints: there(entries) })
  await build({ ...common, ...options, entryPoints: there(library), packages: 'external', splitting: true })
  await writeFile(path.join(outdir, 'third-party.txt'), notices(Object.keys(metafile.inputs)))
}

/** The packages of which files are in the programs, with the texts that their licences want to go along. */
function notices(files) {
  const folders = new Set(files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []))
  const texts = [...folders].toSorted().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'))
    const names = readdirSync(folder).filter((each) => /^(licen[cs]e|copying|notice)/i.test(each))
    const said = names.map((each) => readFileSync(path.join(folder, each), 'utf8').trim())
    return [`${name} ${version}, ${license}`, ...said].join('\n\n')
  })
  return `The programs beside this file have these packages in them.\n\n${texts.join(`\n\n${'─'.repeat(80)}\n\n`)}\n`
}

/** Declarations for those who embed the library. */
function declare() {
  const { status } = spawnSync('npx', ['tsc', '-p', 'infra/tsconfig.types.json'], { stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(1)
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await rm('dist', { recursive: true, force: true })
  await bundle()
  declare()
}
