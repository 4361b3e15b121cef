import { build } from 'esbuild'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))

/** Bundles a program of the tests or benchmarks for Node, packages left outside; `entry` and `outfile` are below the project. Returns its path. */
export async function bundleProgram(entry, outfile, plugins = []) {
  const file = path.join(root, outfile)
  await build({
    entryPoints: [path.join(root, entry)],
    outfile: file,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    logLevel: 'warning',
    plugins,
  })
  return file
}
